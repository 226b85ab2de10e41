"""Errors as gRPC status codes, in CSI's meaning of them. The one place that knows both."""

import grpc

from mooring.domain import errors

_CODES: dict[type[errors.MooringError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SizeOutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.Unreachable: grpc.StatusCode.UNAVAILABLE,
    errors.SpaceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.DataCorrupt: grpc.StatusCode.DATA_LOSS,
    errors.HostFailure: grpc.StatusCode.INTERNAL,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
}


def code_of(error: errors.MooringError) -> grpc.StatusCode:
    """Returns the code of an error, by its nearest class that has one."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return grpc.StatusCode.INTERNAL
