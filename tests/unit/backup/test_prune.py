"""Prune: what goes, what stays, when, and at what price."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import index_merging, inspection, pack_writer, progress, prune
from mooring.backup.format import layout, packs
from mooring.domain import backups, errors
from mooring.planning import collection, retention
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all

CHUNK = SMALL_CHUNK
FATE = collection.PackFate


def noise(seed: int, chunks: int = 1000) -> bytes:
    return random.Random(seed).randbytes(chunks * CHUNK)


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def in_a_folder(tmp_path: Path) -> Engine:
    (tmp_path / "repo").mkdir()
    return Engine(tmp_path, store=DirectoryBlobStore(tmp_path / "repo"))


def healthy(engine: Engine) -> bool:
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    return report.healthy


def fates(report: prune.PruneReport) -> Counter[collection.PackFate]:
    return Counter(step.fate for step in report.packs)


def test_nothing_goes_while_everything_is_needed(engine: Engine) -> None:
    for number in range(3):
        engine.back_up(noise(number), f"bk-{number}")
    before = engine.object_names()
    for report in collect_all(engine):
        assert set(fates(report)) == {FATE.KEEP}
    assert set(engine.object_names()) - set(before) == {"lease"}


@pytest.mark.parametrize("where", ["engine", "in_a_folder"])
def test_what_nothing_needs_goes_after_two_marks_a_day_apart(
    where: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(where)
    engine.back_up(noise(1), "bk-1")
    before = set(engine.object_names())
    engine.back_up(noise(2), "bk-2", uid="volume-2")
    engine.open().forget(backups.BackupId("bk-2"))
    dead = set(engine.object_names("packs/")) - before
    first = collect(engine)
    assert first.count(FATE.DOOM)[0] == first.acts.packs_doomed == len(dead) > 5
    assert first.acts.bytes_doomed > 1000 * CHUNK
    soon = collect(engine)
    assert fates(soon)[FATE.WAIT] == len(dead)
    assert dead <= set(engine.object_names("packs/"))
    age(engine.store, timedelta(hours=23), "tombstones/")
    assert collect(engine).acts.packs_deleted == 0
    age(engine.store, timedelta(hours=1), "tombstones/")
    last = collect(engine)
    assert last.acts.packs_deleted == len(dead)
    assert last.acts.bytes_deleted == first.acts.bytes_doomed
    assert engine.restore("bk-1") == noise(1)
    age(engine.store, timedelta(hours=48))
    collect(engine)
    collect(engine)
    assert set(engine.object_names()) == before | {"lease"}
    assert healthy(engine)


def test_a_backup_that_is_under_way_is_held(engine: Engine) -> None:
    seen: list[prune.PruneReport] = []

    def meanwhile(_: progress.Progress) -> None:
        if not seen:
            seen.append(collect(engine))
            age(engine.store)
            seen.append(collect(engine))

    watch = progress.Watch(meanwhile, interval_seconds=0)
    engine.back_up(noise(1, 9000), "bk-1", watch=watch)
    for report in seen:
        assert fates(report)[FATE.DOOM] == 0
        assert [step.fate for step in report.sessions] == [collection.SessionFate.OPEN]
    assert engine.restore("bk-1") == noise(1, 9000)


def test_the_parent_of_a_backup_under_way_is_held_though_forgotten(engine: Engine) -> None:
    engine.back_up(noise(1), "bk-1")
    reports: list[prune.PruneReport] = []

    def meanwhile(_: progress.Progress) -> None:
        if not reports:
            engine.open().forget(backups.BackupId("bk-1"))
            reports.extend(collect_all(engine))

    changed = noise(2, 1) + noise(1)[CHUNK:]
    outcome = engine.back_up(changed, "bk-2", watch=progress.Watch(meanwhile, interval_seconds=0))
    assert outcome.manifest.parent == "bk-1"
    assert outcome.manifest.stats.bytes_sent == CHUNK
    assert not any(report.acts.packs_doomed for report in reports)
    assert engine.restore("bk-2") == changed


@pytest.fixture
def killed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with the remains of a backup that was killed half-way."""
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)
    reports: list[progress.Progress] = []
    half = progress.Watch(
        reports.append,
        cancelled=lambda: bool(reports) and reports[-1].done > 4500 * CHUNK,
        interval_seconds=0,
    )
    with pytest.raises(errors.Cancelled):
        engine.back_up(noise(1, 9000), "bk-1", watch=half)
    return engine


def test_a_killed_backup_can_be_resumed_for_a_week(killed: Engine) -> None:
    for _ in range(6):
        age(killed.store)
        assert collect(killed).acts.closed == []
    outcome = killed.back_up(noise(1, 9000), "bk-1")
    assert 0 < outcome.manifest.stats.bytes_sent < 6000 * CHUNK
    assert killed.restore("bk-1") == noise(1, 9000)


def test_a_killed_backup_is_given_up_after_a_week(killed: Engine) -> None:
    (session,) = killed.object_names("sessions/")
    age(killed.store, timedelta(days=7))
    report = collect(killed)
    assert report.acts.closed == [session.removeprefix("sessions/")]
    assert "without a sign of life" in report.sessions[0].reason
    assert report.acts.packs_doomed == len(killed.object_names("packs/")) > 0
    age(killed.store)
    collect(killed)
    age(killed.store, timedelta(hours=48))
    collect(killed)
    collect(killed)
    assert killed.object_names() == ["config", "lease"]
    assert killed.back_up(noise(1, 9000), "bk-1").manifest.stats.bytes_sent == 9000 * CHUNK


def test_the_remains_of_earlier_attempts_go_when_the_backup_is_made(killed: Engine) -> None:
    changed = noise(2, 9000)  # nothing of the first attempt is used
    killed.back_up(changed, "bk-1")
    reports = collect_all(killed)
    assert sum(report.acts.packs_deleted for report in reports) > 10
    assert sum(len(report.acts.closed) for report in reports) == 1
    assert killed.restore("bk-1") == changed
    assert len(killed.object_names("sessions/")) == 1


def wasteful(engine: Engine) -> bytes:
    """Makes packs of which one chunk in four is needed; returns the backup that needs it."""
    dice = random.Random(3)
    image = bytearray(dice.randbytes(2000 * CHUNK))
    engine.back_up(bytes(image), "bk-1")
    for chunk in range(2000):
        if chunk % 4:
            image[chunk * CHUNK : (chunk + 1) * CHUNK] = dice.randbytes(CHUNK)
    engine.back_up(bytes(image), "bk-2")
    engine.open().forget(backups.BackupId("bk-1"))
    return bytes(image)


def test_packs_that_are_mostly_waste_are_rewritten(engine: Engine) -> None:
    image = wasteful(engine)
    before = engine.bytes_stored()
    first = collect(engine)
    count, _ = first.count(FATE.REWRITE)
    assert count > 10
    assert 500 * CHUNK <= first.acts.bytes_copied <= 520 * (CHUNK + 100)
    assert first.acts.packs_doomed >= count
    assert engine.restore("bk-2") == image
    collect_all(engine)
    assert engine.bytes_stored() < before - 1300 * CHUNK
    assert engine.restore("bk-2") == image
    assert healthy(engine)
    assert engine.back_up(image, "bk-3").manifest.stats.bytes_sent == 0


def test_the_budget_of_copied_bytes_is_kept(engine: Engine) -> None:
    image = wasteful(engine)
    budget = 100 * (CHUNK + 20)
    limits = collection.CollectionLimits(rewrite_bytes=budget)
    reports = collect_all(engine, limits=limits)
    copied = [report.acts.bytes_copied for report in reports]
    assert max(copied) <= budget
    assert sum(copied) >= 500 * CHUNK
    assert any("budget" in step.reason for step in reports[0].packs)
    assert engine.restore("bk-2") == image
    assert healthy(engine)


def test_the_threshold_of_waste_is_kept(engine: Engine) -> None:
    wasteful(engine)
    limits = collection.CollectionLimits(waste=0.9)
    assert collect(engine, limits=limits).count(FATE.REWRITE) == (0, 0)


def test_time_that_runs_out_stops_the_work_and_the_next_run_goes_on(engine: Engine) -> None:
    image = wasteful(engine)
    report = collect(engine, maximum_duration=timedelta())
    assert report.acts.stopped
    assert report.count(FATE.REWRITE)[0] > 0
    assert report.acts.packs_doomed == report.acts.bytes_copied == 0
    collect_all(engine)
    assert engine.restore("bk-2") == image


def test_a_doomed_pack_that_is_needed_all_the_same_is_copied_and_never_revived(
    engine: Engine,
) -> None:
    engine.back_up(noise(1), "bk-1")
    doomed = engine.object_names("packs/")
    for key in doomed:
        engine.store.put("tombstones/" + key.rpartition("/")[2], b"")
    assert engine.restore("bk-1") == noise(1)
    assert set(fates(collect(engine))) == {FATE.WAIT}
    age(engine.store)
    report = collect(engine)
    assert set(fates(report)) == {FATE.RESCUE}
    assert report.acts.packs_deleted == 0
    assert report.acts.bytes_copied >= 1000 * CHUNK
    assert collect(engine).acts.packs_deleted == len(doomed)
    assert not set(doomed) & set(engine.object_names("packs/"))
    assert engine.restore("bk-1") == noise(1)
    assert healthy(engine)


def test_retention_drops_backups_and_says_why(engine: Engine) -> None:
    images = {}
    for number in range(6):
        images[f"bk-{number}"] = noise(number)
        engine.back_up(noise(number), f"bk-{number}")
        engine.clock.advance(24 * 3600)
    engine.back_up(noise(9), "other-1", uid="volume-2")
    report = collect(engine, keep=retention.KeepRules(daily=2))
    assert report.acts.forgotten == [f"bk-{number}" for number in range(4)]
    assert engine.open().backup_ids() == ["bk-4", "bk-5", "other-1"]
    newest = report.verdicts["volume-1"][0]
    assert newest.reasons == ("the newest good one", "daily 1 of 2 (2026-01-06)")
    assert report.verdicts["volume-1"][-1].reasons == ("no rule keeps it",)
    collect_all(engine)
    for backup_id in ("bk-4", "bk-5"):
        assert engine.restore(backup_id) == images[backup_id]
    assert engine.bytes_stored() < 3.5 * 1000 * (CHUNK + 120)


def test_a_backup_of_which_something_is_missing_is_not_counted(engine: Engine) -> None:
    engine.back_up(noise(1), "bk-1")
    before = set(engine.object_names("packs/"))
    engine.back_up(noise(2), "bk-2")
    lost = max(
        set(engine.object_names("packs/")) - before,
        key=lambda key: engine.store.head(key).size_bytes,  # type: ignore[union-attr]  # it is there
    )
    engine.store.delete(lost)
    report = collect(engine, keep=retention.KeepRules(last=1))
    assert report.acts.forgotten == []
    assert list(report.harmed) == ["bk-2"]
    assert "missing" in report.harmed["bk-2"]
    kept = {verdict.point.backup_id: verdict for verdict in report.verdicts["volume-1"]}
    assert not kept[backups.BackupId("bk-2")].point.good
    assert engine.restore("bk-1") == noise(1)


def test_a_dry_run_tells_the_same_and_writes_nothing(engine: Engine) -> None:
    wasteful(engine)
    engine.clock.moment = max(info.modified_at for info in engine.store.list(""))
    before = {info.key: (info.modified_at, info.version) for info in engine.store.list("")}
    keep = retention.KeepRules(last=1)
    planned = collect(engine, dry_run=True, keep=keep)
    assert {i.key: (i.modified_at, i.version) for i in engine.store.list("")} == before
    done = collect(engine, keep=keep)
    assert [(s.name, s.fate) for s in planned.packs] == [(s.name, s.fate) for s in done.packs]
    assert planned.verdicts == done.verdicts
    assert planned.acts == type(planned.acts)()


@pytest.mark.parametrize("kind", ["manifests/bk-2", "index/"])
def test_nothing_is_collected_when_nobody_knows_what_is_needed(engine: Engine, kind: str) -> None:
    engine.back_up(noise(1), "bk-1")
    engine.back_up(noise(2), "bk-2", uid="volume-2")
    engine.open().forget(backups.BackupId("bk-1"))
    before = set(engine.object_names("packs/"))
    key = engine.object_names(kind)[-1]
    data = bytearray(engine.store.get(key, limit_bytes=1 << 20))
    data[100] ^= 1
    engine.store.delete(key)
    engine.store.put(key, bytes(data))
    for _ in range(3):
        with pytest.raises(errors.DataCorrupt):
            collect(engine)
        age(engine.store)
    assert set(engine.object_names("packs/")) == before
    assert engine.object_names("tombstones/") == []


@pytest.mark.parametrize("letter", ["d", "t"])
def test_a_lost_index_segment_makes_no_garbage(engine: Engine, letter: str) -> None:
    engine.back_up(noise(1), "bk-1")
    for key in engine.object_names("index/"):
        if f"/{letter}" in key:
            engine.store.delete(key)
    with pytest.raises(errors.DataCorrupt, match="repo repair"):
        collect(engine)
    assert engine.object_names("tombstones/") == []


class LooseStore(MemoryBlobStore):
    """A store without conditional writes."""

    def conditional_writes(self) -> bool:
        return False

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        raise errors.Unsupported("no conditional writes")


def test_without_conditional_writes_it_takes_a_word(tmp_path: Path) -> None:
    engine = Engine(tmp_path, store=LooseStore())
    engine.back_up(noise(1), "bk-1")
    engine.open().forget(backups.BackupId("bk-1"))
    with pytest.raises(errors.Unsupported, match="--exclusive"):
        collect(engine)
    assert engine.object_names("tombstones/") == []
    assert collect(engine, exclusive=True).acts.packs_doomed == 9
    assert collect(engine, dry_run=True).count(FATE.WAIT)[0] == 9


def test_one_collector_at_a_time(engine: Engine) -> None:
    engine.back_up(noise(1), "bk-1")
    outcomes: list[Exception | None] = []
    real = engine.open().store.list
    busy = False

    def listing(prefix: str) -> object:
        nonlocal busy
        if prefix == layout.PACKS and not busy:
            busy = True
            try:
                collect(engine)
            except errors.Busy as error:
                outcomes.append(error)
        return real(prefix)

    engine.store.list = listing  # type: ignore[method-assign, assignment]  # spied on
    collect(engine)
    assert [str(outcome).partition(" was seen")[0] for outcome in outcomes] == [
        "another garbage collection of this repository"
    ]


def test_the_lease_of_a_killed_collector_runs_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.backup.lease.Lease.release", lambda _: None)  # as if killed
    collect(engine)
    with pytest.raises(errors.Busy, match="another garbage collection"):
        collect(engine)
    age(engine.store, timedelta(minutes=15), "lease")
    collect(engine)


def test_a_lease_that_cannot_be_given_back_hides_no_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.back_up(random.Random(1).randbytes(9 * SMALL_CHUNK), "bk-1")
    real = engine.store.replace

    def deny(key: str, data: blobstores.Buffer, *, version: str) -> str:
        if b'"released": true' in bytes(data):
            raise errors.PermissionDenied("not any more")
        return real(key, data, version=version)

    monkeypatch.setattr(engine.store, "replace", deny)
    key = engine.object_names("manifests/")[0]
    whole = engine.store.get(key, limit_bytes=1 << 30)
    engine.damage(key, lambda data: data.__setitem__(60, data[60] ^ 1))
    with pytest.raises(errors.DataCorrupt, match="nobody knows what"):
        collect(engine)
    age(engine.store, timedelta(minutes=16), "lease")
    engine.overwrite(key, whole)
    assert collect(engine).acts.problems == []  # it expires all the same


def test_a_collector_that_lost_its_lease_stops(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.back_up(noise(1), "bk-1")
    engine.open().forget(backups.BackupId("bk-1"))
    monkeypatch.setattr("mooring.backup.lease._RENEWED_EVERY_SECONDS", 0.0)
    real = engine.store.list

    def listing(prefix: str) -> object:
        if prefix == layout.MANIFESTS:
            info = engine.store.head("lease")
            assert info is not None
            engine.store.replace("lease", b'{"epoch": 9}', version=info.version)
        return real(prefix)

    engine.store.list = listing  # type: ignore[method-assign, assignment]  # spied on
    with pytest.raises(errors.Busy, match="taken over"):
        collect(engine)
    assert engine.store.get("lease", limit_bytes=100) == b'{"epoch": 9}'


def test_a_reader_that_began_before_finds_what_was_moved(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = wasteful(engine)
    real: Callable[..., bytes] = engine.store.get_range
    moved: list[bool] = []

    def reading(key: str, offset: int, length: int) -> bytes:
        if not moved and engine.folder.joinpath("restored").exists():
            moved.append(True)
            collect_all(engine)
        return real(key, offset, length)

    monkeypatch.setattr(engine.store, "get_range", reading)
    old = set(engine.object_names("packs/"))
    (engine.folder / "restored").touch()
    moved.append(True)
    moved.clear()
    assert engine.restore("bk-2") == image
    assert moved
    assert old - set(engine.object_names("packs/"))


def test_many_small_index_segments_are_joined(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_merging, "_SMALL_SEGMENTS", 11)
    image = bytearray(noise(1, 600))
    for number in range(12):
        image[number * CHUNK : (number + 1) * CHUNK] = noise(100 + number, 1)
        engine.back_up(bytes(image), f"bk-{number}")
    before = len(engine.object_names("index/"))
    report = collect(engine)
    assert report.acts.segments_removed == before == 24
    assert len(engine.object_names("index/")) == report.acts.segments_written == 2
    assert engine.restore("bk-11") == bytes(image)
    assert healthy(engine)


def test_committed_objects_are_never_written_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = wasteful(engine)
    replaced: list[str] = []
    real = engine.store.replace

    def replacing(key: str, data: bytes, *, version: str) -> str:
        replaced.append(key)
        return real(key, data, version=version)

    monkeypatch.setattr(engine.store, "replace", replacing)
    collect_all(engine)
    assert {key.partition("/")[0] for key in replaced} <= {"lease", "probes"}
    assert "lease" in replaced
    assert engine.restore("bk-2") == image
