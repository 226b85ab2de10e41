"""Damaged, missing, swapped and hostile objects: a clear error, and never wrong bytes."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import inspection, progress, repository
from mooring.backup.format import layout, sealed
from mooring.domain import backups, errors
from mooring.ports import blobstores
from support.backup_engine import KEY, SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK
FIRST = random.Random(1).randbytes(1200 * CHUNK)
SECOND = FIRST[: 600 * CHUNK] + random.Random(2).randbytes(600 * CHUNK)
KINDS = ("config", "packs/", "index/", "manifests/")
NEEDED = ("config", "packs/", "manifests/")  # what the index says, packs say as well


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path)
    engine.back_up(FIRST, "bk-1")
    engine.back_up(SECOND, "bk-2")
    return engine


def outcomes(engine: Engine) -> Iterator[errors.MooringError | None]:
    """Restores both backups: yields the error, or None when the bytes are right."""
    for backup_id, image in (("bk-1", FIRST), ("bk-2", SECOND)):
        try:
            restored = engine.restore(backup_id)
        except errors.MooringError as error:
            yield error
        else:
            assert restored == image
            yield None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_anywhere_is_an_error_or_harmless(
    engine: Engine, kind: str, seed: int
) -> None:
    dice = random.Random(seed)
    key = dice.choice(engine.object_names(kind))

    def flip(data: bytearray) -> None:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)

    engine.damage(key, flip)
    for error in outcomes(engine):
        assert error is None or isinstance(
            error, errors.DataCorrupt | errors.Unsupported | errors.PermissionDenied
        )


@pytest.mark.parametrize("kind", NEEDED)
def test_a_truncated_object_is_an_error(engine: Engine, kind: str) -> None:
    for key in engine.object_names(kind):
        engine.damage(key, lambda data: data.__delitem__(slice(len(data) // 2, None)))
    assert all(isinstance(error, errors.DataCorrupt) for error in outcomes(engine))


@pytest.mark.parametrize("kind", NEEDED)
def test_a_missing_object_is_an_error(engine: Engine, kind: str) -> None:
    for key in engine.object_names(kind):
        engine.store.delete(key)
    expected = errors.NotFound if kind in ("config", "manifests/") else errors.DataCorrupt
    assert all(isinstance(error, expected) for error in outcomes(engine))


@pytest.mark.parametrize("kind", ["packs/", "manifests/"])
def test_swapped_objects_are_an_error(engine: Engine, kind: str) -> None:
    one, other = engine.object_names(kind)[:2]
    content = {key: engine.store.get(key, limit_bytes=1 << 30) for key in (one, other)}
    engine.overwrite(one, content[other])
    engine.overwrite(other, content[one])
    found = list(outcomes(engine))
    assert any(found)
    assert all(error is None or isinstance(error, errors.DataCorrupt) for error in found)


def test_objects_of_another_repository_are_an_error(engine: Engine, tmp_path: Path) -> None:
    other = Engine(tmp_path)
    other.back_up(FIRST, "bk-1")
    other.back_up(SECOND, "bk-2")
    for backup_id in ("bk-1", "bk-2"):
        key = f"manifests/{backup_id}"
        data = other.store.get(key, limit_bytes=1 << 20)
        engine.overwrite(key, data)
    assert all(isinstance(error, errors.DataCorrupt) for error in outcomes(engine))


def test_a_check_names_what_is_damaged_and_nothing_else(engine: Engine) -> None:
    reports = [
        inspection.check_repository(engine.open(), progress.Watch(), full=full)
        for full in (False, True)
    ]
    assert all(report.healthy and report.backups == 2 for report in reports)
    key = max(engine.object_names("packs/"), key=lambda key: engine.store.head(key).size_bytes)  # type: ignore[union-attr]  # it is there
    engine.damage(key, lambda data: data.__setitem__(1000, data[1000] ^ 1))
    quick = inspection.check_repository(engine.open(), progress.Watch())
    assert quick.healthy  # sizes are as they were
    full_report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert full_report.problem_count == len(full_report.problems) > 0
    for problem in full_report.problems:
        assert "at byte" in problem
        assert "volume-1" in problem
    per_backup = [
        sum(name in problem for problem in full_report.problems) for name in ("bk-1", "bk-2")
    ]
    assert max(per_backup) == 1  # one flipped bit is one damaged chunk


def test_a_quick_check_sees_missing_and_truncated_packs(engine: Engine) -> None:
    for key in engine.object_names("packs/")[:2]:
        engine.damage(key, lambda data: data.pop())
    engine.store.delete(engine.object_names("packs/")[2])
    report = inspection.check_repository(engine.open(), progress.Watch())
    assert not report.healthy
    assert all("bk-" in problem for problem in report.problems)


def test_a_damaged_manifest_hides_no_other_backup(engine: Engine) -> None:
    engine.damage("manifests/bk-1", lambda data: data.__setitem__(60, data[60] ^ 1))
    listed = dict(engine.open().catalogue())
    assert isinstance(listed[backups.BackupId("bk-1")], errors.DataCorrupt)
    assert isinstance(listed[backups.BackupId("bk-2")], backups.BackupManifest)
    outcome = engine.back_up(SECOND, "bk-3")
    assert outcome.manifest.parent == "bk-2"
    assert any("bk-1" in note for note in outcome.notes)
    report = inspection.check_repository(engine.open(), progress.Watch())
    assert report.problem_count == 1


def test_a_damaged_parent_costs_the_saving_not_the_backup(engine: Engine) -> None:
    for info in list(engine.store.list("packs/")):
        if info.size_bytes < len(SECOND) // 4:  # a pack of nodes
            engine.store.delete(info.key)
    outcome = engine.back_up(SECOND, "bk-3")
    assert outcome.manifest.stats.bytes_sent == len(SECOND)
    assert any("parent cannot be read" in note for note in outcome.notes)
    assert engine.restore("bk-3") == SECOND


def test_foreign_objects_are_no_backups(engine: Engine) -> None:
    engine.store.put("manifests/bk-1.part", b"x")
    engine.store.put("index/readme", b"x")
    engine.store.put("packs/readme", b"x")
    assert engine.open().backup_ids() == ["bk-1", "bk-2"]
    assert list(outcomes(engine)) == [None, None]


def test_a_huge_manifest_is_not_read(engine: Engine) -> None:
    engine.store.put("manifests/bk-9", bytes(layout.MAXIMUM_MANIFEST_BYTES + 1))
    with pytest.raises(errors.DataCorrupt, match="more than"):
        engine.restore("bk-9")


def test_a_repository_without_config_is_not_made_anew(engine: Engine) -> None:
    engine.store.delete("config")
    with pytest.raises(errors.DataCorrupt, match="config"):
        repository.initialise(engine.store, [KEY], engine.surroundings)


def test_a_second_init_changes_nothing(engine: Engine) -> None:
    with pytest.raises(errors.AlreadyExists):
        repository.initialise(engine.store, [KEY], engine.surroundings)
    assert list(outcomes(engine)) == [None, None]


def test_a_manifest_beyond_every_size_is_refused_quickly(engine: Engine) -> None:
    # Made with the right key: what a forger with the key, or a bug, could write.
    opened = engine.open()
    content = sealed.unseal(
        opened.keys, "manifests/bk-1", engine.store.get("manifests/bk-1", limit_bytes=1 << 20)
    )
    size = str(len(FIRST)).encode()
    forged = content.replace(b'"size":' + size, b'"size":1000000000000')
    assert forged != content
    data = sealed.seal(opened.keys, "manifests/bk-1", forged, b"s" * 32)
    engine.overwrite("manifests/bk-1", data)
    with pytest.raises(errors.DataCorrupt):
        engine.restore("bk-1")


class FullStore(MemoryBlobStore):
    """A store whose room ends after some bytes."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__()
        self.room_bytes = room_bytes

    def put(self, key: str, data: blobstores.Buffer) -> None:
        if len(data) > self.room_bytes:
            raise errors.SpaceExhausted("the store is full")
        super().put(key, data)
        self.room_bytes -= len(data)


@pytest.mark.parametrize("room_bytes", [2000, 300_000, 614_400, 640_000])
def test_a_full_store_makes_no_backup_and_a_retry_finishes(tmp_path: Path, room_bytes: int) -> None:
    store = FullStore(room_bytes)
    engine = Engine(tmp_path, store=store)
    with pytest.raises(errors.SpaceExhausted):
        engine.back_up(FIRST, "bk-1")
    assert engine.object_names("manifests/") == []
    store.room_bytes = 10 << 20
    engine.back_up(FIRST, "bk-1")
    assert engine.restore("bk-1") == FIRST
