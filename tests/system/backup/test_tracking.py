"""What changed, told by real filesystems: held against a comparison of every byte."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.host import extent_maps, syscalls
from mooring.domain.extents import Range
from support import real_storage
from support.image_changes import BLOCK, blocks_of, mutate, named_blocks, require_all_named
from support.real_storage import MIB

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["xfs", "btrfs"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    with (
        real_storage.scratch() as scratch,
        real_storage.mounted(scratch, request.param, 640 * MIB) as point,
    ):
        yield point


def clone(source: Path, target: Path) -> Path:
    with source.open("rb") as original, target.open("wb") as made:
        syscalls.clone_file(original.fileno(), made.fileno())
    return target


def test_no_changed_block_is_ever_missed(folder: Path) -> None:
    dice = random.Random(5)
    image = folder / "image"
    image.write_bytes(dice.randbytes(16 * MIB))
    base, changed, named = clone(image, folder / "base-0"), 0, 0
    for step in range(1, 25):
        mutate(image, dice)
        new = clone(image, folder / f"base-{step}")
        before, after = blocks_of(base), blocks_of(new)
        with (
            base.open("rb") as one,
            new.open("rb") as other,
            extent_maps.changed(one.fileno(), other.fileno()) as ranges,
            extent_maps.allocated(other.fileno()) as allocated,
        ):
            assert ranges.trusted
            marks = named_blocks(ranges, len(after) * BLOCK)
            present = named_blocks(allocated, len(after) * BLOCK)
        for content, allocation in zip(after, present, strict=True):
            assert allocation or not content.strip(b"\0")
        changed += require_all_named(before, after, marks, f"step {step}")
        named += sum(marks)
        base.unlink()
        base = new
    assert changed > 1000
    # Zeros over zeros and reserved blocks are named too, but not much more.
    assert named < 2 * changed


def test_blocks_that_were_freed_and_used_again_are_no_trap(folder: Path) -> None:
    """The base holds its blocks, so what is written later never lies where it lies."""
    dice = random.Random(6)
    image = folder / "image"
    image.write_bytes(dice.randbytes(64 * MIB))
    base = clone(image, folder / "base")
    for _ in range(6):  # more than the filesystem has free: blocks are used again and again
        with image.open("r+b") as file:
            mode = syscalls.FALLOC_FL_PUNCH_HOLE | syscalls.FALLOC_FL_KEEP_SIZE
            syscalls.fallocate(file.fileno(), mode, 0, 64 * MIB)
            os.fsync(file.fileno())
            os.pwrite(file.fileno(), dice.randbytes(64 * MIB), 0)
            os.fsync(file.fileno())
    with (
        base.open("rb") as one,
        image.open("rb") as other,
        extent_maps.changed(one.fileno(), other.fileno()) as ranges,
    ):
        assert list(ranges) == [Range(0, 64 * MIB)]


class Shell:
    """Runs the command line as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.track = folder / "track"
        self._environment = {
            "PYTHONPATH": ":".join(str(ROOT / part) for part in ("engine", "cli")),
            "PATH": "/usr/bin:/bin",
            "MOORING_REPOSITORY": str(folder / "repo"),
            "MOORING_KEY_FILE": str(folder / "key"),
        }
        self.json("repo", "init")

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from mooring_cli import main; main.run()", *map(str, words)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *words: str | Path) -> Any:
        done = self.run(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def restored(self, backup_id: str) -> bytes:
        target = self.folder / "restored"
        target.unlink(missing_ok=True)
        assert self.json("restore", backup_id, target, "--verify")["verified"]
        return target.read_bytes()

    def clones(self) -> list[str]:
        return sorted(path.name for path in self.track.glob("*.image"))


@pytest.fixture
def shell(folder: Path) -> Shell:
    return Shell(folder)


def test_a_tracked_backup_reads_what_changed(shell: Shell) -> None:
    dice, image = random.Random(8), shell.folder / "image"
    image.write_bytes(dice.randbytes(24 * MIB))
    first = shell.json("backup", image, "--track", shell.track)
    assert first["bytesRead"] == 24 * MIB
    assert "nothing was kept" in first["notes"][0]
    clones = shell.clones()
    with image.open("r+b") as file:
        for place in range(5):
            os.pwrite(file.fileno(), dice.randbytes(BLOCK), place * 4 * MIB)
    second = shell.json("backup", image, "--track", shell.track)
    assert second["parent"] == first["backupId"]
    assert second["bytesRead"] == second["bytesSent"] == 5 * (64 << 10)
    assert len(shell.clones()) == 1
    assert shell.clones() != clones
    assert shell.restored(second["backupId"]) == image.read_bytes()
    third = shell.json("backup", image, "--track", shell.track)
    assert (third["bytesRead"], third["parent"]) == (0, second["backupId"])
    assert shell.restored(third["backupId"]) == image.read_bytes()


def test_a_chain_of_tracked_backups_restores_every_moment(shell: Shell) -> None:
    dice, image = random.Random(9), shell.folder / "image"
    image.write_bytes(dice.randbytes(8 * MIB))
    contents = {}
    for _ in range(5):
        made = shell.json("backup", image, "--track", shell.track)
        contents[made["backupId"]] = image.read_bytes()
        mutate(image, dice)
    for backup_id, content in contents.items():
        assert shell.restored(backup_id) == content


def test_a_clone_that_was_touched_or_lost_is_not_believed(shell: Shell) -> None:
    dice, image = random.Random(10), shell.folder / "image"
    image.write_bytes(dice.randbytes(4 * MIB))
    shell.json("backup", image, "--track", shell.track)
    clone_path = shell.track / shell.clones()[0]
    with clone_path.open("r+b") as file:
        file.write(b"touched")
    # Sharing blocks with a clone that somebody wrote to would hide the change.
    clone(clone_path, image)
    made = shell.json("backup", image, "--track", shell.track)
    assert made["bytesRead"] == 4 * MIB
    assert "was touched" in made["notes"][0]
    assert shell.restored(made["backupId"]) == image.read_bytes()
    (shell.track / shell.clones()[0]).unlink()
    again = shell.json("backup", image, "--track", shell.track)
    assert again["bytesRead"] == 4 * MIB


def test_what_a_killed_backup_left_goes_and_the_clone_before_stays(shell: Shell) -> None:
    dice, image = random.Random(11), shell.folder / "image"
    image.write_bytes(dice.randbytes(4 * MIB))
    first = shell.json("backup", image, "--track", shell.track)
    kept = shell.clones()[0]
    (shell.track / f"{kept.split('.')[0]}.0123456789abcdef.image").write_bytes(b"half")
    failed = shell.run("backup", image, "--track", shell.track, "--parent", "no-such-backup")
    assert failed.returncode != 0
    assert shell.clones() == [kept]
    made = shell.json("backup", image, "--track", shell.track)
    assert (made["bytesRead"], made["parent"]) == (0, first["backupId"])


def test_a_backup_that_existed_leaves_the_clone_as_it_was(shell: Shell) -> None:
    dice, image = random.Random(12), shell.folder / "image"
    image.write_bytes(dice.randbytes(2 * MIB))
    shell.json("backup", image, "--track", shell.track, "--id", "bk-1")
    kept = shell.clones()
    image.write_bytes(dice.randbytes(2 * MIB))
    assert shell.json("backup", image, "--track", shell.track, "--id", "bk-1")["existed"]
    assert shell.clones() == kept
    made = shell.json("backup", image, "--track", shell.track, "--id", "bk-2")
    assert made["bytesRead"] == 2 * MIB
    assert shell.restored("bk-2") == image.read_bytes()


def test_each_repository_has_a_clone_of_its_own(shell: Shell) -> None:
    dice, image = random.Random(13), shell.folder / "image"
    image.write_bytes(dice.randbytes(2 * MIB))
    shell.json("backup", image, "--track", shell.track)
    second = Path(shell.folder / "second")
    second.mkdir()
    elsewhere = ("--repo", str(second / "repo"), "--key-file", str(second / "key"))
    shell.json("repo", "init", *elsewhere)
    for wanted in (2 * MIB, 0):
        assert (
            shell.json("backup", image, "--track", shell.track, *elsewhere)["bytesRead"] == wanted
        )
    assert shell.json("backup", image, "--track", shell.track)["bytesRead"] == 0
    assert len(shell.clones()) == 2


def test_what_cannot_be_tracked_is_said_and_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    image = shell.folder / "image"
    image.write_bytes(b"x" * MIB)
    for words, said in (
        ((image, "--track", "/dev/shm/mooring-track-test"), "cannot share blocks"),
        ((image, "--track", image), "is a file, not a folder"),
        ((image, "--track", shell.folder / "no" / "folder"), "make it first"),
        (("/dev/null", "--track", shell.track), "neither a block device nor a file"),
        ((shell.folder / "absent", "--track", shell.track), "there is no"),
    ):
        done = shell.run("backup", *words)
        assert done.returncode != 0
        assert said in done.stderr, done.stderr
    assert not shell.track.exists()
    assert shell.json("backups") == []
    for left in Path("/dev/shm/mooring-track-test").glob("*"):
        assert left.suffix == ".lock"
        left.unlink()
    Path("/dev/shm/mooring-track-test").rmdir()
