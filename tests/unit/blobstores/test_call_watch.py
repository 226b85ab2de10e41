"""Calls into a folder that do not return are told, once and again, and at last as final."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mooring.adapters.blobstores.call_watch import CallWatch, SilenceLimits
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.adapters.blobstores.watched_store import WatchedBlobStore
from mooring.domain import errors
from mooring.ports import blobstores

LIMITS = SilenceLimits(say_seconds=0.1, give_up_seconds=0.7)


class Hanging(MemoryBlobStore):
    """Waits in each call for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()
        self.back.set()

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name in WATCHED:
            super().__getattribute__("back").wait(20)
        return found


def listed(store: blobstores.BlobStore) -> None:
    list(store.list("packs/"))


def uploaded(store: blobstores.BlobStore) -> None:
    upload = store.upload("packs/new")
    upload.write(b"content")
    upload.commit()


WATCHED: dict[str, Callable[[blobstores.BlobStore], object]] = {
    "conditional_writes": lambda store: store.conditional_writes(),
    "put": lambda store: store.put("packs/new", b"content"),
    "replace": lambda store: store.replace("packs/old", b"x", version=version_of(store)),
    "upload": uploaded,
    "get": lambda store: store.get("packs/old", limit_bytes=9),
    "get_range": lambda store: store.get_range("packs/old", 0, 1),
    "head": lambda store: store.head("packs/old"),
    "list": listed,
    "delete": lambda store: store.delete("packs/old"),
}


def version_of(store: blobstores.BlobStore) -> str:
    info = store.head("packs/old")
    assert info is not None
    return info.version


class Told:
    """What was told, and when it was final."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.once, self.final = threading.Event(), threading.Event()

    def __call__(self, error: errors.Unreachable, is_final: bool) -> None:
        self.words.append(str(error))
        self.once.set()
        if is_final:
            self.final.set()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    store = Hanging()
    store.put("packs/old", b"content")
    yield store
    store.back.set()


@pytest.mark.parametrize("name", WATCHED)
def test_any_call_that_does_not_return_is_told_and_goes_on_when_the_store_is_back(
    hanging: Hanging, told: Told, name: str
) -> None:
    store = WatchedBlobStore(hanging, CallWatch("/srv/backups", told, LIMITS))
    hanging.back.clear()
    worker = threading.Thread(target=WATCHED[name], args=(store,))
    worker.start()
    assert told.once.wait(20)
    assert worker.is_alive()
    assert "/srv/backups has not answered for" in told.words[0]
    hanging.back.set()
    worker.join(20)
    assert not worker.is_alive()


def test_it_is_said_less_and_less_often_until_it_is_final(told: Told) -> None:
    watch = CallWatch("/srv/backups", told, LIMITS)
    with watch.call("write packs/aa/bb"):
        assert told.final.wait(20)
    assert 2 <= len(told.words) <= 4
    assert all("to write packs/aa/bb" in words for words in told.words)


def test_a_call_that_returns_is_not_told_however_many_there_are(told: Told) -> None:
    watch = CallWatch("/srv/backups", told, SilenceLimits(2.0, 5.0))
    ends = time.monotonic() + 4.0
    while time.monotonic() < ends:
        with watch.call("write"):
            time.sleep(0.05)
    assert told.words == []
