import grpc
import pytest

from mooring.domain import errors
from mooring_csi import statuses

CODES = {
    "Failed": grpc.StatusCode.INTERNAL,
    "InvalidInput": grpc.StatusCode.INVALID_ARGUMENT,
    "SizeOutOfRange": grpc.StatusCode.OUT_OF_RANGE,
    "NotFound": grpc.StatusCode.NOT_FOUND,
    "AlreadyExists": grpc.StatusCode.ALREADY_EXISTS,
    "PreconditionFailed": grpc.StatusCode.FAILED_PRECONDITION,
    "InUse": grpc.StatusCode.FAILED_PRECONDITION,
    "Unsupported": grpc.StatusCode.FAILED_PRECONDITION,
    "AnotherRepository": grpc.StatusCode.FAILED_PRECONDITION,
    "Busy": grpc.StatusCode.ABORTED,
    "Fragmented": grpc.StatusCode.ABORTED,
    "Unreachable": grpc.StatusCode.UNAVAILABLE,
    "NeverReached": grpc.StatusCode.UNAVAILABLE,
    "SpaceExhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "PermissionDenied": grpc.StatusCode.PERMISSION_DENIED,
    "WrongKey": grpc.StatusCode.PERMISSION_DENIED,
    "ReadOnly": grpc.StatusCode.PERMISSION_DENIED,
    "DataCorrupt": grpc.StatusCode.DATA_LOSS,
    "Suspect": grpc.StatusCode.DATA_LOSS,
    "HostFailure": grpc.StatusCode.INTERNAL,
    "Cancelled": grpc.StatusCode.CANCELLED,
}


def every_error(kind=errors.MooringError):
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_error(child)


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_every_error_has_its_code(kind):
    assert statuses.code_of(kind("x")) is CODES[kind.reason]
