"""What happens around every call: errors become status codes, and one line is logged.

The answer to an error is its code and message and nothing else: CSI demands empty details.
"""

import time
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from mooring.domain import errors
from mooring_csi import sanitizing, statuses

_log = structlog.get_logger("csi")
_QUIET = ("/Probe", "GetCapabilities", "/GetPluginCapabilities", "/GetPluginInfo", "/GetCapacity")


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Maps errors and logs calls of every unary method."""

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Wraps the handler of one method."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _around(handler_call_details.method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _around(
    method: str, behaviour: Callable[[Any, grpc.ServicerContext], Any]
) -> Callable[[Any, grpc.ServicerContext], Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        started = time.monotonic()
        code, message = grpc.StatusCode.OK, ""
        try:
            return behaviour(request, context)
        except errors.MooringError as error:
            code, message = statuses.code_of(error), str(error)
        except NotImplementedError:  # what the generated base class raises
            code, message = grpc.StatusCode.UNIMPLEMENTED, "this driver does not advertise it"
        except Exception:  # the shell's one boundary
            code, message = grpc.StatusCode.INTERNAL, "a fault in the driver; see its log"
            _log.exception("fault", method=method)
        finally:
            _write(method, request, code, message, time.monotonic() - started)
        return context.abort(code, message)  # raises

    return call


def _write(method: str, request: Any, code: grpc.StatusCode, message: str, seconds: float) -> None:
    quiet = code is grpc.StatusCode.OK and any(word in method for word in _QUIET)
    level = "debug" if quiet else "info" if code is grpc.StatusCode.OK else "warning"
    getattr(_log, level)(
        "call",
        method=method,
        request=sanitizing.sanitized(request),
        code=code.name,
        message=message,
        seconds=round(seconds, 4),
    )
