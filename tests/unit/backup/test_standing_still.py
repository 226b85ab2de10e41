"""A writer, reader or collector that stands still before any one of its calls, while others work.

Where `test_prune_model` draws what happens, here everything that takes away most is tried before
each call in turn.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import pack_writer
from mooring.backup.format import packs
from mooring.domain import errors
from mooring.planning import collection
from support import standing_still
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import DAY, age, collect
from support.dying_store import DyingStore, Killed
from support.standing_still import SCRIPTS, StandingStill

CHUNKS = 24
LONGEST = 120
"""More calls than anybody makes here."""


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(packs, "TARGET_BYTES", 6 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)
    return


def noise(chunks: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(chunks * SMALL_CHUNK)


class World:
    """A repository with a backup of one volume, and somebody who may stand still."""

    def __init__(self, folder: Path) -> None:
        self.real = MemoryBlobStore()
        self.engine = Engine(folder, store=self.real)
        self.image = bytearray(noise(CHUNKS, 1))
        self.model: dict[str, tuple[str, bytes]] = {}
        self.back_up("bk-1")

    def back_up(self, name: str) -> None:
        content = bytes(self.image)
        self.engine.back_up(content, name)
        self.model[name] = ("volume-1", content)

    def change(self, first: int, count: int, seed: int) -> None:
        self.image[first * SMALL_CHUNK : (first + count) * SMALL_CHUNK] = noise(count, seed)

    def stand_still(self, work: Callable[[], None], at: int, what: list[str]) -> bool:
        """Works, and stands still once meanwhile; tells whether it came to that."""
        others = standing_still.Others(self.engine, self.real, self.model)
        store = StandingStill(self.real, at, lambda: [others.do(event) for event in what])
        self.engine.store = store
        try:
            work()
        finally:
            self.engine.store = self.real
        return store.reached

    def require_whole(self) -> None:
        """Also after what was doomed meanwhile has gone."""
        for _ in range(2):
            collect(self.engine, exclusive=True)
            age(self.real, DAY)
        assert set(self.engine.open().backup_ids()) == set(self.model)
        for name, (_, content) in self.model.items():
            assert self.engine.restore(name) == content


def incremental(world: World, what: list[str]) -> None:
    """Without a week of silence, and with its parent, it is never stopped."""
    world.change(5, 8, 4)
    try:
        world.back_up("bk-2")
    except errors.Busy:
        assert standing_still.hours(what) >= 7 * 24 or "forget" in what


def full(world: World, what: list[str]) -> None:
    world.image = bytearray(noise(CHUNKS, 9))
    incremental(world, what)


def retried(world: World, what: list[str], first: str = "bk-2") -> None:
    """A second attempt, which uses what the first one had sent before it was killed."""
    world.image = bytearray(noise(CHUNKS, 9))
    stopped = world.engine.store
    assert isinstance(stopped, StandingStill)
    world.engine.store = DyingStore(world.real, 6)
    with pytest.raises(Killed):
        world.engine.back_up(bytes(world.image), first)
    world.engine.store = stopped
    incremental(world, what)


def retried_under_another_id(world: World, what: list[str]) -> None:
    retried(world, what, "bk-broken-off")


def collecting(world: World, what: list[str]) -> None:
    limits = collection.CollectionLimits(waste=0.2)
    try:
        collect(world.engine, limits=limits, exclusive=True)
    except errors.Busy:
        assert "collect" in what
    except errors.DataCorrupt:  # what it had seen is forgotten and gone since
        assert "forget" in what


def collecting_rests(world: World, what: list[str]) -> None:
    """Half of a backup is still needed, the other half of each pack is waste."""
    stopped, world.engine.store = world.engine.store, world.real
    for first in range(0, CHUNKS, 2):
        world.change(first, 1, 100 + first)
    world.back_up("bk-2")
    standing_still.Others(world.engine, world.real, world.model).do("bk-1")
    world.engine.store = stopped
    collecting(world, what)


def restoring(world: World, what: list[str]) -> None:
    name, (_, content) = next(iter(world.model.items()))
    assert world.engine.restore(name) == content


def restoring_what_is_forgotten(world: World, what: list[str]) -> None:
    """It has a day."""
    _, content = world.model["bk-1"]
    try:
        assert world.engine.restore("bk-1") == content
    except errors.NotFound:
        assert "bk-1" not in world.model  # it was not opened yet
    except errors.DataCorrupt:
        assert "bk-1" not in world.model
        assert standing_still.hours(what) >= 24


ROLES = [
    incremental, full, retried, retried_under_another_id, collecting, collecting_rests, restoring,
    restoring_what_is_forgotten,
]  # fmt: skip


@pytest.mark.parametrize("what", SCRIPTS, ids="-".join)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: str(role.__name__))
def test_nothing_is_lost_whatever_happens_while_somebody_stands_still(
    tmp_path: Path, role: Callable[[World, list[str]], None], what: list[str]
) -> None:
    events = what
    if role is restoring_what_is_forgotten:
        events = ["bk-1", *(event for event in what if event != "forget")]
    elif role is restoring:
        events = [event for event in what if event != "forget"]
    for at in range(LONGEST):
        folder = tmp_path / str(at)
        folder.mkdir()
        world = World(folder)
        if not world.stand_still(partial(role, world, what), at, events):
            assert at > 10
            break
        world.require_whole()
    else:
        raise AssertionError("it calls without an end")
