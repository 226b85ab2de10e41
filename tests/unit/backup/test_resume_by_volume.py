"""A backup goes on with what broken-off ones of the same volume had sent, whatever their ids."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.backup import pack_writer, progress
from mooring.backup.format import layout, manifests, packs
from mooring.domain import backups, errors
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect

CHUNK = SMALL_CHUNK
CHUNKS = 9000
IMAGE = random.Random(1).randbytes(CHUNKS * CHUNK)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def break_off(engine: Engine, name: str, share: float, uid: str = "volume-1") -> str:
    """Stops a backup when so much of the volume is dealt with; returns its session."""
    reports: list[progress.Progress] = []
    watch = progress.Watch(
        reports.append,
        cancelled=lambda: not share or (bool(reports) and reports[-1].done > share * len(IMAGE)),
        interval_seconds=0,
    )
    with pytest.raises(errors.Cancelled):
        engine.back_up(IMAGE, name, uid=uid, watch=watch)
    (session,) = engine.object_names(f"sessions/{name}.")
    return session.removeprefix("sessions/")


def announced(engine: Engine, manifest: backups.BackupManifest) -> backups.BackupSession:
    key = layout.session_key(manifest.session)
    return manifests.decode_session(
        engine.open().get_sealed(key, layout.MAXIMUM_SESSION_BYTES), key
    )


def test_the_next_backup_of_the_volume_sends_only_the_rest(engine: Engine) -> None:
    first = break_off(engine, "bk-1", 0.3)
    second = break_off(engine, "bk-2", 0.6)
    made = engine.back_up(IMAGE, "bk-3").manifest
    assert made.stats.bytes_sent < 0.6 * len(IMAGE)
    assert set(made.origins) == {made.session, first, second}
    assert engine.restore("bk-3") == IMAGE
    after = engine.back_up(IMAGE, "bk-4").manifest
    assert (after.parent, after.stats.bytes_sent) == ("bk-3", 0)
    assert announced(engine, after).sessions == ()  # its parent has it all


def test_nothing_is_taken_of_another_volume_or_chunk_size(engine: Engine) -> None:
    break_off(engine, "bk-1", 0.5)
    other = engine.back_up(IMAGE, "bk-2", uid="volume-2").manifest
    assert announced(engine, other).sessions == ()
    larger = engine.back_up(IMAGE, "bk-3", chunk_size_bytes=2 * CHUNK).manifest
    assert announced(engine, larger).sessions == ()
    assert other.stats.bytes_sent == larger.stats.bytes_sent == len(IMAGE)


def test_what_sent_nothing_or_was_given_up_is_not_named(engine: Engine) -> None:
    closed = break_off(engine, "bk-1", 0.5)
    engine.open().close_session(backups.SessionId(closed))
    silent = break_off(engine, "bk-2", 0)
    assert engine.object_names(f"index/{silent}/") == []
    made = engine.back_up(IMAGE, "bk-3").manifest
    assert announced(engine, made).sessions == ()
    assert made.stats.bytes_sent == len(IMAGE)


def test_what_a_writer_under_way_builds_on_is_not_given_up(engine: Engine) -> None:
    """A first backup that takes weeks, broken off now and then."""
    first = break_off(engine, "bk-1", 0.3)
    age(engine.store, 6 * DAY)
    second = break_off(engine, "bk-2", 0.6)
    age(engine.store, 6 * DAY)
    assert collect(engine).acts.closed == []
    third = break_off(engine, "bk-3", 0.8)
    age(engine.store, 6 * DAY)
    assert collect(engine).acts.closed == []
    made = engine.back_up(IMAGE, "bk-4").manifest
    assert set(made.origins) == {made.session, first, second, third}
    assert made.stats.bytes_sent < 0.4 * len(IMAGE)
    assert engine.restore("bk-4") == IMAGE
    age(engine.store, 7 * DAY)
    assert set(collect(engine).acts.closed) == {first, second, third}
    age(engine.store, DAY)
    collect(engine)
    assert engine.restore("bk-4") == IMAGE


def test_a_week_after_the_last_of_them_all_are_given_up(engine: Engine) -> None:
    first = break_off(engine, "bk-1", 0.3)
    age(engine.store, 6 * DAY)
    second = break_off(engine, "bk-2", 0.6)
    age(engine.store, 7 * DAY)
    assert set(collect(engine).acts.closed) == {first, second}


def test_two_writers_of_a_volume_at_once_both_make_whole_backups(engine: Engine) -> None:
    """The second begins, ends and is collected after while the first is under way."""
    other = Engine.__new__(Engine)
    other.__dict__.update(engine.__dict__)
    other.folder = engine.folder / "other"
    other.folder.mkdir()
    changed = IMAGE[: len(IMAGE) // 2] + random.Random(2).randbytes(len(IMAGE) // 2)
    seen: list[backups.BackupManifest] = []

    def meanwhile(now: progress.Progress) -> None:
        if not seen and now.done > 0.4 * len(IMAGE):
            seen.append(other.back_up(changed, "bk-2").manifest)
            for _ in range(3):
                collect(other)
                age(other.store, DAY)

    outcome = engine.back_up(IMAGE, "bk-1", watch=progress.Watch(meanwhile, interval_seconds=0))
    assert announced(engine, seen[0]).sessions == (outcome.manifest.session,)
    assert seen[0].stats.bytes_sent < len(changed)
    for _ in range(3):
        collect(engine)
        age(engine.store, DAY)
    assert engine.restore("bk-1") == IMAGE
    assert engine.restore("bk-2") == changed
    engine.open().forget(backups.BackupId("bk-1"))
    for _ in range(3):
        collect(engine)
        age(engine.store, DAY)
    assert engine.restore("bk-2") == changed
