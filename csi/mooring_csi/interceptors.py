"""What happens around every call: errors become status codes, and one line is logged.

The answer to an error is its code and message and nothing else: CSI demands empty details.
"""

import time
from collections.abc import Iterator
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
    """Returns what maps errors and logs calls of every method."""
    return interceptors.CallInterceptor(_around, _around_stream)


def _around(method: str, behaviour: interceptors.Behaviour) -> interceptors.Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        ending = _Ending(method, request)
        with ending:
            return behaviour(request, context)
        return ending.abort(context)  # raises

    return call


def _around_stream(method: str, behaviour: interceptors.Behaviour) -> interceptors.Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        ending = _Ending(method, request)
        with ending:
            yield from behaviour(request, context)
        if ending.code is not grpc.StatusCode.OK:
            ending.abort(context)

    return call


class _Ending:
    """How a call ends: the shell's one boundary, which turns errors into codes and logs them."""

    def __init__(self, method: str, request: Any) -> None:
        self.code, self._message = grpc.StatusCode.OK, ""
        self._method = method
        self._request = request
        self._started = time.monotonic()

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        swallowed = isinstance(error, Exception)
        if isinstance(error, errors.MooringError):
            self.code, self._message = statuses.code_of(error), str(error)
        elif isinstance(error, NotImplementedError):  # what the generated base class raises
            self.code = grpc.StatusCode.UNIMPLEMENTED
            self._message = "this driver does not advertise it"
        elif swallowed:
            self.code = grpc.StatusCode.INTERNAL
            self._message = "a fault in the driver; see its log"
            _log.exception("fault", method=self._method, exc_info=error)
        seconds = time.monotonic() - self._started
        _write(self._method, self._request, self.code, self._message, seconds)
        return swallowed

    def abort(self, context: grpc.ServicerContext) -> Any:
        """Ends the call with its code; never returns."""
        return context.abort(self.code, _fitting(self._message))


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
