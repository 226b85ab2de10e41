"""Restores of the command line that were killed, and beside older images, on real filesystems."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import extent_maps
from support import real_storage
from support.command_line import CommandLine
from support.real_storage import MIB

pytestmark = pytest.mark.system

SIZE = 256 * MIB


@pytest.fixture
def shell() -> Iterator[CommandLine]:
    with (
        real_storage.scratch() as scratch,
        real_storage.mounted(scratch, "xfs", 1536 * MIB) as point,
    ):
        yield CommandLine(point)


def make_image(path: Path) -> None:
    dice = random.Random(7)
    with path.open("wb") as file:
        for _ in range(SIZE // (2 * MIB)):
            file.write(dice.randbytes(MIB))
            file.seek(MIB, os.SEEK_CUR)
        file.truncate(SIZE)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def test_a_killed_restore_goes_on_where_it_was(shell: CommandLine) -> None:
    image, target = shell.folder / "image", shell.folder / "out"
    make_image(image)
    shell.json("backup", image, "--id", "bk-1")
    partial = target.with_name("out.mooring-partial")
    process = shell.start("restore", "bk-1", target)
    while allocated(partial) < 16 * MIB and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -9, "it was done before it could be killed"
    assert not target.exists()
    there = allocated(partial)
    outcome = shell.json("restore", "bk-1", target, "--verify")
    assert outcome["bytesReused"] >= there // 2  # a write of several chunks may have been cut
    assert outcome["bytesReused"] + outcome["bytesWritten"] == SIZE // 2
    assert target.read_bytes() == image.read_bytes()
    assert not partial.exists()


def test_beside_an_older_image_the_disk_holds_the_same_blocks(shell: CommandLine) -> None:
    image, old, target = (shell.folder / name for name in ("image", "old", "out"))
    make_image(image)
    old.write_bytes(image.read_bytes())
    with image.open("r+b") as file:
        file.seek(8 * MIB)
        file.write(os.urandom(MIB))
        file.seek(20 * MIB)
        file.write(bytes(2 * MIB))
    shell.json("backup", image, "--id", "bk-1")
    before = old.read_bytes()
    outcome = shell.json("restore", "bk-1", target, "--using", old, "--verify")
    assert target.read_bytes() == image.read_bytes()
    assert old.read_bytes() == before
    assert outcome["bytesWritten"] == MIB
    with old.open("rb") as one, target.open("rb") as other:
        os.fsync(one.fileno())
        with extent_maps.changed(one.fileno(), other.fileno()) as ranges:
            differing = sum(piece.length_bytes for piece in ranges)
    assert differing <= 4 * MIB


@contextmanager
def loop(image: Path) -> Iterator[Path]:
    loops = registry.kernel_host().loops
    device = loops.attach(image, sector_size_bytes=4096, read_only=False)
    try:
        yield device.path
    finally:
        loops.detach(device.path, image)


def test_a_device_is_set_back_in_place(shell: CommandLine) -> None:
    image = shell.folder / "image"
    make_image(image)
    shell.json("backup", image, "--id", "bk-1")
    content = image.read_bytes()
    with loop(image) as device:
        with device.open("r+b") as file:
            file.seek(3 * MIB)
            file.write(os.urandom(2 * MIB))
        outcome = shell.json("restore", "bk-1", device, "--using", device)
        assert outcome["bytesWritten"] == MIB  # the other was zero and is cleared
        assert device.read_bytes() == content
    larger = shell.folder / "larger"
    with larger.open("wb") as file:
        file.write(os.urandom(SIZE + 8 * MIB))
    with loop(larger) as device:
        outcome = shell.json("restore", "bk-1", device, "--using", image)
        assert outcome["bytesReused"] == SIZE // 2
        assert device.read_bytes() == content + bytes(8 * MIB)


def test_sizes_of_new_files(shell: CommandLine) -> None:
    image, target = shell.folder / "image", shell.folder / "out"
    image.write_bytes(os.urandom(MIB + 5))
    shell.json("backup", image, "--id", "bk-1")
    code, words = shell.fails("restore", "bk-1", target, "--size", "1Mi")
    assert (code, "1048581" in words, target.exists()) == (2, True, False)
    shell.json("restore", "bk-1", target, "--size", "3Mi", "--verify")
    assert target.read_bytes() == image.read_bytes() + bytes(2 * MIB - 5)
    code, words = shell.fails("restore", "bk-1", target, "--force", "--using", shell.folder / "no")
    assert (code, "there is no" in words) == (3, True)
