"""What happens around every call: errors become status codes, and one line is logged.

The answer to an error is its code and message and nothing else: CSI demands empty details.
"""

import time
from typing import Any

import grpc
import structlog

from mooring.agent import interceptors
from mooring.domain import errors
from mooring_csi import sanitizing, statuses

_log = structlog.get_logger("csi")
_QUIET = ("/Probe", "GetCapabilities", "/GetPluginCapabilities", "/GetPluginInfo", "/GetCapacity")
_LONGEST_MESSAGE_BYTES = 2000


def call_interceptor() -> interceptors.CallInterceptor:
    """Returns what maps errors and logs calls of every unary method."""
    return interceptors.CallInterceptor(_around)


def _around(method: str, behaviour: interceptors.Behaviour) -> interceptors.Behaviour:
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
        return context.abort(code, _fitting(message))  # raises

    return call


def _fitting(message: str) -> str:
    """Shortens what would not fit into gRPC's trailers, where each odd byte takes three."""
    whole = message.encode()
    if len(whole) <= _LONGEST_MESSAGE_BYTES:
        return message
    return f"{whole[:_LONGEST_MESSAGE_BYTES].decode(errors='ignore')}…"


def _write(method: str, request: Any, code: grpc.StatusCode, message: str, seconds: float) -> None:
    quiet = code is grpc.StatusCode.OK and any(word in method for word in _QUIET)
    level = "debug" if quiet else "info" if code is grpc.StatusCode.OK else "warning"
    getattr(_log, level)(
        "call",
        method=method,
        request={} if request is interceptors.UNREADABLE else sanitizing.sanitized(request),
        code=code.name,
        message=message,
        seconds=round(seconds, 4),
    )
