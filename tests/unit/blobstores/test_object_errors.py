"""What object stores answer, in the one error tree."""

import pytest
from obstore import exceptions

from mooring.adapters.blobstores import object_errors
from mooring.domain import errors


def answer(status: int, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>in words</Message></Error>" if code else ""
    return (
        "Generic S3 error: Error performing PUT https://host/b/k?sig=SECRET in 1ms - "
        f"Server returned non-2xx status code: {status} Some Reason: {body}"
    )


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", object_errors.TryAgain),
        (500, "", object_errors.TryAgain),
        (502, "", object_errors.TryAgain),
        (503, "SlowDown", object_errors.TryAgain),
        (503, "ServerBusy", object_errors.TryAgain),
        (429, "", object_errors.TryAgain),
        (408, "", object_errors.TryAgain),
        (507, "", errors.SpaceExhausted),
        (507, "InsufficientStorage", errors.SpaceExhausted),
        (403, "QuotaExceeded", errors.SpaceExhausted),
        (501, "NotImplemented", errors.Unsupported),
        (400, "AuthorizationHeaderMalformed", errors.InvalidInput),
        (400, "InvalidRequest", errors.InvalidInput),
        (301, "", errors.InvalidInput),
        (404, "NoSuchBucket", object_errors.NoBucket),
        (404, "ContainerNotFound", object_errors.NoBucket),
        (403, "InvalidAccessKeyId", object_errors.CredentialsRefused),
        (400, "ExpiredToken", object_errors.CredentialsRefused),
    ],
)
def test_answers_are_translated(
    status: int, code: str, expected: type[errors.MooringError]
) -> None:
    found = object_errors.translate(exceptions.GenericError(answer(status, code)), "cannot do it")
    assert type(found) is expected
    assert str(found).startswith("cannot do it: ")
    assert "SECRET" not in str(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(answer(404, "NoSuchKey")), errors.NotFound),
        (exceptions.AlreadyExistsError(answer(412)), errors.AlreadyExists),
        (exceptions.AlreadyExistsError(answer(409, "OperationAborted")), object_errors.TryAgain),
        (exceptions.PreconditionError(answer(412)), errors.PreconditionFailed),
        (exceptions.PermissionDeniedError(answer(403, "AccessDenied")), errors.PermissionDenied),
        (exceptions.UnauthenticatedError(answer(401)), object_errors.CredentialsRefused),
        (exceptions.NotSupportedError("no"), errors.Unsupported),
    ],
)
def test_classes_are_translated(
    error: object_errors.Raised, expected: type[errors.MooringError]
) -> None:
    assert type(object_errors.translate(error, "cannot do it")) is expected


def test_missing_credentials_are_told() -> None:
    where = "http://169.254.169.254/latest/api/token"
    text = f"Error performing PUT {where} in 5s - HTTP error: error sending request"
    found = object_errors.translate(exceptions.GenericError(text), "cannot do it")
    assert type(found) is object_errors.CredentialsRefused
    assert "there are no credentials" in str(found)


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("kind: Timeout", "did not answer in time"),
        ('"dns error"', "no such host"),
        ("kind: Connect,", "no connection"),
        ("error: IncompleteBody", "cut off"),
        ("InvalidCertificate(UnknownIssuer)", "authority"),
        ("anything else", "cannot be understood"),
    ],
)
def test_trouble_on_the_way_is_told_in_words(sign: str, words: str) -> None:
    error = exceptions.GenericError(f"HTTP error: error sending request\n\nDebug source:\n{sign}")
    found = object_errors.translate(error, "cannot do it")
    assert isinstance(found, errors.Unreachable)
    assert words in str(found)
