"""Stores that die at a write, as the process that uses them would."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from mooring.ports import blobstores


class Killed(BaseException):
    """What a kill looks like from inside; nobody catches it."""


class DyingStore:
    """Passes calls on, until the write with a certain number; from then on nothing reaches it.

    Args:
        store: Where to.
        at: The write to die at, from 0.
        after: Whether that write still happens.
        die: What dying is; by default `Killed` is raised, now and at each later call.
    """

    def __init__(
        self,
        store: blobstores.BlobStore,
        at: int,
        *,
        after: bool = False,
        die: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._left = at
        self._after = after
        self._die = die or self._raise
        self._dead = False

    @property
    def location(self) -> str:
        return self._store.location

    @property
    def survived(self) -> bool:
        """Whether there were fewer writes."""
        return not self._dead

    def conditional_writes(self) -> bool:
        return self._read(self._store.conditional_writes)

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self._write(self._store.put, key, data)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        replaced: str = self._write(self._store.replace, key, data, version=version)
        return replaced

    def upload(self, key: str) -> blobstores.Upload:
        return _DyingUpload(self, self._read(self._store.upload, key))

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        return self._read(self._store.get, key, limit_bytes=limit_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._read(self._store.get_range, key, offset, length)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        return self._read(self._store.head, key)

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        return self._read(self._store.list, prefix)

    def delete(self, key: str) -> None:
        self._write(self._store.delete, key)

    def _raise(self) -> None:
        raise Killed

    def _read(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        if self._dead:
            raise Killed
        return call(*values, **named)

    def _write(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        last = not self._dead and not self._left
        self._left -= 1
        if self._dead or (last and not self._after):
            self._dead = True
            self._die()
        answer = call(*values, **named)
        if last:
            self._dead = True
            self._die()
        return answer


class _DyingUpload:
    def __init__(self, store: DyingStore, upload: blobstores.Upload) -> None:
        self._store = store
        self._upload = upload

    def write(self, data: blobstores.Buffer) -> None:
        self._store._read(self._upload.write, data)

    def commit(self) -> None:
        self._store._write(self._upload.commit)

    def abandon(self) -> None:
        if self._store.survived:
            self._upload.abandon()


def in_a_child(work: Callable[[], None]) -> bool:
    """Runs something in a forked process that may kill itself; tells whether it did."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def kill_myself() -> None:
    """Ends this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
