"""Clients of a bucket, made anew when the files with its credentials change.

Credentials are files of one folder, as a mounted Secret shows them, named like the variables that
the services' own tools read. Without a folder they come from the environment, or from the machine
or pod itself, as obstore finds them.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import exceptions, store

from mooring.domain import errors
from mooring.domain.store_locations import BucketLocation, Service
from mooring.ports import blobstores

MAXIMUM_OBJECT_BYTES = 128 << 20
_SMALL_BYTES = 256 << 10
_MAXIMUM_FILE_BYTES = 64 << 10
_REGION = "us-east-1"
_FILES = {
    Service.S3: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    Service.AZURE: (
        "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID",
    ),
    Service.GCS: ("GOOGLE_SERVICE_ACCOUNT_KEY",),
}  # fmt: skip
_NEEDED = {
    Service.S3: (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),),
    Service.AZURE: (
        ("AZURE_STORAGE_ACCOUNT_KEY",), ("AZURE_STORAGE_SAS_TOKEN",), ("AZURE_CLIENT_SECRET",),
    ),
    Service.GCS: (("GOOGLE_SERVICE_ACCOUNT_KEY",),),
}  # fmt: skip

Client = store.S3Store | store.AzureStore | store.GCSStore


def size_class(size_bytes: int) -> int:
    """Returns the exponent of the power of two that is not less."""
    return (size_bytes - 1).bit_length()


@dataclass(frozen=True)
class Limits:
    """How long things may take.

    Attributes:
        connect_seconds: Until a connection stands.
        answer_seconds: Until a small request is answered, and between two pieces of an answer.
        least_bytes_per_second: Of the slowest line that is good enough: a large object may take
            as long as it takes there, and `answer_seconds` besides.
        patience_seconds: For how long a request is repeated that the store does not answer; see
            `planning.repeats` for what counts.
        rotation_seconds: For how long new credentials are waited for when those that had worked
            are refused.
    """

    connect_seconds: float = 10.0
    answer_seconds: float = 30.0
    least_bytes_per_second: float = 32 << 10
    patience_seconds: float = 120.0
    rotation_seconds: float = 120.0

    def transfer_seconds(self, size_bytes: int) -> float:
        """Returns what a request with so many bytes may take; they are rounded up."""
        return self.answer_seconds + (1 << size_class(size_bytes)) / self.least_bytes_per_second

    def sending_seconds(self, size_bytes: int) -> float:
        """Returns what sending so many bytes may take, beside as many others on the same line."""
        return self.transfer_seconds(blobstores.UPLOADS_AT_ONCE * size_bytes)


@dataclass(frozen=True)
class BucketAccess:
    """A bucket and what it takes to reach it.

    Attributes:
        location: Where it is.
        credentials: The folder with files of credentials; None for what the environment has.
        ca_bundle: A file with further certificates (PEM) to trust.
        limits: How long things may take.
    """

    location: BucketLocation
    credentials: Path | None = None
    ca_bundle: Path | None = None
    limits: Limits = Limits()


class Clients:
    """Clients of one bucket with the same credentials. Thread-safe.

    The library's wait for a sign of an answer includes the time for sending. So large objects have
    clients that wait as long as those may take: one for each power of two, made when it is needed,
    because making one costs 35 ms. That a connection stands still meanwhile is the kernel's to find
    out, after the 30 s that the library tells it.

    Attributes:
        answering: For small requests and for reading.
        secrets: The credentials in use.
    """

    def __init__(
        self, make: Callable[[float, float], Client], limits: Limits, secrets: dict[str, str]
    ) -> None:
        """Makes the first one.

        Args:
            make: Makes one that waits so many seconds for a sign of an answer, and for all of it.
            limits: How long things may take.
            secrets: The credentials in use.
        """
        self.secrets = secrets
        self._make = make
        self._limits = limits
        self._lock = threading.Lock()
        self._sending: dict[int, Client] = {}
        whole_seconds = limits.transfer_seconds(MAXIMUM_OBJECT_BYTES)
        self.answering = make(limits.answer_seconds, whole_seconds)

    def sending(self, size_bytes: int) -> Client:
        """Returns one that waits for the answer to so many bytes, sent beside as many others."""
        if size_bytes <= _SMALL_BYTES:
            return self.answering
        kind = size_class(size_bytes)
        with self._lock:
            if kind not in self._sending:
                seconds = self._limits.sending_seconds(size_bytes)
                self._sending[kind] = self._make(seconds, seconds)
            return self._sending[kind]


class ClientMaker:
    """Keeps the clients of one bucket. Thread-safe."""

    def __init__(self, access: BucketAccess) -> None:
        """Makes the first clients; nothing is sent.

        Raises:
            NotFound: A file is missing.
            InvalidInput: The credentials or certificates are of another form.
        """
        self._access = access
        self._lock = threading.Lock()
        self._clients = self._make(self._read_secrets())

    def clients(self) -> Clients:
        """Returns the present clients."""
        return self._clients

    @property
    def can_change(self) -> bool:
        """Whether other credentials may appear: files may, this process's environment may not."""
        return self._access.credentials is not None

    def renew(self, refused: Clients) -> bool:
        """Makes new clients if there are other credentials than those that were refused.

        Returns:
            Whether the present clients are others.
        """
        with self._lock:
            if self._clients is not refused:
                return True
            try:
                secrets = self._read_secrets()
            except errors.MooringError:
                return False  # the files are being exchanged
            if secrets == refused.secrets:
                return False
            self._clients = self._make(secrets)
            return True

    def _read_secrets(self) -> dict[str, str]:
        folder, service = self._access.credentials, self._access.location.service
        if folder is None:
            return {}
        found = {name: _read(folder / name) for name in _FILES[service]}
        secrets = {name: text for name, text in found.items() if text}
        if not any(all(name in secrets for name in names) for names in _NEEDED[service]):
            ways = ", or ".join(" and ".join(names) for names in _NEEDED[service])
            raise errors.NotFound(f"the credentials in {folder} lack {ways}")
        return secrets

    def _make(self, secrets: dict[str, str]) -> Clients:
        limits, location = self._access.limits, self._access.location
        shared: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=limits.connect_seconds),
            "allow_http": str(_endpoint(location)).startswith("http://"),
            "user_agent": "mooring",
        }
        if self._access.ca_bundle is not None:
            shared["root_certificate"] = _read(self._access.ca_bundle, must_exist=True)

        def make(sign_seconds: float, whole_seconds: float) -> Client:
            waits = {
                "read_timeout": timedelta(seconds=sign_seconds),
                "timeout": timedelta(seconds=whole_seconds),
            }
            return _client(location, secrets, shared | waits)

        try:
            return Clients(make, limits, secrets)
        except (exceptions.BaseError, ValueError) as error:
            raise errors.InvalidInput(
                f"{location} cannot be used with these credentials and certificates: they are "
                "not of the form that the service wants"
            ) from error


def _client(location: BucketLocation, secrets: dict[str, str], options: dict[str, Any]) -> Client:
    shared: dict[str, Any] = {
        "prefix": location.prefix or None,
        "client_options": options,
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(0)},
    }
    given: dict[str, Any] = {name.lower(): text for name, text in secrets.items()}
    endpoint = _endpoint(location)
    if location.service is Service.S3:
        return _s3_client(location, secrets, shared)
    if location.service is Service.AZURE:
        if location.account is not None:
            given["azure_storage_account_name"] = location.account
        if endpoint is not None:
            given["azure_storage_endpoint"] = endpoint
        return store.AzureStore(location.bucket, config=given, **shared)  # type: ignore[arg-type]
    if endpoint is not None:
        given["google_base_url"] = endpoint
    return store.GCSStore(location.bucket, config=given, **shared)  # type: ignore[arg-type]


def _s3_client(
    location: BucketLocation, secrets: dict[str, str], shared: dict[str, Any]
) -> store.S3Store:
    given: dict[str, Any] = {
        "virtual_hosted_style_request": location.virtual_hosted,
        "checksum_algorithm": "SHA256",  # object lock wants one, and the signature has it anyway
        "disable_bulk_delete": True,  # not all that speak S3 have it
    }
    endpoint = _endpoint(location)
    if endpoint is not None:
        given["endpoint"] = endpoint
    region = location.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    given["region"] = region or _REGION
    if secrets:
        credential = {
            "access_key_id": secrets["AWS_ACCESS_KEY_ID"],
            "secret_access_key": secrets["AWS_SECRET_ACCESS_KEY"],
            "token": secrets.get("AWS_SESSION_TOKEN"),
            "expires_at": None,
        }
        shared = shared | {"credential_provider": lambda: credential}
    return store.S3Store(location.bucket, config=given, **shared)  # type: ignore[arg-type]


def _endpoint(location: BucketLocation) -> str | None:
    if location.endpoint is not None or location.service is not Service.S3:
        return location.endpoint
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _read(path: Path, *, must_exist: bool = False) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAXIMUM_FILE_BYTES).decode().strip()
    except FileNotFoundError as error:
        if must_exist:
            raise errors.NotFound(f"there is no file {path}") from error
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise errors.PermissionDenied(f"the file {path} cannot be read") from error
