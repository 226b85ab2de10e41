"""What an object store's answer means in the one error tree, and whether asking again may help.

obstore raises one class for each status that it knows (Python's own FileNotFoundError is one), and
one for all the rest, whose text holds status and body. Messages here are written anew: those texts
may hold URLs with signatures.
"""

import re

from obstore import exceptions

from mooring.domain import errors

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z]{1,60})\s*</Code>")
_SAID = re.compile(r"<Message>\s*([^<]{1,200})")
_MACHINES_OWN = "169.254."  # where obstore looks for credentials of the machine when it has none
_LATE = "it did not answer in time"
_SIGNS = (  # in what obstore shows of the cause, most telling first
    ("InvalidCertificate", "its certificate is not trusted"),
    ("InvalidContentType", "it does not speak TLS: is the endpoint http://?"),
    ("dns error", "there is no such host"),
    ("kind: Timeout", _LATE),
    ("TimedOut", _LATE),
    ("IncompleteBody", "its answer was cut off"),
    ("kind: Body", "its answer was cut off"),
    ("kind: Decode", "its answer was cut off"),
    ("kind: Connect", "no connection to it"),
    ("kind: Interrupted", "the connection was lost"),
)
_FULL = {
    "QuotaExceeded", "QuotaExceededException", "InsufficientStorage", "StorageFull",
    "XMinioStorageFull", "InsufficientAccountQuota", "AccountQuotaExceeded", "ServiceQuotaExceeded",
}  # fmt: skip
_REFUSED_CREDENTIALS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenExpired",
    "ExpiredTokenException", "AuthenticationFailed", "InvalidAuthenticationInfo",
    "TokenRefreshRequired", "XAdminNoSuchAccessKey", "AuthenticationRequired",
}  # fmt: skip
_ELSEWHERE = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_BUSY = {"ConditionalRequestConflict", "OperationAborted", "SlowDown", "RequestTimeout"}
_BUSY |= {"ServerBusy", "OperationTimedOut", "InternalError", "ServiceUnavailable"}


ERRORS = (exceptions.BaseError, FileNotFoundError)
Raised = exceptions.BaseError | FileNotFoundError


class TryAgain(errors.Unreachable):
    """The same request may succeed in a moment; it may have been carried out."""


class CredentialsRefused(errors.PermissionDenied):
    """The store does not know the credentials, or not any more; others may be on their way."""


class NoBucket(errors.Unreachable):
    """The bucket itself is not there, which says nothing of any object."""


def translate(error: Raised, doing: str) -> errors.MooringError:
    """Turns an error of obstore into one of the tree.

    Args:
        error: As raised.
        doing: For the message: `cannot read x in y`.
    """
    text = str(error)
    code, status = _first(_CODE, text), int(_first(_STATUS, text) or 0)
    if _MACHINES_OWN in text:
        return CredentialsRefused(
            f"{doing}: there are no credentials. Put them into the environment or into a folder"
        )
    why = f"{doing}: {_said(text, code, status)}"
    special = _by_code(code, why)
    if special is not None:
        return special
    kinds: list[tuple[type[Raised], type[errors.MooringError]]] = [
        (FileNotFoundError, errors.NotFound),
        (exceptions.AlreadyExistsError, errors.AlreadyExists),
        (exceptions.PreconditionError, errors.PreconditionFailed),
        (exceptions.NotModifiedError, errors.PreconditionFailed),
        (exceptions.NotSupportedError, errors.Unsupported),
        (exceptions.UnknownConfigurationKeyError, errors.InvalidInput),
        (exceptions.InvalidPathError, errors.InvalidInput),
    ]
    for kind, meaning in kinds:
        if isinstance(error, kind):
            return meaning(why)
    # A listing has one class for all that is refused, so the status counts too.
    if isinstance(error, exceptions.UnauthenticatedError) or status == 401:
        return CredentialsRefused(f"{why}. Look at the credentials")
    if isinstance(error, exceptions.PermissionDeniedError) or status == 403:
        return errors.PermissionDenied(
            f"{why}. Look at the credentials, and at what they may do in this bucket"
        )
    return _by_status(status, why, text)


def is_conflict(error: exceptions.BaseError) -> bool:
    """Tells whether a 409 means that somebody writes the same object at this moment."""
    return _first(_CODE, str(error)) in _BUSY


def is_timeout(error: Raised) -> bool:
    """Tells whether the answer did not come in the time that it had."""
    text = str(error)
    return not _first(_STATUS, text) and _said(text, "", 0) == _LATE


def _by_code(code: str, why: str) -> errors.MooringError | None:
    if code in _FULL:
        return errors.SpaceExhausted(f"{why}: make room there, or raise the quota")
    if code in _REFUSED_CREDENTIALS:
        return CredentialsRefused(f"{why}. Look at the credentials")
    if code in _ELSEWHERE:
        return errors.InvalidInput(f"{why}. Set the bucket's region, or the endpoint of it")
    if code in _NO_BUCKET:
        return NoBucket(f"{why}: is its name right? Make the bucket first")
    if code in _BUSY:
        return TryAgain(why)
    return None


def _by_status(status: int, why: str, text: str) -> errors.MooringError:
    if 300 <= status < 400 or "without LOCATION" in text:
        return errors.InvalidInput(f"{why}. Set the bucket's region, or the endpoint of it")
    if "InvalidCertificate" in text:
        return errors.Unreachable(f"{why}. Give the bundle of the authority that signed it")
    meanings = {507: errors.SpaceExhausted, 501: errors.Unsupported, 408: TryAgain, 429: TryAgain}
    usual = errors.InvalidInput if 400 <= status < 500 else TryAgain
    return meanings.get(status, usual)(why)


def _said(text: str, code: str, status: int) -> str:
    """Says in a few words what the store or the network answered, and no URL."""
    said = _first(_SAID, text).strip()
    if code:
        return f"it answered {code}" + (f" ({said})" if said else "")
    if status:
        return f"it answered with status {status}"
    return next((words for sign, words in _SIGNS if sign in text), "it cannot be understood")


def _first(form: re.Pattern[str], text: str) -> str:
    found = form.search(text)
    return found.group(1) if found else ""
