"""Prune beside a writer: what a collection leaves alone, and what a writer does not build on."""

import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import blob_index, index_merging, pack_writer, progress, prune, repair
from mooring.backup.format import layout, packs
from mooring.domain import backups
from mooring.planning import collection
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect
from support.dying_store import DyingStore, Killed

CHUNK = SMALL_CHUNK
IMAGE = random.Random(1).randbytes(2000 * CHUNK)
FATE = collection.PackFate


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def kill_a_backup(engine: Engine) -> list[str]:
    """Leaves what a backup had sent before it was killed; returns its packs."""
    real = engine.store
    engine.store = DyingStore(real, 20)
    with pytest.raises(Killed):
        engine.back_up(IMAGE, "bk-1")
    engine.store = real
    return engine.object_names("packs/")


def lose_the_tree(engine: Engine) -> list[str]:
    """Makes a backup of which only the data is left, which no tree reaches; returns its packs."""
    engine.back_up(IMAGE, "bk-1")
    for key in named_packs(engine, layout.BlobKind.NODE):
        engine.store.delete(key)
    request = repair.RepairRequest()
    assert set(repair.repair(engine.open(), request, progress.Watch()).damaged) == {"bk-1"}
    return named_packs(engine, layout.BlobKind.DATA)


def named_packs(engine: Engine, kind: layout.BlobKind) -> list[str]:
    """Returns the packs that segments of `bk-1` name."""
    index = blob_index.BlobIndex(engine.open(), kind)
    sessions = [key.removeprefix("sessions/") for key in engine.object_names("sessions/bk-1.")]
    index.load(map(backups.SessionId, sessions))
    return sorted(layout.pack_key(pack.name) for pack in index.pack_list())


def doom(engine: Engine, keys: list[str]) -> None:
    for key in keys:
        engine.store.put("tombstones/" + key.rpartition("/")[2], b"")


def back_up_beside(
    engine: Engine, name: str, meanwhile: Callable[[], object]
) -> backups.BackupManifest:
    """Makes a backup, and once while it is under way something else."""
    done: list[object] = []

    def once(_: progress.Progress) -> None:
        if not done:
            done.append(None)
            meanwhile()

    outcome = engine.back_up(IMAGE, name, watch=progress.Watch(once, interval_seconds=0))
    assert done
    assert not outcome.existed
    return outcome.manifest


def collect_for_days(engine: Engine) -> list[prune.PruneReport]:
    reports = []
    for _ in range(4):
        reports.append(collect(engine))
        age(engine.store)
    return reports


def test_a_doomed_pack_waits_for_the_writer_that_holds_it(engine: Engine) -> None:
    """A repair dooms what is damaged, also of writers that are under way."""
    held = kill_a_backup(engine)
    doom(engine, held)
    age(engine.store)
    report = collect(engine)
    assert {step.fate for step in report.packs} == {FATE.WAIT}
    assert all("writer" in step.reason for step in report.packs)
    assert engine.object_names("packs/") == held


def test_what_is_doomed_is_sent_again_though_it_is_there_yet(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector stands still just before it deletes what nobody needed when it looked."""
    doomed = lose_the_tree(engine)
    assert collect(engine).acts.packs_doomed == len(doomed)
    age(engine.store)
    real = engine.store.delete
    made: list[backups.BackupManifest] = []

    def deleting(key: str) -> None:
        if key in doomed and not made:
            made.append(engine.back_up(IMAGE, "bk-2").manifest)
        real(key)

    monkeypatch.setattr(engine.store, "delete", deleting)
    assert collect(engine).acts.packs_deleted == len(doomed)
    assert [manifest.stats.bytes_sent for manifest in made] == [len(IMAGE)]
    assert engine.restore("bk-2") == IMAGE


def test_what_a_segment_names_is_sent_again_when_it_is_gone(engine: Engine) -> None:
    """A collector that stood still for days may have written the segment anew."""
    gone = set(kill_a_backup(engine)[::2])
    for key in gone:
        engine.store.delete(key)
    engine.back_up(IMAGE, "bk-1")
    assert engine.restore("bk-1") == IMAGE


def test_what_a_writer_reuses_lives_as_long_as_the_writer(engine: Engine) -> None:
    kill_a_backup(engine)
    age(engine.store, timedelta(days=6, hours=23))
    reports: list[prune.PruneReport] = []

    def meanwhile() -> None:
        age(engine.store, timedelta(hours=2))
        reports.append(collect(engine))

    manifest = back_up_beside(engine, "bk-1", meanwhile)
    assert [step.fate for step in reports[0].sessions] == [collection.SessionFate.OPEN] * 2
    assert 0 < manifest.stats.bytes_sent < len(IMAGE)
    assert engine.restore("bk-1") == IMAGE


@pytest.mark.parametrize(
    ("before", "name"), [(lambda _: None, "bk-1"), (kill_a_backup, "bk-1"), (lose_the_tree, "bk-2")]
)
def test_index_segments_of_a_writer_and_of_what_it_reuses_are_left_alone(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Engine], object],
    name: str,
) -> None:
    """What it holds is told by the segments of its sessions."""
    engine.back_up(random.Random(2).randbytes(1000 * CHUNK), "other", uid="volume-2")
    before(engine)
    monkeypatch.setattr(index_merging, "_SMALL_SEGMENTS", 0)
    reports: list[prune.PruneReport] = []
    manifest = back_up_beside(engine, name, lambda: reports.extend(collect_for_days(engine)))
    assert reports[0].acts.segments_removed > 0
    assert not any(report.acts.packs_doomed for report in reports)
    for session in manifest.origins:
        assert engine.object_names(f"index/{session}/")
    assert engine.restore(name) == IMAGE


def test_a_tombstone_stays_for_two_days(engine: Engine) -> None:
    engine.back_up(IMAGE, "bk-1")
    engine.open().forget(backups.BackupId("bk-1"))
    collect(engine)
    doomed = engine.object_names("tombstones/")
    age(engine.store, timedelta(hours=24))
    assert collect(engine).acts.packs_deleted == len(doomed) > 0
    for hours in (0, 23):  # no segment names them any more
        age(engine.store, timedelta(hours=hours))
        collect(engine)
        assert engine.object_names("index/") == []
        assert engine.object_names("tombstones/") == doomed
    age(engine.store, timedelta(hours=1))
    collect(engine)
    assert engine.object_names("tombstones/") == []


def test_a_tombstone_stays_as_long_as_a_segment_names_its_pack(engine: Engine) -> None:
    """Else a writer that reuses the segment would take the pack for a good one."""
    kill_a_backup(engine)
    gone = named_packs(engine, layout.BlobKind.DATA)
    doom(engine, gone)
    tombstones = engine.object_names("tombstones/")
    for key in gone:
        engine.store.delete(key)
    age(engine.store, timedelta(days=3))
    collect(engine)
    assert engine.object_names("tombstones/") == tombstones


@pytest.mark.parametrize("after", [False, True])
def test_joining_small_index_segments_killed_at_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr(index_merging, "_SMALL_SEGMENTS", 3)
    for at in range(100):
        folder = tmp_path / str(at)
        folder.mkdir()
        real = MemoryBlobStore()
        engine = Engine(folder, store=real)
        engine.back_up(IMAGE, "bk-1")
        assert len(engine.object_names("index/")) > 10
        dying = DyingStore(real, at, after=after)
        engine.store = dying
        with contextlib.suppress(Killed):
            collect(engine)
        engine.store = real
        assert engine.restore("bk-1") == IMAGE
        if dying.survived:
            assert at > 10
            assert len(engine.object_names("index/")) == 2
            return
    raise AssertionError("it writes without an end")
