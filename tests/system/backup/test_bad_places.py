"""The command line on full and read-only disks, and devices that are too small or in use."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import commands
from support import real_storage

pytestmark = pytest.mark.system
MIB = 1 << 20
IMAGE = os.urandom(4 * MIB)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Shell:
    """Runs `mooring` in a folder with an image and a repository on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.image = folder / "image"
        self.image.write_bytes(IMAGE)

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        options = ["--repo", self.disk / "repo", "--key-file", self.folder / "key", "-o", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "mooring_cli.main", *map(str, [*words, *options])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def must(self, *words: str | Path) -> None:
        code, _, err = self.run(*words)
        assert code == 0, err

    def backups(self) -> list[str]:
        code, out, err = self.run("backups")
        assert code == 0, err
        return [row["backupId"] for row in json.loads(out)]


@pytest.fixture
def shell() -> Iterator[Shell]:
    with real_storage.scratch() as folder:
        shell = Shell(folder)
        shell.disk.mkdir()
        commands.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(shell.disk)])
        shell.must("repo", "init")
        yield shell


@contextmanager
def loop(image: Path, size_bytes: int) -> Iterator[Path]:
    """A block device that reads as zeros."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    loops = registry.kernel_host().loops
    device = loops.attach(image, sector_size_bytes=4096, read_only=False)
    try:
        yield device.path
    finally:
        loops.detach(device.path, image)


def test_a_repository_that_fills_up_keeps_its_backups_and_a_retry_finishes(shell: Shell) -> None:
    shell.must("backup", shell.image, "--id", "bk-1")
    other = shell.folder / "other"
    other.write_bytes(os.urandom(4 * MIB))
    code, _, err = shell.run("backup", other, "--id", "bk-2")
    assert code == 7, err
    assert "No space left on device: make room there" in err
    assert "try: make room there, and the same command again" in err
    assert shell.backups() == ["bk-1"]
    shell.must("restore", "bk-1", shell.folder / "out", "--verify")
    assert (shell.folder / "out").read_bytes() == IMAGE
    commands.run(["mount", "-o", "remount,size=32m", str(shell.disk)])
    shell.must("backup", other, "--id", "bk-2")
    shell.must("repo", "check", "--full")
    assert shell.backups() == ["bk-1", "bk-2"]


def test_a_read_only_repository_is_read_and_never_written(shell: Shell) -> None:
    shell.must("backup", shell.image, "--id", "bk-1")
    commands.run(["mount", "-o", "remount,ro", str(shell.disk)])
    before = tree(shell.disk)
    for words in (
        ("backup", shell.image, "--id", "bk-2"),
        ("repo", "init", "--repo", shell.disk / "two"),
    ):
        code, _, err = shell.run(*words)
        assert code == 6, err
        assert "Read-only file system" in err
        assert "try: mooring repo info --repo REPO" in err
    shell.must("repo", "check", "--full")
    shell.must("restore", "bk-1", shell.folder / "out", "--verify")
    assert (shell.folder / "out").read_bytes() == IMAGE
    assert tree(shell.disk) == before


def test_a_target_without_room_leaves_nothing(shell: Shell) -> None:
    shell.must("backup", shell.image, "--id", "bk-1")
    target = shell.folder / "small"
    target.mkdir()
    commands.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(target)])
    (target / "out").write_bytes(b"what was there")
    code, _, err = shell.run("restore", "bk-1", target / "out", "--force")
    assert (code, "No space left on device" in err) == (7, True)
    assert tree(target) == {"out": hashlib.sha256(b"what was there").hexdigest()}


def test_a_device_that_is_too_small_or_in_use_is_left_alone(shell: Shell) -> None:
    shell.must("backup", shell.image, "--id", "bk-1")
    with loop(shell.folder / "device", 2 * MIB) as device:
        code, _, err = shell.run("restore", "bk-1", device)
        assert (code, "the backup needs 4194304" in err) == (2, True)
        assert not any((shell.folder / "device").read_bytes())
    with real_storage.mounted(shell.folder, "ext4", 64 * MIB) as point:
        (point / "precious").write_bytes(b"precious")
        (device,) = (
            mount.source for mount in registry.kernel_host().mounts.table() if mount.target == point
        )
        code, _, err = shell.run("restore", "bk-1", device)
        assert (code, "unmount it first" in err) == (5, True)
        assert (point / "precious").read_bytes() == b"precious"


def test_a_device_whose_disk_fills_up_is_no_restore(shell: Shell) -> None:
    """As a sparse volume on a full pool: the write seems to work, and only the sync tells."""
    shell.must("backup", shell.image, "--id", "bk-1")
    small = shell.folder / "small"
    small.mkdir()
    commands.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)])
    with loop(small / "device", 4 * MIB) as device:
        code, out, err = shell.run("restore", "bk-1", device)
    assert code == 9, err
    assert f"{device}: Input/output error" in err
    assert "do not use it" in err
    assert not out
