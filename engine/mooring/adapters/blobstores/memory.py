"""A blob store in memory: for tests of what works on stores, with the same contract as the rest."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from mooring.domain import errors
from mooring.ports import blobstores


class MemoryBlobStore:
    """Objects in a dictionary. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[blobstores.BlobInfo, bytes]] = {}
        self._written = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """Always `memory:`."""
        return "memory:"

    def conditional_writes(self) -> bool:
        """See the port."""
        return True

    def put(self, key: str, data: blobstores.Buffer) -> None:
        """See the port."""
        blobstores.check_key(key)
        with self._lock:
            if key in self._objects:
                raise errors.AlreadyExists(f"object {key} exists already")
            self._store(key, data)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        """See the port."""
        blobstores.check_key(key)
        with self._lock:
            if key not in self._objects or self._objects[key][0].version != version:
                raise errors.PreconditionFailed(f"object {key} was changed by somebody else")
            return self._store(key, data)

    def upload(self, key: str) -> blobstores.Upload:
        """See the port."""
        blobstores.check_key(key)
        return _MemoryUpload(self, key)

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        data = self._data(key)
        if len(data) > limit_bytes:
            raise errors.DataCorrupt(
                f"object {key} has {len(data)} bytes, more than the {limit_bytes} that it may have"
            )
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        part = self._data(key)[offset : offset + length]
        if len(part) != length:
            raise errors.DataCorrupt(f"object {key} ends before byte {offset + length}")
        return part

    def head(self, key: str) -> blobstores.BlobInfo | None:
        """See the port."""
        blobstores.check_key(key)
        with self._lock:
            found = self._objects.get(key)
        return None if found is None else found[0]

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        """See the port."""
        with self._lock:
            found = [info for info, _ in self._objects.values() if info.key.startswith(prefix)]
        yield from found

    def delete(self, key: str) -> None:
        """See the port."""
        blobstores.check_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def _data(self, key: str) -> bytes:
        blobstores.check_key(key)
        with self._lock:
            if key not in self._objects:
                raise errors.NotFound(f"there is no object {key}")
            return self._objects[key][1]

    def _store(self, key: str, data: blobstores.Buffer) -> str:
        content = bytes(data)
        version = str(next(self._written))
        info = blobstores.BlobInfo(key, len(content), datetime.now(UTC), version)
        self._objects[key] = (info, content)
        return version


class _MemoryUpload:
    def __init__(self, store: MemoryBlobStore, key: str) -> None:
        self._store = store
        self._key = key
        self._parts: bytearray | None = bytearray()

    def write(self, data: blobstores.Buffer) -> None:
        if self._parts is None:
            raise ValueError("the upload has ended")
        self._parts += data

    def commit(self) -> None:
        if self._parts is None:
            raise ValueError("the upload has ended")
        parts, self._parts = self._parts, None
        self._store.put(self._key, parts)

    def abandon(self) -> None:
        self._parts = None
