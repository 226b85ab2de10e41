"""Tools that do not look whether their writes reach the disk are looked at."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import commands
from mooring.domain import errors, volumes
from support import real_storage

MIB = 1 << 20
SUPERBLOCK_CHECKSUM = 1024 + 0x3FC
EXT4 = volumes.FilesystemType.EXT4

pytestmark = pytest.mark.system


@pytest.fixture
def full_disk(scratch: Path) -> Iterator[Path]:
    """A filesystem on which a sparse file of 512 MiB lies, and no room is left for its blocks."""
    with real_storage.mounted(scratch, "xfs", 512 * MIB) as point:
        with (point / "image").open("wb") as file:
            file.truncate(2048 * MIB)
        yield point


def _fill(point: Path) -> None:
    with (point / "filler").open("wb") as file:
        for size in (MIB, 4096):
            while True:
                try:
                    os.write(file.fileno(), bytes(size))
                except OSError:
                    break
        os.fsync(file.fileno())


def test_a_filesystem_that_was_made_on_a_full_disk_is_no_success(full_disk: Path) -> None:
    ports = registry.kernel_host()
    device = ports.loops.attach(full_disk / "image", sector_size_bytes=4096, read_only=False)
    try:
        _fill(full_disk)
        with pytest.raises(errors.HostFailure, match=r"mkfs|did not reach"):
            ports.filesystems.make(device.path, EXT4, blank=True)
    finally:
        ports.loops.detach(device.path, full_disk / "image")


@contextlib.contextmanager
def _to_be_grown(image: Path, size_bytes: int) -> Iterator[Path]:
    """A device with an ext4 of 64 MiB, which has become larger than that."""
    ports = registry.kernel_host()
    with image.open("w+b") as file:
        file.truncate(64 * MIB)
        device = ports.loops.attach(image, sector_size_bytes=4096, read_only=False)
        try:
            ports.filesystems.make(device.path, EXT4, blank=True)
            file.truncate(size_bytes)
            ports.loops.resize(device.path)
            yield device.path
        finally:
            ports.loops.detach(device.path, image)


def test_a_filesystem_that_was_grown_on_a_full_disk_is_no_success(full_disk: Path) -> None:
    with _to_be_grown(full_disk / "image", 2048 * MIB) as device:
        _fill(full_disk)
        with pytest.raises(errors.HostFailure, match=r"resize2fs|did not reach|soundly"):
            registry.kernel_host().filesystems.grow_unmounted(device, EXT4)


def test_a_filesystem_that_was_not_grown_soundly_is_no_success(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands.run

    def unsound(argv: Sequence[str], *, timeout_seconds: float) -> str:
        said = run(argv, timeout_seconds=timeout_seconds)
        if argv[0] == "resize2fs":
            with Path(argv[1]).open("r+b") as device:
                device.seek(SUPERBLOCK_CHECKSUM)
                device.write(b"\0\0")
        return said

    with _to_be_grown(scratch / "image", 128 * MIB) as device:
        monkeypatch.setattr(commands, "run", unsound)
        with pytest.raises(errors.HostFailure, match="not grown soundly"):
            registry.kernel_host().filesystems.grow_unmounted(device, EXT4)
