"""Restores that need not fetch everything: after a stop, and beside an older image."""

import os
import random
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import devices, partial_files, progress, tree_walk
from mooring.backup import restore as restores
from mooring.backup.format import packs
from mooring.domain import backups, errors
from support.backup_engine import SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK
SIZE = 12_000 * CHUNK
IMAGE = random.Random(1).randbytes(9_000 * CHUNK) + bytes(2_000 * CHUNK) + b"x" * (1_000 * CHUNK)


class StoppingStore(MemoryBlobStore):
    """Gives so many ranges of packs with data, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1 << 30
        self.failure: Exception = errors.Unreachable("the store is gone")

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if key.startswith("packs/") and length > (400 << 10):  # nodes are read in small pieces
            self.left -= 1
            if self.left < 0:
                raise self.failure
        return super().get_range(key, offset, length)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path, store=StoppingStore())
    engine.back_up(IMAGE, "bk-1")
    return engine


def store_of(engine: Engine) -> StoppingStore:
    assert isinstance(engine.store, StoppingStore)
    return engine.store


def restore(
    engine: Engine, target: Path, *, using: Path | None = None, backup_id: str = "bk-1"
) -> restores.RestoreOutcome:
    with ExitStack() as stack:
        nearby = None if using is None else stack.enter_context(devices.VolumeSource(using))

        def opened(manifest: backups.BackupManifest) -> devices.VolumeTarget:
            size_bytes = manifest.volume.size_bytes
            return devices.VolumeTarget(target, size_bytes, replace=True, model=nearby)

        found = backups.BackupId(backup_id)
        return restores.restore(engine.open(), found, opened, progress.Watch(), nearby=nearby)


def partial(target: Path) -> Path:
    return target.with_name(target.name + partial_files.SUFFIX)


def test_a_restore_whose_store_went_away_goes_on(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "out"
    store_of(engine).left = 1
    with pytest.raises(errors.Unreachable):
        restore(engine, target)
    assert not target.exists()
    assert partial(target).stat().st_size == SIZE
    store_of(engine).left = 1 << 30
    outcome = restore(engine, target)
    assert target.read_bytes() == IMAGE
    assert not partial(target).exists()
    assert outcome.bytes_reused > 1 << 20
    assert outcome.bytes_reused + outcome.bytes_written == 10_000 * CHUNK


def test_a_restore_that_can_never_end_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    store_of(engine).left = 1
    store_of(engine).failure = errors.DataCorrupt("damaged")
    with pytest.raises(errors.DataCorrupt):
        restore(engine, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old,
        lambda old: bytes(len(old)),
        lambda old: old[: SIZE // 3],
        lambda old: old + b"longer",
        lambda old: bytes(CHUNK) + old[:-CHUNK],
        lambda old: bytes(value ^ 1 for value in old),
        lambda old: b"",
    ],
    ids=["same", "zeros", "shorter", "longer", "moved", "each-byte-flipped", "empty"],
)
def test_whatever_lies_there_the_restore_is_right(
    engine: Engine, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    target = tmp_path / "out"
    partial(target).write_bytes(change(IMAGE))
    restore(engine, target)
    assert target.read_bytes() == IMAGE
    old = tmp_path / "old"
    old.write_bytes(change(IMAGE) or b"x")
    restore(engine, target, using=old)
    assert target.read_bytes() == IMAGE


def test_beside_an_older_image_only_what_differs_is_fetched(engine: Engine, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(IMAGE)
    image = bytearray(IMAGE)
    image[5 * CHUNK] ^= 1
    image[10_500 * CHUNK] = 1  # was zero
    image[11_000 * CHUNK : 11_001 * CHUNK] = bytes(CHUNK)  # is zero now
    engine.back_up(bytes(image), "bk-2")
    outcome = restore(engine, tmp_path / "out", using=old, backup_id="bk-2")
    assert (tmp_path / "out").read_bytes() == image
    assert outcome.bytes_reused == (9_000 - 1 + 1_000 - 1) * CHUNK
    assert outcome.bytes_read <= 4 * CHUNK
    assert old.read_bytes() == IMAGE


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mixture_of_old_and_other_bytes_ends_right(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32))
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = Engine(folder)
        image = bytearray(dice.randbytes(60 * CHUNK) + b"end")
        for _ in range(dice.randrange(5)):
            start = dice.randrange(60)
            image[start * CHUNK : (start + 3) * CHUNK] = bytes(3 * CHUNK)
        engine.back_up(bytes(image), "bk-1")
        left, old = bytearray(image), bytearray(image)
        for lies in (left, old):
            for _ in range(dice.randrange(20)):
                start = dice.randrange(len(lies))
                lies[start : start + 700] = dice.choice([bytes(700), dice.randbytes(700)])
        partial(folder / "out").write_bytes(left[: dice.randrange(len(left) + 1)])
        (folder / "old").write_bytes(old[: dice.randrange(1, len(old) + 1)])
        restore(engine, folder / "out", using=folder / "old")
        assert (folder / "out").read_bytes() == image


def test_two_restores_never_fill_one_file(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with devices.VolumeTarget(target, SIZE) as first:
        first.write([b"first"], 0)
        with pytest.raises(errors.InUse, match="another restore"):
            restore(engine, target)
    restore(engine, target)
    assert target.read_bytes() == IMAGE


def test_a_file_that_got_its_name_meanwhile_is_not_filled_again(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with devices.VolumeTarget(target, 1000) as first:
        first.write([b"first"], 0)
        first.publish()
    with devices.VolumeTarget(target, 1000, replace=True) as second:
        second.write([b"other"], 0)
        second.abandon(keep=False)
    assert target.read_bytes()[:5] == b"first"


def test_what_somebody_else_put_there_is_not_used(engine: Engine, tmp_path: Path) -> None:
    target, precious = tmp_path / "out", tmp_path / "precious"
    precious.write_bytes(b"precious")
    partial(target).symlink_to(precious)
    with pytest.raises(errors.InvalidInput, match="remove it"):
        restore(engine, target)
    partial(target).unlink()
    os.link(precious, partial(target))
    with pytest.raises(errors.InvalidInput, match="remove it"):
        restore(engine, target)
    partial(target).unlink()
    partial(target).mkdir()
    with pytest.raises(errors.MooringError):
        restore(engine, target)
    assert precious.read_bytes() == b"precious"
    assert not target.exists()


def test_old_images_that_cannot_be_read_are_left_aside(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.write_bytes(IMAGE)

    def broken(*_: object) -> None:
        raise errors.HostFailure("Input/output error")

    monkeypatch.setattr(devices.VolumeSource, "read_into", broken)
    outcome = restore(engine, tmp_path / "out", using=old)
    assert (tmp_path / "out").read_bytes() == IMAGE
    assert outcome.bytes_reused == 0


@pytest.mark.parametrize(("begun", "looked"), [(3, 7), (0, 4), (8, 8)])
def test_a_new_volume_is_not_searched_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int, looked: int
) -> None:
    """A restore that begins anew on a device looks at its beginning, and goes on while it pays."""
    window = 512 * CHUNK
    monkeypatch.setattr(tree_walk, "_WINDOW_BYTES", window)
    engine = Engine(tmp_path)
    image = random.Random(3).randbytes(8 * window)
    engine.back_up(image, "bk-1")
    device = tmp_path / "device"
    device.write_bytes(image[: begun * window] + bytes((8 - begun) * window))
    monkeypatch.setattr(devices, "_is_block_device", lambda _: True)
    looks = []
    read_into = devices.VolumeTarget.read_into

    def read(target: devices.VolumeTarget, buffer: memoryview, offset: int) -> None:
        looks.append(offset // window)
        read_into(target, buffer, offset)

    monkeypatch.setattr(devices.VolumeTarget, "read_into", read)
    outcome = restores.restore(
        engine.open(),
        backups.BackupId("bk-1"),
        lambda manifest: devices.VolumeTarget(
            device, manifest.volume.size_bytes, reuse=devices.Reuse.BEGINNING
        ),
        progress.Watch(),
    )
    assert device.read_bytes() == image
    assert set(looks) == set(range(looked))
    assert outcome.bytes_reused == begun * window


class FarStore(MemoryBlobStore):
    """Answers a read of a pack when eight are waiting, or after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.waiting = 0
        self.changed = threading.Condition()

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self.changed:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= 8, 0.3)
            self.waiting -= 1
        return super().get_range(key, offset, length)


def test_eight_reads_are_under_way_also_on_one_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.backup.chunk_hashing.worker_count", lambda: 1)
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    engine = Engine(tmp_path, store=FarStore())
    content = os.urandom(2048 * SMALL_CHUNK)
    engine.back_up(content, "bk-1")
    assert engine.restore("bk-1") == content
    assert isinstance(engine.store, FarStore)
    assert engine.store.most == 8
