"""Clients of a bucket, made anew when the files with its credentials change.

Credentials are files of one folder, as a mounted Secret shows them, named like the variables that
the services' own tools read. Without a folder they come from the environment, or from the machine
or pod itself, as obstore finds them.
"""

import os
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from obstore import exceptions, store

from mooring.domain import errors
from mooring.domain.store_locations import BucketLocation, Service

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


@dataclass(frozen=True)
class Limits:
    """How long things may take.

    Attributes:
        connect_seconds: Until a connection stands.
        answer_seconds: Until a small request is answered, and between two pieces of an answer.
        transfer_seconds: A whole object, up or down.
        patience_seconds: For how long a request is repeated that the store does not answer.
        rotation_seconds: For how long new credentials are waited for when those that had worked
            are refused.
    """

    connect_seconds: float = 10.0
    answer_seconds: float = 30.0
    transfer_seconds: float = 600.0
    patience_seconds: float = 120.0
    rotation_seconds: float = 120.0


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


@dataclass(frozen=True)
class Clients:
    """Two clients of one bucket, and what they were made of.

    Attributes:
        answering: For small requests and for reading: it gives up when nothing comes any more.
        sending: For large objects: an answer only comes when all is sent.
        secrets: The credentials in use.
    """

    answering: Client
    sending: Client
    secrets: dict[str, str]


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
        limits = self._access.limits
        shared: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=limits.connect_seconds),
            "timeout": timedelta(seconds=limits.transfer_seconds),
            "allow_http": str(_endpoint(self._access.location)).startswith("http://"),
            "user_agent": "mooring",
        }
        if self._access.ca_bundle is not None:
            shared["root_certificate"] = _read(self._access.ca_bundle, must_exist=True)
        patient = shared | {"read_timeout": timedelta(seconds=limits.transfer_seconds)}
        shared["read_timeout"] = timedelta(seconds=limits.answer_seconds)
        location = self._access.location
        try:
            return Clients(
                _client(location, secrets, shared), _client(location, secrets, patient), secrets
            )
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
