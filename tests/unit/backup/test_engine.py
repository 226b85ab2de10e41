"""The engine against a plain model: what was backed up is what comes back, at its price."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.backup import devices, inspection, pack_writer, progress
from mooring.backup.format import layout
from mooring.domain import backups, errors
from support.backup_engine import OTHER_KEY, SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK


def noise(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


pieces = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 9), st.integers(1, 40)), max_size=8
)


def paint(size: int, wanted: list[tuple[int, int, int]]) -> bytes:
    """An image: each piece is a place in chunks, a pattern (0 is zeros) and a length in chunks."""
    image = bytearray(size)
    for place, pattern, length in wanted:
        start = place * CHUNK
        content = bytes(length * CHUNK) if not pattern else noise(length * CHUNK, pattern)
        image[start : start + len(content)] = content[: max(0, size - start)]
    return bytes(image[:size])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(1, 3000 * CHUNK), pieces), min_size=1, max_size=4))
def test_every_backup_of_a_changing_volume_comes_back(
    tmp_path: Path, versions: list[tuple[int, list[tuple[int, int, int]]]]
) -> None:
    engine = Engine(tmp_path)
    images = {f"bk-{i}": paint(size, wanted) for i, (size, wanted) in enumerate(versions)}
    for backup_id, image in images.items():
        engine.back_up(image, backup_id)
    for backup_id, image in images.items():
        assert engine.restore(backup_id, verify=True) == image
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []


def test_zero_ranges_cost_nothing(engine: Engine) -> None:
    outcome = engine.back_up(bytes(2000 * CHUNK + 7), "bk-1")
    assert outcome.manifest.root == bytes(32)
    assert engine.object_names("packs/") == engine.object_names("index/") == []
    assert engine.restore("bk-1") == bytes(2000 * CHUNK + 7)


def test_equal_chunks_are_stored_once(engine: Engine) -> None:
    image = noise(100 * CHUNK) * 20
    outcome = engine.back_up(image, "bk-1")
    assert outcome.manifest.stats.bytes_sent == 100 * CHUNK
    assert engine.restore("bk-1") == image


def test_an_incremental_adds_what_changed(tmp_path: Path) -> None:
    engine = Engine(tmp_path, chunk_size_bytes=4096)
    image = bytearray(noise(32 << 20))
    engine.back_up(bytes(image), "bk-1")
    before = engine.bytes_stored()
    for place in range(10):
        image[place << 21 : (place << 21) + 10] = b"changed..."
    outcome = engine.back_up(bytes(image), "bk-2")
    added = engine.bytes_stored() - before
    assert outcome.manifest.stats.bytes_sent == 10 * 4096
    leaves_and_roots = 10 * 16384 + 16384
    assert added < 10 * 4096 + leaves_and_roots + 8000
    assert engine.restore("bk-2") == bytes(image)


def test_an_unchanged_volume_adds_two_small_objects(engine: Engine) -> None:
    image = noise(3000 * CHUNK)
    engine.back_up(image, "bk-1")
    before = set(engine.object_names())
    engine.back_up(image, "bk-2")
    added = set(engine.object_names()) - before
    assert sorted(key.split("/")[0] for key in added) == ["manifests", "sessions"]
    assert engine.restore("bk-2") == image


def test_a_backup_needs_no_parent_to_be_restored(engine: Engine) -> None:
    first, second = noise(50 * CHUNK), noise(25 * CHUNK) + noise(25 * CHUNK, 2)
    engine.back_up(first, "bk-1")
    engine.back_up(second, "bk-2")
    engine.open().forget(backups.BackupId("bk-1"))
    assert engine.restore("bk-2") == second
    with pytest.raises(errors.NotFound, match="bk-1"):
        engine.restore("bk-1")


def test_volumes_do_not_build_on_each_other(engine: Engine) -> None:
    image = noise(50 * CHUNK)
    engine.back_up(image, "bk-1", uid="volume-1")
    outcome = engine.back_up(image, "bk-2", uid="volume-2")
    assert outcome.manifest.parent is None
    with pytest.raises(errors.PreconditionFailed, match="another volume"):
        engine.back_up(image, "bk-3", uid="volume-2", parent="bk-1")
    with pytest.raises(errors.NotFound):
        engine.back_up(image, "bk-3", parent="bk-9")
    assert engine.object_names("manifests/") == ["manifests/bk-1", "manifests/bk-2"]


def test_the_same_backup_again_is_success_and_changes_nothing(engine: Engine) -> None:
    engine.back_up(noise(10 * CHUNK), "bk-1")
    before = engine.object_names()
    outcome = engine.back_up(noise(10 * CHUNK, 1), "bk-1")
    assert outcome.existed
    assert engine.object_names() == before
    assert engine.restore("bk-1") == noise(10 * CHUNK)
    with pytest.raises(errors.AlreadyExists, match="another volume"):
        engine.back_up(noise(10 * CHUNK), "bk-1", uid="volume-2")


def test_a_manifest_remembers_the_volume(engine: Engine) -> None:
    engine.back_up(noise(10 * CHUNK), "bk-1")
    manifest = engine.open().manifest(backups.BackupId("bk-1"))
    assert manifest.documents == {"persistentVolumeClaim": {"kind": "PersistentVolumeClaim"}}
    assert manifest.volume == backups.VolumeFacts("volume-1", 10 * CHUNK)
    assert manifest.consistency == backups.Consistency.CRASH


def test_a_wrong_key_opens_nothing(engine: Engine) -> None:
    engine.back_up(noise(CHUNK), "bk-1")
    with pytest.raises(errors.PermissionDenied, match="does not open"):
        engine.open(OTHER_KEY)


def test_no_object_holds_the_content_in_plain(engine: Engine) -> None:
    secret = b"a very secret word, " * 100
    engine.back_up(secret + noise(CHUNK), "bk-1")
    for key in engine.object_names():
        data = engine.store.get(key, limit_bytes=1 << 30)
        assert b"secret word" not in data
        assert b"volume-1" not in data


def test_a_cancelled_backup_does_not_exist(engine: Engine) -> None:
    with pytest.raises(errors.Cancelled):
        engine.back_up(noise(5000 * CHUNK), "bk-1", watch=progress.Watch(cancelled=lambda: True))
    assert engine.object_names("manifests/") == []


def test_progress_grows_to_the_whole(engine: Engine) -> None:
    seen: list[progress.Progress] = []
    image = noise(3000 * CHUNK) + bytes(1000 * CHUNK)
    engine.back_up(image, "bk-1", watch=progress.Watch(seen.append, interval_seconds=0))
    done = [now.done for now in seen]
    assert done == sorted(done)
    assert len(set(done)) > 3
    last = seen[-1]
    assert (last.done, last.percent, last.sent) == (len(image), 100.0, 3000 * CHUNK)
    assert 3000 * CHUNK < last.stored <= engine.bytes_stored()


class _FailingSource(devices.VolumeSource):
    def read_into(self, buffer: memoryview, offset: int) -> None:
        if offset > 4 << 20:
            raise errors.HostFailure("the disk is broken")
        super().read_into(buffer, offset)


def test_a_disk_that_fails_makes_no_backup(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "VolumeSource", _FailingSource)
    with pytest.raises(errors.HostFailure, match="broken"):
        engine.back_up(noise(20000 * CHUNK), "bk-1")
    assert engine.object_names("manifests/") == []


def test_a_source_that_shrank_is_noticed(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(100))
    with devices.VolumeSource(image) as source:
        os.truncate(image, 50)
        with pytest.raises(errors.HostFailure, match="shrank"):
            source.read_into(memoryview(bytearray(100)), 0)


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(errors.InvalidInput, match="empty"):
        devices.VolumeSource(tmp_path / "empty")
    with pytest.raises(errors.NotFound):
        devices.VolumeSource(tmp_path / "missing")
    with pytest.raises(errors.InvalidInput):
        devices.VolumeSource(tmp_path)
    with pytest.raises(errors.InvalidInput):
        devices.VolumeSource(Path("/dev/null"))


def test_a_restore_replaces_a_file_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    with pytest.raises(errors.AlreadyExists, match="exists"):
        devices.VolumeTarget(target, 100)
    with pytest.raises(errors.NotFound):
        devices.VolumeTarget(tmp_path / "missing" / "target", 100)
    assert target.read_bytes() == b"precious"


def test_a_failed_restore_never_looks_ready(engine: Engine, tmp_path: Path) -> None:
    engine.back_up(noise(3000 * CHUNK), "bk-1")
    engine.damage(
        engine.object_names("packs/")[0], lambda data: data.__setitem__(5000, data[5000] ^ 1)
    )
    with pytest.raises(errors.DataCorrupt):
        engine.restore("bk-1")
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


@pytest.mark.parametrize("reserved", ["repair", "collector"])
def test_ids_of_what_repairs_and_collections_write_are_no_backups(
    engine: Engine, reserved: str
) -> None:
    before = engine.object_names()
    with pytest.raises(errors.InvalidInput, match="choose another id"):
        engine.back_up(noise(CHUNK), reserved)
    assert engine.object_names() == before


def test_what_goes_wrong_while_a_backup_is_thrown_away_hides_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thrown_away: list[layout.BlobKind] = []
    real = pack_writer.PackWriter.abandon

    def abandon(self: pack_writer.PackWriter) -> None:
        real(self)
        thrown_away.append(self._kind)
        raise errors.Unreachable("the store is away")

    def cancel(_: progress.Progress) -> None:
        raise errors.Cancelled("asked for")

    monkeypatch.setattr(pack_writer.PackWriter, "abandon", abandon)
    with pytest.raises(errors.Cancelled, match="asked for"):
        engine.back_up(noise(9 * CHUNK), "bk-1", watch=progress.Watch(cancel, interval_seconds=0))
    assert thrown_away == [layout.BlobKind.DATA, layout.BlobKind.NODE]


def test_clearing_writes_only_what_is_not_zero(tmp_path: Path) -> None:
    with devices.VolumeTarget(tmp_path / "target", 5 << 20) as target:
        target.write([b"x" * 100], 3 << 20)
        target.clear(0, 5 << 20)
        target.sync()
        target.publish()
    status = (tmp_path / "target").stat()
    assert (tmp_path / "target").read_bytes() == bytes(5 << 20)
    assert status.st_blocks * 512 <= 2 << 20
