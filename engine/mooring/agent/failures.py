"""The error tree across the wire: the class by name in trailing metadata, the message as details.

A status code alone would not do: InUse and Unsupported share one, and the CSI controller has to
answer them as if the agent's code had run in its own process.
"""

from typing import Any

import grpc

from mooring.domain import errors

ERROR_KEY = "mooring-error"
_NAMES: dict[str, type[errors.MooringError]] = {}


def _collect(kind: type[errors.MooringError]) -> None:
    _NAMES[kind.__name__] = kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            _collect(child)


_collect(errors.MooringError)


def abort(context: grpc.ServicerContext, error: errors.MooringError) -> Any:
    """Ends a call with an error of the tree; never returns."""
    kind = next(item for item in type(error).__mro__ if item.__name__ in _NAMES)
    context.set_trailing_metadata(((ERROR_KEY, kind.__name__),))
    return context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))


def error_of(failure: grpc.RpcError, peer: str) -> errors.MooringError:
    """Rebuilds the error that a call ended with; a failure of the wire itself is Unreachable.

    Args:
        failure: What the stub raised; it is a call as well.
        peer: Who was called, for the message.
    """
    for key, value in failure.trailing_metadata() or ():
        if key == ERROR_KEY and value in _NAMES:
            return _NAMES[value](failure.details())
    code = failure.code()
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return errors.PermissionDenied(f"{peer} refused the call: {failure.details()}")
    if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL):
        return errors.HostFailure(f"{peer} failed: {failure.details()}")
    return errors.Unreachable(f"{peer} did not answer ({code.name}): {failure.details()}")
