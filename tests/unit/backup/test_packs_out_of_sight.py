"""Packs that are away for a while, or short, and then whole again: nothing of them is given up.

A folder that is not mounted, or a copy of a repository that is under way, looks like loss.
"""

import random
from pathlib import Path

import pytest

from mooring.backup import inspection, progress, repair
from mooring.backup.format import packs
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all

IMAGE = random.Random(1).randbytes(400 * SMALL_CHUNK)
OTHER = random.Random(2).randbytes(40 * SMALL_CHUNK)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(packs, "TARGET_BYTES", 16 << 10)
    engine = Engine(tmp_path)
    engine.back_up(IMAGE, "bk-1")
    return engine


def mend(engine: Engine, *, full: bool = False) -> repair.RepairReport:
    return repair.repair(engine.open(), repair.RepairRequest(full=full), progress.Watch())


def content(engine: Engine, key: str) -> bytes:
    return engine.store.get(key, limit_bytes=1 << 30)


def biggest(engine: Engine) -> str:
    return max(engine.object_names("packs/"), key=lambda key: len(content(engine, key)))


def take_away(engine: Engine) -> dict[str, bytes]:
    away = {key: content(engine, key) for key in engine.object_names("packs/")}
    for key in away:
        engine.store.delete(key)
    return away


def put_back(engine: Engine, away: dict[str, bytes]) -> None:
    for key, data in away.items():
        engine.store.put(key, data)
    age(engine.store, prefix="packs/")  # a mount has them as old as they are


def assert_whole_for_good(engine: Engine) -> None:
    """After collections too, those a day later and those after what holds things is over."""
    for _ in range(9):
        assert engine.restore("bk-1") == IMAGE
        collect(engine)
        age(engine.store)
    collect_all(engine)
    assert engine.restore("bk-1") == IMAGE
    assert inspection.check_repository(engine.open(), progress.Watch(), full=True).problems == []


@pytest.mark.parametrize("full", [False, True])
def test_packs_that_were_away_during_a_repair_count_again_when_they_are_back(
    engine: Engine, full: bool
) -> None:
    away = take_away(engine)
    assert mend(engine).damaged.keys() == {"bk-1"}
    put_back(engine, away)
    report = mend(engine, full=full)
    assert (report.packs_indexed, report.damaged) == (len(away), {})
    assert engine.object_names("damaged/") == []
    assert_whole_for_good(engine)


@pytest.mark.parametrize("full", [False, True])
def test_a_short_pack_that_is_put_back_whole_counts_again(engine: Engine, full: bool) -> None:
    key = biggest(engine)
    whole = content(engine, key)
    engine.overwrite(key, whole[: len(whole) // 2])
    report = mend(engine)
    assert (report.packs_given_up, set(report.damaged)) == (1, {"bk-1"})
    engine.overwrite(key, whole)
    report = mend(engine, full=full)
    assert (report.packs_indexed, report.damaged) == (1, {})
    assert_whole_for_good(engine)


def test_a_pack_that_stays_damaged_is_given_up_each_time(engine: Engine) -> None:
    engine.damage(biggest(engine), lambda data: data.__setitem__(99, data[99] ^ 1))
    assert mend(engine, full=True).packs_given_up == 1
    for full in (False, True):
        report = mend(engine, full=full)
        assert (report.packs_indexed, set(report.damaged)) == (0, {"bk-1"})
    engine.back_up(IMAGE, "bk-2")
    assert mend(engine).damaged == {}
    collect_all(engine)
    age(engine.store)
    assert engine.restore("bk-1") == IMAGE


def test_what_no_index_names_waits_while_a_backup_is_marked(engine: Engine) -> None:
    """The packs are back, and a collection comes before the next repair."""
    away = take_away(engine)
    mend(engine)
    put_back(engine, away)
    for _ in range(9):
        age(engine.store)
        report = collect(engine)
        assert (report.acts.packs_doomed, report.acts.packs_deleted) == (0, 0)
    assert mend(engine).damaged == {}
    assert_whole_for_good(engine)


def test_a_marked_backup_that_loses_a_segment_too_keeps_its_packs(engine: Engine) -> None:
    engine.store.delete(biggest(engine))
    assert mend(engine).damaged.keys() == {"bk-1"}
    for key in engine.object_names("index/"):
        if "/d" in key:
            engine.store.delete(key)
    engine.back_up(OTHER, "bk-o", uid="other")
    left = engine.object_names("packs/")
    for _ in range(9):
        report = collect(engine)
        assert report.acts.packs_doomed == report.acts.packs_deleted == 0
        age(engine.store)
    assert engine.object_names("packs/") == left
    assert mend(engine).packs_indexed > 1
    engine.back_up(IMAGE, "bk-2")
    assert mend(engine).damaged == {}
    assert_whole_for_good(engine)


def test_without_marked_backups_what_no_index_names_goes(engine: Engine) -> None:
    engine.store.delete(biggest(engine))
    mend(engine)
    for key in engine.object_names("index/"):
        if "/d" in key:
            engine.store.delete(key)
    request = repair.RepairRequest(drop_damaged=True)
    assert repair.repair(engine.open(), request, progress.Watch()).dropped == ["bk-1"]
    age(engine.store, prefix="")
    for _ in range(9):
        age(engine.store)
        collect(engine)
    collect_all(engine)
    assert engine.object_names("packs/") == []
