"""Collections and repairs of a store that takes nothing more: they must make room in it."""

import random
from pathlib import Path

import pytest

from mooring.adapters.blobstores import trial
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import inspection, mover_spec, progress, repair, upkeep
from mooring.backup.format import layout, packs
from mooring.domain import backups, errors
from mooring.planning import collection, retention
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect

FIRST = random.Random(1).randbytes(1000 * SMALL_CHUNK)
OTHER = random.Random(2).randbytes(1000 * SMALL_CHUNK)


class FullStore(MemoryBlobStore):
    """A store with so much room, which tries its conditional writes like the real ones.

    An object without bytes takes no room, as on the filesystems and servers that there are.
    """

    capacity_bytes = 1 << 30

    @property
    def room_bytes(self) -> int:
        return self.capacity_bytes - sum(info.size_bytes for info in self.list(""))

    def leave(self, room_bytes: int) -> None:
        """Somebody else takes the rest."""
        self.capacity_bytes += room_bytes - self.room_bytes

    def conditional_writes(self) -> bool:
        return trial.writes_are_conditional(self)

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self._use(len(data))
        super().put(key, data)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        self._use(len(data))
        return super().replace(key, data, version=version)

    def _use(self, size_bytes: int) -> None:
        if size_bytes and size_bytes > self.room_bytes:
            raise errors.SpaceExhausted("the store is full")


@pytest.fixture
def store() -> FullStore:
    return FullStore()


@pytest.fixture
def engine(tmp_path: Path, store: FullStore, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    engine = Engine(tmp_path, store=store)
    engine.back_up(FIRST, "bk-1")
    return engine


def whole(engine: Engine) -> None:
    assert engine.restore("bk-1") == FIRST
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []


@pytest.mark.parametrize("room_bytes", [0, 5, 70_000])
def test_a_full_store_is_emptied_without_a_lease(
    engine: Engine, store: FullStore, room_bytes: int
) -> None:
    """Also one with room for a part of the trial of its conditional writes."""
    engine.back_up(OTHER, "bk-2", uid="volume-2")
    engine.open().forget(backups.BackupId("bk-2"))
    assert collect(engine).acts.packs_doomed == 9
    age(store)
    store.leave(room_bytes)
    before = engine.object_names()
    with pytest.raises(errors.SpaceExhausted, match="--exclusive"):
        collect(engine)
    assert engine.object_names() == before
    assert collect(engine, exclusive=True).acts.packs_deleted == 9
    assert store.room_bytes > len(OTHER)
    whole(engine)
    assert collect(engine).acts.packs_deleted == 0  # and there is a lease again


def test_a_full_store_is_emptied_in_which_nothing_was_doomed_yet(
    engine: Engine, store: FullStore
) -> None:
    for number in range(70):  # so many index segments that a collector joins them
        engine.back_up(OTHER[: -number - 1], f"bk-2-{number}", uid="volume-2")
    for number in range(70):
        engine.open().forget(backups.BackupId(f"bk-2-{number}"))
    store.leave(0)
    report = collect(engine, exclusive=True)
    assert report.acts.packs_doomed >= 9
    assert any("no room" in problem for problem in report.acts.without_room)
    age(store)
    assert collect(engine, exclusive=True).acts.packs_deleted == report.acts.packs_doomed
    assert store.room_bytes > len(OTHER)
    whole(engine)


def test_retention_makes_room_in_a_full_store(engine: Engine, store: FullStore) -> None:
    engine.back_up(OTHER, "bk-2")
    engine.back_up(FIRST, "bk-3")
    store.leave(0)
    report = collect(engine, exclusive=True, keep=retention.KeepRules(last=1))
    assert engine.open().backup_ids() == ["bk-3"]
    assert report.acts.packs_doomed >= 9
    age(store)
    assert collect(engine, exclusive=True).acts.packs_deleted >= 9
    assert engine.restore("bk-3") == FIRST


@pytest.mark.parametrize("room_bytes", [0, 100_000])
def test_a_pack_whose_copy_found_no_room_is_not_doomed(
    engine: Engine, store: FullStore, room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = bytearray(OTHER)
    for chunk in range(0, 1000, 4):
        place = slice(chunk * SMALL_CHUNK, (chunk + 1) * SMALL_CHUNK)
        image[place] = FIRST[place]
    engine.back_up(bytes(image), "bk-2")
    engine.open().forget(backups.BackupId("bk-1"))
    store.leave(room_bytes)
    report = collect(engine, exclusive=True)
    needed = {step.name for step in report.packs if step.fate is collection.PackFate.REWRITE}
    assert needed
    assert not needed & {layout.tombstone_name(key) for key in engine.object_names("tombstones/")}
    assert any("no room" in problem for problem in report.acts.without_room)
    assert report.acts.problems == []
    monkeypatch.setattr(store, "conditional_writes", lambda: True)  # it was tried with more room
    spec = mover_spec.PruneSpec.model_construct()
    with pytest.raises(errors.SpaceExhausted, match="The rest was done" if room_bytes else "full"):
        upkeep.collect(spec, engine.open(), progress.Watch())
    age(store)
    collect(engine, exclusive=True)
    assert engine.restore("bk-2") == image


def test_a_repair_without_room_changes_nothing_and_one_with_room_mends(
    engine: Engine, store: FullStore
) -> None:
    for key in engine.object_names("index/"):
        engine.damage(key, lambda data: data.__setitem__(50, data[50] ^ 1))
    store.leave(0)
    before = engine.object_names()
    for exclusive in (False, True):
        request = repair.RepairRequest(full=True, exclusive=exclusive, drop_damaged=True)
        with pytest.raises(errors.SpaceExhausted):
            repair.repair(engine.open(), request, progress.Watch())
        assert engine.object_names() == before
    store.leave(1 << 20)
    request = repair.RepairRequest(full=True)
    assert repair.repair(engine.open(), request, progress.Watch()).damaged == {}
    whole(engine)
