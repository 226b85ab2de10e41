"""Several actors on one store, of which each stops before every call until it is its turn.

An actor that is not chosen stands still, as a process that was stopped does, for as long as it
likes: days may pass in the store meanwhile.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from mooring.ports import blobstores


class Stage:
    """Lets one call of one actor through at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, int] = {}
        self._granted: dict[str, int] = {}
        self._busy = 0
        self._alive: set[str] = set()
        self.failures: list[BaseException] = []

    def start(self, actor: str, work: Callable[[], None]) -> None:
        """Begins an actor in a thread of its own."""
        self._alive.add(actor)
        self._waiting[actor] = self._granted[actor] = 0
        threading.Thread(target=self._run, args=(actor, work), daemon=True).start()

    def ready(self) -> list[str]:
        """Waits until every actor has ended or stands before a call; returns those that stand."""
        with self._changed:
            quiet = self._changed.wait_for(
                lambda: not self._busy and all(self._waiting[actor] for actor in self._alive), 60
            )
            assert quiet, "an actor neither ends nor calls the store"
            return sorted(self._alive)

    def let(self, actor: str) -> None:
        """Lets one call of an actor through, and waits for its end."""
        with self._changed:
            self._granted[actor] += 1
            self._busy += 1
            self._changed.notify_all()

    def call(self, actor: str, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Makes a call of the store when it is the actor's turn."""
        with self._changed:
            self._waiting[actor] += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._granted[actor])
            self._granted[actor] -= 1
            self._waiting[actor] -= 1
        try:
            return call(*values, **named)
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _run(self, actor: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failures.append(error)
        finally:
            with self._changed:
                self._alive.discard(actor)
                self._changed.notify_all()


class WatchedStore:
    """A store whose every call that reaches it goes through `passed_on`.

    Args:
        store: Where the calls go in the end.
    """

    def __init__(self, store: blobstores.BlobStore) -> None:
        self._store = store

    def passed_on(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Makes a call, when and as the kind of store wants it."""
        raise NotImplementedError

    @property
    def location(self) -> str:
        return self._store.location

    def conditional_writes(self) -> bool:
        found: bool = self.passed_on(self._store.conditional_writes)
        return found

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self.passed_on(self._store.put, key, bytes(data))

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        replaced: str = self.passed_on(self._store.replace, key, data, version=version)
        return replaced

    def upload(self, key: str) -> blobstores.Upload:
        return _WatchedUpload(self, self._store.upload(key))

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        return bytes(self.passed_on(self._store.get, key, limit_bytes=limit_bytes))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return bytes(self.passed_on(self._store.get_range, key, offset, length))

    def head(self, key: str) -> blobstores.BlobInfo | None:
        info: blobstores.BlobInfo | None = self.passed_on(self._store.head, key)
        return info

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        found: list[blobstores.BlobInfo] = self.passed_on(lambda: list(self._store.list(prefix)))
        return iter(found)

    def delete(self, key: str) -> None:
        self.passed_on(self._store.delete, key)


class ActorStore(WatchedStore):
    """One actor's view of the store.

    Args:
        stage: Where the actor waits for its turn.
        actor: Its name.
        store: The store that all share.
        conditional: Whether it says that it has conditional writes: without them there is no
            lease, so that nothing keeps two collectors apart.
    """

    def __init__(
        self, stage: Stage, actor: str, store: blobstores.BlobStore, *, conditional: bool
    ) -> None:
        super().__init__(store)
        self._stage = stage
        self._actor = actor
        self._conditional = conditional

    def conditional_writes(self) -> bool:
        return self._conditional

    def passed_on(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return self._stage.call(self._actor, call, *values, **named)


class _WatchedUpload:
    def __init__(self, store: WatchedStore, upload: blobstores.Upload) -> None:
        self._store = store
        self._upload = upload

    def write(self, data: blobstores.Buffer) -> None:
        self._upload.write(data)

    def commit(self) -> None:
        self._store.passed_on(self._upload.commit)

    def abandon(self) -> None:
        self._upload.abandon()
