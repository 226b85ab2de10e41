"""An index segment that is damaged or gone: the packs say themselves what is in them.

It costs time, and neither a backup nor a restore. A check tells of it and names the repair.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import blob_index, inspection, progress, repair, verify
from mooring.backup.format import layout, packs, segments
from mooring.domain import backups, errors
from mooring.domain.extents import Range
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine
from support.dying_store import DyingStore, Killed

CHUNK = SMALL_CHUNK
FIRST = random.Random(1).randbytes(1200 * CHUNK)
SECOND = FIRST[: 600 * CHUNK] + random.Random(2).randbytes(600 * CHUNK)
OTHER = random.Random(3).randbytes(700 * CHUNK)
THIRD = random.Random(4).randbytes(CHUNK) + SECOND[CHUNK:]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path)
    engine.back_up(FIRST, "bk-1")
    engine.back_up(SECOND, "bk-2")
    engine.back_up(OTHER, "bk-o", uid="volume-2")
    return engine


def flip(data: bytearray) -> None:
    data[len(data) // 2] ^= 1


def flip_format_number(data: bytearray) -> None:
    data[8] ^= 128


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


DAMAGES = (flip, flip_format_number, cut, None)


def harm(engine: Engine, key: str, damage: Callable[[bytearray], None] | None) -> None:
    if damage is None:
        engine.store.delete(key)
    else:
        engine.damage(key, damage)


def assert_all_restore(engine: Engine) -> None:
    for backup_id, image in (("bk-1", FIRST), ("bk-2", SECOND), ("bk-o", OTHER)):
        assert engine.restore(backup_id, verify=True) == image


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_segment_may_be_damaged_without_costing_a_backup_or_a_restore(
    engine: Engine, damage: Callable[[bytearray], None] | None, place: int
) -> None:
    keys = engine.object_names("index/")
    assert len(keys) == 6
    harm(engine, keys[place], damage)
    outcome = engine.back_up(THIRD, "bk-3")
    assert outcome.manifest.stats.bytes_sent == CHUNK  # what the parent has is not sent again
    assert engine.restore("bk-3") == THIRD
    assert_all_restore(engine)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_whole_index_may_be_lost(
    engine: Engine, damage: Callable[[bytearray], None] | None
) -> None:
    for key in engine.object_names("index/"):
        harm(engine, key, damage)
    outcome = engine.back_up(THIRD, "bk-3")
    assert outcome.manifest.stats.bytes_sent == CHUNK
    assert any("mooring repo repair" in note for note in outcome.notes)
    assert engine.restore("bk-3") == THIRD
    assert_all_restore(engine)


def test_swapped_segments_cost_nothing(engine: Engine) -> None:
    one, other = engine.object_names("index/")[:2]
    content = {key: engine.store.get(key, limit_bytes=1 << 30) for key in (one, other)}
    engine.overwrite(one, content[other])
    engine.overwrite(other, content[one])
    assert_all_restore(engine)


def test_a_backup_that_reads_only_changes_still_does(engine: Engine) -> None:
    for key in engine.object_names("index/"):
        engine.damage(key, flip)
    changes = backups.Changes(
        backups.BackupId("bk-2"),
        engine.open().config.repository_id,
        len(SECOND),
        [Range(0, CHUNK)],
    )
    outcome = engine.back_up(THIRD, "bk-3", changes=changes)
    assert outcome.reading is not None
    assert outcome.reading.scope is backups.Scope.CHANGED
    assert engine.restore("bk-3") == THIRD


def test_an_unrelated_segment_stops_nobody_whose_origins_are_outdated(engine: Engine) -> None:
    move_to_collector(engine, "bk-1")
    (unrelated,) = (key for key in engine.object_names("index/bk-o.") if "/d" in key)
    engine.damage(unrelated, flip)
    asked = footers_read(engine)
    assert engine.restore("bk-1") == FIRST
    assert not asked  # what is in a readable segment needs no pack's word


def move_to_collector(engine: Engine, backup_id: str) -> None:
    """Does to segments what a collector that joins them does."""
    opened = engine.open()
    for number, key in enumerate(engine.object_names(f"index/{backup_id}.")):
        content = opened.get_sealed(key, layout.MAXIMUM_SEGMENT_BYTES)
        kind = layout.BlobKind.DATA if "/d" in key else layout.BlobKind.NODE
        moved = layout.segment_key(backups.SessionId("collector." + "ab" * 8), kind, number)
        opened.put_sealed(moved, content)
        engine.store.delete(key)


def footers_read(engine: Engine) -> list[str]:
    """Returns a list that fills with the packs whose ends are read."""
    asked: list[str] = []
    get_range = engine.store.get_range

    def counting(key: str, offset: int, length: int) -> bytes:
        if key.startswith(layout.PACKS) and not offset and length == packs.HEADER_BYTES:
            asked.append(key)
        return get_range(key, offset, length)

    engine.store.get_range = counting  # type: ignore[method-assign]
    return asked


def test_only_packs_that_no_readable_segment_names_are_asked(engine: Engine) -> None:
    (harmed,) = (key for key in engine.object_names("index/bk-2.") if "/t" in key)
    engine.damage(harmed, flip)
    asked = footers_read(engine)
    assert engine.restore("bk-2") == SECOND
    assert len(asked) == 1


def test_marks_of_collectors_are_as_strict_as_ever(engine: Engine) -> None:
    key = engine.object_names("index/")[0]
    engine.damage(key, flip)
    kind = layout.BlobKind.DATA if "/d" in key else layout.BlobKind.NODE
    with pytest.raises(errors.DataCorrupt, match="index/"):
        blob_index.BlobIndex(engine.open(), kind).load_all()


def test_what_is_in_no_pack_either_is_an_error_that_names_the_repair(engine: Engine) -> None:
    for key in engine.object_names("index/bk-2."):
        engine.damage(key, flip)
    for key in engine.object_names("packs/"):
        engine.store.delete(key)
    with pytest.raises(errors.DataCorrupt, match=r"no index segment.*mooring repo repair"):
        engine.restore("bk-2")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_check_tells_and_names_the_repair_and_the_repair_mends(
    engine: Engine, damage: Callable[[bytearray], None] | None
) -> None:
    for key in engine.object_names("index/bk-1."):
        harm(engine, key, damage)
    for report in (
        inspection.check_repository(engine.open(), progress.Watch()),
        verify.check_backup(engine.open(), backups.BackupId("bk-1"), progress.Watch()),
    ):
        assert not report.healthy
        assert any("mooring repo repair" in problem for problem in report.problems)
        assert not any("at byte" in problem for problem in report.problems)
    mended = repair.repair(engine.open(), repair.RepairRequest(), progress.Watch())
    assert mended.damaged == {}
    assert inspection.check_repository(engine.open(), progress.Watch()).healthy


def test_a_retry_goes_on_past_a_damaged_segment_of_what_was_broken_off(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    engine = Engine(tmp_path, store=store)
    dying = DyingStore(store, 3)
    engine.store = dying  # type: ignore[assignment]
    with pytest.raises(Killed):
        engine.back_up(FIRST, "bk-1")
    engine.store = store
    (segment,) = engine.object_names("index/")
    engine.damage(segment, flip)
    engine.back_up(FIRST, "bk-1")
    assert engine.restore("bk-1") == FIRST


class Disturbing(MemoryBlobStore):
    """A store in which a collector is at work while a backup is made."""

    disturbed: tuple[str, ...] = ()

    def put(self, key: str, data: blobstores.Buffer) -> None:
        super().put(key, data)
        if key.startswith(self.disturbed):
            super().put(f"tombstones/{'ab' * 16}", b"of something else")
            self.disturbed = ()


@pytest.mark.parametrize("moment", ["sessions/", "manifests/"])
def test_damage_elsewhere_and_a_collector_cost_no_backup(tmp_path: Path, moment: str) -> None:
    store = Disturbing()
    engine = Engine(tmp_path, store=store)
    engine.back_up(OTHER, "bk-o", uid="volume-2")
    for key in engine.object_names("index/"):
        engine.damage(key, flip)
    store.disturbed = (moment,)
    engine.back_up(FIRST, "bk-1")
    assert engine.object_names("tombstones/")
    assert engine.restore("bk-1") == FIRST


def test_a_backup_is_not_withdrawn_because_its_index_is_damaged(engine: Engine) -> None:
    manifest = engine.open().manifest(backups.BackupId("bk-1"))
    engine.open().close_session(manifest.session)
    segment = engine.object_names("index/bk-1.")[0]
    engine.damage(segment, flip)
    assert engine.back_up(FIRST, "bk-1").existed  # the packs say that all is there
    assert engine.restore("bk-1") == FIRST
    engine.damage(max(engine.object_names("packs/"), key=lambda key: size(engine, key)), cut)
    with pytest.raises(errors.DataCorrupt, match="mooring repo repair"):
        engine.back_up(FIRST, "bk-1")
    assert "manifests/bk-1" in engine.object_names("manifests/")


def size(engine: Engine, key: str) -> int:
    info = engine.store.head(key)
    assert info is not None
    return info.size_bytes


@pytest.mark.parametrize("without", ["closing", "session"])
@pytest.mark.parametrize("damage", [flip, cut, None])
def test_a_retry_withdraws_no_backup_that_can_be_restored(
    engine: Engine, damage: Callable[[bytearray], None] | None, without: str
) -> None:
    manifest = engine.open().manifest(backups.BackupId("bk-1"))
    if without == "session":
        engine.store.delete(f"sessions/{manifest.session}")
    else:
        engine.open().close_session(manifest.session)
    harm(engine, next(key for key in engine.object_names("index/bk-1.") if "/d" in key), damage)
    assert engine.back_up(FIRST, "bk-1").existed
    assert engine.restore("bk-1") == FIRST


def test_a_retry_withdraws_nothing_when_packs_and_session_are_out_of_sight(engine: Engine) -> None:
    away = {
        key: engine.store.get(key, limit_bytes=1 << 30)
        for prefix in ("packs/", "sessions/")
        for key in engine.object_names(prefix)
    }
    for key in away:
        engine.store.delete(key)
    with pytest.raises(errors.DataCorrupt, match="put back what is missing"):
        engine.back_up(FIRST, "bk-1")
    for key, data in away.items():
        engine.store.put(key, data)
    assert engine.back_up(FIRST, "bk-1").existed
    assert_all_restore(engine)


def test_a_segment_that_cannot_be_right_hides_none_of_its_packs(engine: Engine) -> None:
    """It opens, and names a pack that is not in its list: what it says of others counts neither."""
    opened = engine.open()
    key = next(key for key in engine.object_names("index/bk-o.") if "/d" in key)
    content = bytearray(opened.get_sealed(key, layout.MAXIMUM_SEGMENT_BYTES))
    place = len(content) - segments.ENTRY.size + layout.ID_BYTES
    content[place : place + 4] = (99).to_bytes(4, "little")
    engine.store.delete(key)
    opened.put_sealed(key, bytes(content))
    assert_all_restore(engine)
    request = repair.RepairRequest(drop_damaged=True)
    assert repair.repair(engine.open(), request, progress.Watch()).damaged == {}
    assert inspection.check_repository(engine.open(), progress.Watch(), full=True).problems == []
    assert_all_restore(engine)


def test_a_restore_says_that_a_repair_is_due(engine: Engine) -> None:
    for key in engine.object_names("index/bk-1."):
        engine.damage(key, flip)
    outcome = engine.restore_to(engine.folder / "restored", "bk-1")
    assert any("mooring repo repair" in note for note in outcome.notes)
    assert engine.restore_to(engine.folder / "restored", "bk-o").notes == ()
