"""A blob store in a bucket: S3 and what speaks it, Azure Blob Storage, Google Cloud Storage.

obstore speaks to the service; here is what it leaves open: which condition goes with which write,
when a request is repeated and for how long, what to make of a lost answer, and that no answer is
handed on that is shorter than was asked for.

Every object is sent in one request, because only that can be conditional: an upload in parts that
obstore ends has no condition, and one that nobody ends keeps costing. So an upload holds its object
until it is committed; the format's largest is 64 MiB.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import obstore
from obstore import exceptions

from mooring.adapters.blobstores import object_clients, object_errors, object_requests, trial
from mooring.domain import errors
from mooring.domain.store_locations import Service
from mooring.ports import blobstores

_PAGE = 1000

Client = object_clients.Client


class ObjectBlobStore:
    """Objects of a bucket, below a prefix. Thread-safe."""

    def __init__(self, access: object_clients.BucketAccess) -> None:
        """Takes where and how; nothing is sent yet.

        Raises:
            NotFound: A file of the credentials or the certificates is missing.
            InvalidInput: The credentials or certificates are of another form.
        """
        self._location = access.location
        self._requests = object_requests.Requests(access)
        self._conditional: bool | None = None

    @property
    def location(self) -> str:
        """The bucket's URL."""
        return str(self._location)

    def conditional_writes(self) -> bool:
        """See the port."""
        if self._conditional is None:
            self._conditional = trial.writes_are_conditional(self)
        return self._conditional

    def put(self, key: str, data: blobstores.Buffer) -> None:
        """See the port."""
        blobstores.check_key(key)
        tries = 0

        def create(client: Client) -> None:
            nonlocal tries
            tries += 1
            try:
                obstore.put(client, key, data, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError as error:
                # After a try whose answer was lost, what is there may be what it wrote.
                if object_errors.is_conflict(error) or tries == 1:
                    raise
                if self._version_holding(client, key, data) is None:
                    raise

        self._requests.ask(f"write {key}", create, sends_bytes=len(data))

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        """See the port."""
        blobstores.check_key(key)
        tries = 0

        def update(client: Client) -> str:
            nonlocal tries
            tries += 1
            try:
                # S3 and Azure look at the one, Google at the other.
                put = obstore.put(
                    client,
                    key,
                    data,
                    mode={"e_tag": version, "version": version},
                    use_multipart=False,
                )
                return self._version(put)
            except exceptions.PreconditionError:
                present = self._version_holding(client, key, data) if tries > 1 else None
                if present is None or present == version:
                    raise
                return present

        return self._requests.ask(f"replace {key}", update, sends_bytes=len(data))

    def upload(self, key: str) -> blobstores.Upload:
        """See the port."""
        blobstores.check_key(key)
        return _Upload(self, key)

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        blobstores.check_key(key)

        def read(client: Client) -> bytes:
            answer = obstore.get(client, key)
            size_bytes = answer.meta["size"]
            if size_bytes > limit_bytes:
                raise errors.DataCorrupt(
                    f"object {key} has {size_bytes} bytes, more than the {limit_bytes} "
                    "that it may have"
                )
            return _whole(answer, size_bytes)

        return self._requests.ask(f"read {key}", read)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        blobstores.check_key(key)

        def read(client: Client) -> bytes:
            if length == 0:
                self._check_end(client, key, offset)
                return b""
            try:
                answer = obstore.get(client, key, options={"range": (offset, offset + length)})
            except FileNotFoundError:
                raise
            except exceptions.BaseError:
                self._check_end(client, key, offset + length)  # what lies behind it is an error
                raise
            if answer.meta["size"] < offset + length:
                self._check_end(client, key, offset + length)
            return _whole(answer, length)

        return self._requests.ask(f"read {key}", read)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        """See the port."""
        blobstores.check_key(key)

        def look(client: Client) -> blobstores.BlobInfo | None:
            try:
                return self._info(obstore.head(client, key))
            except FileNotFoundError:
                return None
            except exceptions.PermissionDeniedError:
                obstore.get(client, key, options={"range": (0, 1)})  # only this says why
                raise

        return self._requests.ask(f"look at {key}", look)

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        """See the port."""
        parent = prefix.rpartition("/")[0] or None
        pages: Iterator[Any] | None = None
        after: str | None = None

        def next_page(client: Client) -> list[Any]:
            nonlocal pages
            if pages is None:
                pages = iter(obstore.list(client, parent, offset=after, chunk_size=_PAGE))
            try:
                return list(next(pages, ()))
            except object_errors.ERRORS:
                pages = None  # the next try asks anew, from behind what was seen
                raise

        while page := self._requests.ask(f"list {prefix}", next_page):
            for meta in page:
                path = meta["path"]
                if path.startswith(prefix) and all(map(blobstores.is_part, path.split("/"))):
                    yield self._info(meta)
            after = page[-1]["path"]

    def delete(self, key: str) -> None:
        """See the port."""
        blobstores.check_key(key)

        def remove(client: Client) -> None:
            try:
                obstore.delete(client, key)
            except FileNotFoundError as error:
                if isinstance(object_errors.translate(error, ""), object_errors.NoBucket):
                    raise

        self._requests.ask(f"delete {key}", remove)

    def _info(self, meta: Mapping[str, Any]) -> blobstores.BlobInfo:
        modified_at: datetime = meta["last_modified"]
        return blobstores.BlobInfo(
            meta["path"],
            meta["size"],
            modified_at.replace(microsecond=0),  # a listing may know more than a head
            self._version(meta),
        )

    def _version(self, meta: Mapping[str, Any]) -> str:
        if self._location.service is Service.GCS:
            return meta["version"] or ""
        tag = meta["e_tag"] or ""
        return tag if tag.startswith(("W/", '"')) else f'"{tag}"'

    def _version_holding(self, client: Client, key: str, data: blobstores.Buffer) -> str | None:
        """Returns the version of an object if this is its content."""
        answer = obstore.get(client, key)
        if answer.meta["size"] != len(data) or bytes(answer.bytes()) != bytes(data):
            return None
        return self._version(answer.meta)

    def _check_end(self, client: Client, key: str, end: int) -> None:
        size_bytes = obstore.head(client, key)["size"]
        if size_bytes < end:
            raise errors.DataCorrupt(
                f"object {key} in {self.location} has {size_bytes} bytes and ends before byte "
                f"{end}: it is truncated"
            )


class _Upload:
    """An object in memory until it is whole."""

    def __init__(self, store: ObjectBlobStore, key: str) -> None:
        self._store = store
        self._key = key
        self._parts: bytearray | None = bytearray()

    def write(self, data: blobstores.Buffer) -> None:
        if (
            self._parts is None
            or len(self._parts) + len(data) > object_clients.MAXIMUM_OBJECT_BYTES
        ):
            raise ValueError("the upload has ended, or is larger than any object may be")
        self._parts += data

    def commit(self) -> None:
        if self._parts is None:
            raise ValueError("the upload has ended")
        parts, self._parts = self._parts, None
        self._store.put(self._key, parts)

    def abandon(self) -> None:
        self._parts = None


def _whole(answer: Any, length: int) -> bytes:
    data = bytes(answer.bytes())
    if len(data) != length:
        raise object_errors.TryAgain(
            f"{len(data)} bytes came of the {length} that were asked for: the answer was cut off"
        )
    return data
