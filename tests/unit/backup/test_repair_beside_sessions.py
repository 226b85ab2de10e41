"""Repairs of a repository in which writers are under way, or were killed."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.backup import inspection, inventory, pack_writer, progress, repair
from mooring.backup.format import layout, packs
from mooring.domain import backups
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all
from support.dying_store import DyingStore, Killed

CHUNK = SMALL_CHUNK
FIRST = random.Random(1).randbytes(1200 * CHUNK)
OTHER = random.Random(2).randbytes(1200 * CHUNK)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    return Engine(tmp_path)


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers name each pack as soon as it is there."""
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)


def killed(engine: Engine, image: bytes, backup_id: str, uid: str, at: int) -> None:
    """A backup that dies at one of its writes, and leaves its session open."""
    real = engine.store
    engine.store = DyingStore(real, at)
    with pytest.raises(Killed):
        engine.back_up(image, backup_id, uid=uid)
    engine.store = real


def pack_of_an_attempt(engine: Engine) -> str:
    """Returns a pack that the next attempt of this backup uses, whose own sends the rest."""
    killed(engine, FIRST, "bk-1", "volume-1", at=10)
    session = backups.SessionId(engine.object_names("sessions/")[0].removeprefix("sessions/"))
    return layout.pack_key(sorted(inventory.session_packs(engine.open(), session))[0])


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 1


def mend(engine: Engine, *, full: bool = True, drop_damaged: bool = False) -> repair.RepairReport:
    request = repair.RepairRequest(full=full, drop_damaged=drop_damaged)
    return repair.repair(engine.open(), request, progress.Watch())


def problems(engine: Engine) -> list[str]:
    return inspection.check_repository(engine.open(), progress.Watch(), full=True).problems


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
def test_an_index_segment_costs_nothing_while_a_session_is_open(
    engine: Engine, deleted: bool, full: bool
) -> None:
    killed(engine, OTHER, "bk-0", "volume-2", at=3)
    engine.back_up(FIRST, "bk-1")
    for key in engine.object_names("index/bk-1."):
        if deleted:
            engine.store.delete(key)
        else:
            engine.damage(key, flip)
    report = mend(engine, full=full, drop_damaged=True)
    assert report.damaged == {}
    assert report.chunks_lost == 0
    assert report.packs_indexed > 9
    assert engine.restore("bk-1") == FIRST
    assert problems(engine) == []
    again = mend(engine, full=full)
    assert (again.packs_indexed, again.damaged) == (0, {})


def test_what_a_repair_indexes_of_a_writer_under_way_is_held(engine: Engine) -> None:
    """Such a pack is in an index before its writer names it, and is no garbage for that."""
    reports = []

    def meanwhile(seen: progress.Progress) -> None:
        if not reports and seen.stored > 300 << 10:
            reports.append(mend(engine))
            collect(engine)
            age(engine.store)
            collect(engine)

    engine.back_up(FIRST, "bk-1")
    watch = progress.Watch(meanwhile, interval_seconds=0)
    engine.back_up(OTHER, "bk-2", uid="volume-2", watch=watch)
    assert reports[0].packs_indexed > 0
    assert engine.restore("bk-2") == OTHER
    assert problems(engine) == []


def test_what_a_repair_indexes_is_given_up_like_what_a_session_sent(engine: Engine) -> None:
    engine.back_up(FIRST, "bk-1")
    killed(engine, OTHER, "bk-2", "volume-2", at=8)
    assert mend(engine).packs_indexed > 3
    collect_all(engine)
    assert len(engine.object_names("packs/")) > 12
    age(engine.store, timedelta(days=8))
    collect_all(engine)
    assert len(engine.object_names("packs/")) < 12
    assert engine.restore("bk-1") == FIRST


def test_a_doomed_pack_that_is_needed_is_indexed_like_any_other(engine: Engine) -> None:
    """A tombstone may fall on a pack that came into use while its collector stood still."""
    engine.back_up(FIRST, "bk-1")
    for key in engine.object_names("packs/"):
        engine.store.put(f"tombstones/{key[-32:]}", b"no backup needs anything in it")
    for key in engine.object_names("index/"):
        engine.damage(key, flip)
    assert mend(engine, full=False, drop_damaged=True).damaged == {}
    assert engine.restore("bk-1") == FIRST
    collect_all(engine)
    assert engine.restore("bk-1") == FIRST
    assert problems(engine) == []


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_rots_in_an_attempt_that_was_killed_is_lost_and_said(
    engine: Engine, when: str
) -> None:
    """Its segments are left alone while it is open, and name the chunks still."""
    pack = pack_of_an_attempt(engine)
    engine.back_up(FIRST, "bk-1")
    if when == "after":
        engine.back_up(FIRST, "bk-2")
    engine.damage(pack, flip)
    report = mend(engine)
    needing = {"bk-1"} if when == "before" else {"bk-1", "bk-2"}
    assert report.damaged.keys() == needing
    assert (report.packs_given_up, report.chunks_lost) == (1, len(needing))
    for full in (False, True):  # a second one neither forgets it nor loses more
        assert mend(engine, full=full).damaged.keys() == needing
    outcome = engine.back_up(FIRST, "bk-3")
    assert outcome.manifest.parent is None
    assert outcome.manifest.stats.chunks_sent == 1
    assert engine.restore("bk-3") == FIRST
    assert mend(engine, full=False).damaged == {}  # the volume had it still
    assert engine.restore("bk-1") == FIRST
    collect_all(engine)
    assert engine.restore("bk-1") == FIRST
    assert problems(engine) == []


@pytest.mark.usefixtures("prompt")
def test_what_rots_in_an_attempt_that_was_killed_is_not_taken_up_again(engine: Engine) -> None:
    engine.damage(pack_of_an_attempt(engine), flip)
    report = mend(engine)
    assert (report.packs_given_up, report.damaged) == (1, {})
    engine.back_up(FIRST, "bk-1")
    assert engine.restore("bk-1") == FIRST
    assert problems(engine) == []


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("at", range(12))
def test_a_repair_killed_at_any_write_is_made_whole_by_a_quick_one(engine: Engine, at: int) -> None:
    """Nothing that it found is believed whole again, and nothing else is judged lost."""
    pack = pack_of_an_attempt(engine)
    engine.back_up(FIRST, "bk-1")
    engine.back_up(OTHER, "bk-2", uid="volume-2")
    engine.damage(pack, flip)
    engine.damage(engine.object_names("index/bk-2.")[0], flip)
    real = engine.store
    engine.store = DyingStore(real, at)
    try:
        mend(engine)
    except Killed:
        pass
    finally:
        engine.store = real
    age(real, timedelta(minutes=16), "lease")
    found = engine.object_names("tombstones/") != []
    report = mend(engine, full=not found)
    assert report.damaged.keys() == {"bk-1"}
    assert engine.restore("bk-2") == OTHER
    engine.back_up(FIRST, "bk-3")
    assert engine.restore("bk-3") == FIRST
    assert mend(engine, full=False).damaged == {}
    assert backups.BackupId("bk-1") in engine.open().backup_ids()
    assert problems(engine) == []
