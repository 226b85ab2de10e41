"""Any one object damaged: the check names what it touches, and the repair saves what is left."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.backup import blob_index, inspection, progress, repair, verify
from mooring.backup.format import chunks, layout, packs
from mooring.domain import errors
from mooring.planning import retention
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all

CHUNK = SMALL_CHUNK
FIRST = random.Random(1).randbytes(1200 * CHUNK)
SECOND = FIRST[: 1000 * CHUNK] + random.Random(2).randbytes(200 * CHUNK)
IMAGES = {"bk-1": FIRST, "bk-2": SECOND}
KINDS = ("packs/", "index/", "manifests/", "sessions/")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(packs, "TARGET_BYTES", 128 << 10)
    engine = Engine(tmp_path)
    for backup_id, image in IMAGES.items():
        engine.back_up(image, backup_id)
    return engine


def overwrite(engine: Engine, key: str, data: bytes) -> None:
    engine.store.delete(key)
    engine.store.put(key, data)


def content(engine: Engine, key: str) -> bytes:
    return engine.store.get(key, limit_bytes=1 << 30)


def flip(engine: Engine, key: str, dice: random.Random) -> None:
    data = bytearray(content(engine, key))
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    overwrite(engine, key, bytes(data))


def truncate(engine: Engine, key: str, dice: random.Random) -> None:
    data = content(engine, key)
    overwrite(engine, key, data[: dice.randrange(len(data))])


def delete(engine: Engine, key: str, _: random.Random) -> None:
    engine.store.delete(key)


def rename(engine: Engine, key: str, dice: random.Random) -> None:
    data = content(engine, key)
    engine.store.delete(key)
    if key.startswith("packs/"):
        engine.store.put(layout.pack_key(dice.randbytes(16)), data)
    elif key.startswith("index/"):
        engine.store.put(key[:-1] + "9", data)
    else:
        engine.store.put(key + "0", data)


def swap(engine: Engine, key: str, _: random.Random) -> None:
    """With the object of its kind in another repository."""
    other = Engine(engine.folder)
    other.back_up(FIRST, "bk-1")
    kind = key.partition("/")[0] + "/"
    overwrite(engine, key, content(other, other.object_names(kind)[0]))


def check(engine: Engine) -> verify.CheckReport:
    return inspection.check_repository(engine.open(), progress.Watch(), full=True)


def mend(engine: Engine, **fields: bool) -> repair.RepairReport:
    request = repair.RepairRequest(full=True, **fields)
    return repair.repair(engine.open(), request, progress.Watch())


def restorable(engine: Engine) -> set[str]:
    """Which backups come back; what does not is an error, and never other bytes."""
    found = set()
    for backup_id, image in IMAGES.items():
        try:
            restored = engine.restore(backup_id)
        except (errors.DataCorrupt, errors.NotFound, errors.Unsupported):
            continue
        assert restored == image
        found.add(backup_id)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "harm", [flip, truncate, delete, rename, swap], ids=lambda one: one.__name__
)
def test_any_one_object_damaged_is_named_and_made_the_most_of(
    engine: Engine, kind: str, harm: Callable[[Engine, str, random.Random], None]
) -> None:
    dice = random.Random(f"{kind} {harm.__name__}")
    key = dice.choice(engine.object_names(kind))
    harm(engine, key, dice)
    whole = restorable(engine)
    named = check(engine)
    lost = set(engine.open().backup_ids()) - whole
    assert named.healthy is not bool(lost) or kind == "index/"
    for backup_id in lost & IMAGES.keys():
        assert any(f"backup {backup_id}" in problem for problem in named.problems)
    report = mend(engine)
    assert whole <= restorable(engine)
    still = restorable(engine)
    if kind == "index/":
        assert still == set(IMAGES)  # the packs tell everything that an index does
    assert set(report.damaged) == set(engine.open().backup_ids()) - still
    for backup_id in set(report.damaged) & IMAGES.keys():
        assert kind == "manifests/" or "volume-1 at 2026-01-01T00:00:0" in report.damaged[backup_id]
    assert mend(engine).damaged.keys() == report.damaged.keys()  # a second time changes nothing
    engine.back_up(SECOND, "bk-3")
    assert engine.restore("bk-3") == SECOND
    still = restorable(engine)  # more than before: what was lost and sent again is there again
    mend(engine, drop_damaged=True)
    assert set(engine.open().backup_ids()) == still | {"bk-3"}
    assert check(engine).problems == []
    collect_all(engine, keep=retention.KeepRules(last=9))
    for backup_id in still:
        assert engine.restore(backup_id) == IMAGES[backup_id]
    assert engine.restore("bk-3") == SECOND
    assert check(engine).problems == []


def damaged_pack(engine: Engine, chunk: int) -> str:
    """Flips a bit of a chunk that both backups need, and returns its pack's key."""
    opened = engine.open()
    index = blob_index.BlobIndex(opened, layout.BlobKind.DATA)
    id_key = opened.keys.id_key(layout.BlobKind.DATA)
    found = index.find(chunks.chunk_id(id_key, FIRST[chunk * CHUNK : (chunk + 1) * CHUNK]))
    assert found is not None
    key = layout.pack_key(index.pack(found.pack).name)
    data = bytearray(content(engine, key))
    data[found.offset + 5] ^= 1
    overwrite(engine, key, bytes(data))
    return key


def test_one_flipped_bit_costs_one_chunk_which_the_next_backup_sends_again(
    engine: Engine,
) -> None:
    key = damaged_pack(engine, 7)
    named = check(engine)
    touched = [backup_id for backup_id in IMAGES if any(backup_id in p for p in named.problems)]
    assert touched == list(IMAGES)
    assert named.problem_count == len(named.problems) == 2
    for problem in named.problems:
        assert "2026-01-01T00:00:0" in problem
        assert "volume-1" in problem
        assert "is damaged at byte " in problem
        assert key in problem
    report = mend(engine)
    assert (report.packs_given_up, report.chunks_lost) == (1, len(touched))
    assert report.chunks_saved > 100
    assert set(report.damaged) == set(touched)
    assert engine.object_names("damaged/") == [f"damaged/{backup_id}" for backup_id in touched]
    outcome = engine.back_up(SECOND, "bk-3")
    assert outcome.manifest.parent is None
    assert any("is lost" in note for note in outcome.notes)
    assert outcome.manifest.stats.chunks_sent == 1
    assert outcome.manifest.chunk_size_bytes == CHUNK
    assert engine.restore("bk-3") == SECOND
    healed = mend(engine)
    assert healed.damaged == {}  # the volume had it still
    assert engine.object_names("damaged/") == []
    assert check(engine).problems == []
    assert restorable(engine) == set(IMAGES)


def test_a_retry_of_a_marked_backup_is_no_success(engine: Engine) -> None:
    damaged_pack(engine, 7)
    mend(engine)
    with pytest.raises(errors.DataCorrupt, match="something of it is lost"):
        engine.back_up(SECOND, "bk-2")
    assert "manifests/bk-2" in engine.object_names("manifests/")  # what is left can be of use
    engine.back_up(SECOND, "bk-3")
    assert engine.back_up(SECOND, "bk-2").existed  # all of it is there again, marked or not
    assert engine.restore("bk-2") == SECOND


def test_a_second_repair_rebuilds_what_came_after_the_first(engine: Engine) -> None:
    damaged_pack(engine, 7)
    mend(engine)
    image = random.Random(9).randbytes(300 * CHUNK)
    engine.back_up(image, "bk-3", uid="volume-2")
    lost = engine.object_names("index/bk-3.")
    assert lost
    for key in lost:
        engine.store.delete(key)
    assert any("backup bk-3" in problem for problem in check(engine).problems)
    report = mend(engine)
    assert report.packs_indexed > 0
    assert "bk-3" not in report.damaged
    assert engine.restore("bk-3") == image


def test_a_segment_that_claims_a_newer_format_is_damaged_like_any_other(engine: Engine) -> None:
    """A bit of its number flipped; what a newer Mooring wrote would not open as of this format."""
    for key in engine.object_names("index/"):
        engine.damage(key, lambda data: data.__setitem__(8, 3))
    report = mend(engine)
    assert report.damaged == {}
    assert report.packs_indexed == len(engine.object_names("packs/"))
    assert restorable(engine) == set(IMAGES)


def test_a_quick_check_reads_no_data(engine: Engine) -> None:
    damaged_pack(engine, 7)
    report = inspection.check_repository(engine.open(), progress.Watch())
    assert report.healthy
    assert report.bytes_read == 0


def test_after_as_many_days_as_there_are_shares_everything_was_read(engine: Engine) -> None:
    damaged_pack(engine, 7)
    reports = [
        inspection.check_repository(
            engine.open(), progress.Watch(), share=inspection.Share(5, part)
        )
        for part in range(5)
    ]
    whole = check(engine)
    assert sum(report.bytes_read for report in reports) == whole.bytes_read > 1000 * CHUNK
    assert sum(not report.healthy for report in reports) == 1
    days = [
        inspection.Share.of_the_day(5, engine.clock.now()).part
        for _ in range(5)
        if not engine.clock.advance(24 * 3600)  # type: ignore[func-returns-value]  # always
    ]
    assert sorted(days) == list(range(5))


def test_a_full_check_reads_what_backups_share_once(engine: Engine) -> None:
    report = check(engine)
    assert report.healthy
    assert report.chunks == 1400
    assert report.bytes_read < 1.2 * 1400 * CHUNK


def test_damage_that_is_known_does_not_stop_collections(engine: Engine) -> None:
    for key in engine.object_names("index/"):
        if "/bk-1" in key and "/t" in key:
            engine.store.delete(key)
    nodes = [
        key
        for key in engine.object_names("packs/")
        if engine.store.head(key).size_bytes < 60_000  # type: ignore[union-attr]  # it is there
    ]
    engine.store.delete(nodes[0])
    with pytest.raises(errors.DataCorrupt, match="repo repair"):
        collect(engine)
    damaged = mend(engine).damaged
    assert damaged
    report = collect(engine, keep=retention.KeepRules(last=1))
    assert not {verdict for verdict in report.verdicts["volume-1"] if not verdict.keep} & {
        verdict for verdict in report.verdicts["volume-1"] if verdict.point.backup_id in damaged
    }
    age(engine.store)
    collect(engine)


def test_a_backup_under_way_survives_a_repair(engine: Engine) -> None:
    reports: list[repair.RepairReport] = []

    def meanwhile(_: progress.Progress) -> None:
        if not reports:
            reports.append(mend(engine))

    image = random.Random(3).randbytes(5000 * CHUNK)
    watch = progress.Watch(meanwhile, interval_seconds=0)
    engine.back_up(image, "bk-3", uid="volume-2", watch=watch)
    assert reports[0].damaged == {}
    assert engine.restore("bk-3") == image
    assert check(engine).problems == []


@pytest.mark.parametrize("numbers", [(0, 0), (5, 5), (5, -1), (10_001, 0)])
def test_a_share_that_cannot_be_is_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(errors.InvalidInput, match="share"):
        inspection.Share(*numbers)
