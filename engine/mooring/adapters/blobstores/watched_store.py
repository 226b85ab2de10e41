"""A folder's store whose calls are watched."""

from collections.abc import Iterator

from mooring.adapters.blobstores import call_watch
from mooring.ports import blobstores


class WatchedBlobStore:
    """Passes every call on. Thread-safe."""

    def __init__(self, store: blobstores.BlobStore, watch: call_watch.CallWatch) -> None:
        self._store = store
        self._watch = watch

    @property
    def location(self) -> str:
        """See the port."""
        return self._store.location

    def conditional_writes(self) -> bool:
        """See the port."""
        with self._watch.call("try conditions"):
            return self._store.conditional_writes()

    def put(self, key: str, data: blobstores.Buffer) -> None:
        """See the port."""
        with self._watch.call(f"write {key}"):
            self._store.put(key, data)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        """See the port."""
        with self._watch.call(f"replace {key}"):
            return self._store.replace(key, data, version=version)

    def upload(self, key: str) -> blobstores.Upload:
        """See the port."""
        doing = f"write {key}"
        with self._watch.call(doing):
            return _WatchedUpload(self._store.upload(key), self._watch, doing)

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        with self._watch.call(f"read {key}"):
            return self._store.get(key, limit_bytes=limit_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        with self._watch.call(f"read {key}"):
            return self._store.get_range(key, offset, length)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        """See the port."""
        with self._watch.call(f"look at {key}"):
            return self._store.head(key)

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        """See the port."""
        doing = f"list {prefix}"
        with self._watch.call(doing):
            found = self._store.list(prefix)
        while True:
            with self._watch.call(doing):  # not while the caller has what was found
                info = next(found, None)
            if info is None:
                return
            yield info

    def delete(self, key: str) -> None:
        """See the port."""
        with self._watch.call(f"delete {key}"):
            self._store.delete(key)


class _WatchedUpload:
    def __init__(self, upload: blobstores.Upload, watch: call_watch.CallWatch, doing: str) -> None:
        self._upload = upload
        self._watch = watch
        self._doing = doing

    def write(self, data: blobstores.Buffer) -> None:
        with self._watch.call(self._doing):
            self._upload.write(data)

    def commit(self) -> None:
        with self._watch.call(self._doing):
            self._upload.commit()

    def abandon(self) -> None:
        with self._watch.call(self._doing):
            self._upload.abandon()
