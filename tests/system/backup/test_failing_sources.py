"""Disks that cannot read: a backup fails and names the byte, or keeps what the one before has."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.domain import volumes
from mooring.domain.extents import Range
from mooring.planning import change_lists
from support import bit_rot, real_storage
from support.command_line import CommandLine
from support.mover_process import MoverFolder
from support.real_storage import MIB

pytestmark = pytest.mark.system

SIZE = 64 * MIB
HALF = SIZE // 2
FAILED = 9
CHUNK = 64 << 10


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


@pytest.fixture
def device(backing: Path) -> Iterator[Path]:
    loops = registry.kernel_host().loops
    attached = loops.attach(backing, sector_size_bytes=4096, read_only=False)
    try:
        yield attached.path
    finally:
        loops.detach(attached.path, backing)


def lose(backing: Path, size: int) -> None:
    """Takes from a disk what is below its second part; its device keeps its size."""
    os.truncate(backing, size)


def sizes(device: Path) -> int:
    return int(
        subprocess.run(
            ["blockdev", "--getsize64", str(device)], check=True, capture_output=True, text=True
        ).stdout
    )


def test_the_command_line_names_the_byte_and_makes_no_backup(
    tmp_path: Path, device: Path, backing: Path
) -> None:
    shell = CommandLine(tmp_path)
    lose(backing, HALF)
    assert sizes(device) == SIZE
    for words in (("--id", "bk-1"), ("--id", "bk-1", "--parent", "none"), ()):
        code, said = shell.fails("backup", device, *words)
        assert code == FAILED
        assert f"cannot read byte {HALF} of {device}: Input/output error" in said
        assert "try: dmesg" in said
    assert shell.json("backups") == []
    assert not (tmp_path / "repo" / "manifests").exists()


def test_the_backup_before_stays_and_a_mended_disk_is_backed_up(
    tmp_path: Path, device: Path, backing: Path
) -> None:
    shell = CommandLine(tmp_path)
    content = backing.read_bytes()
    shell.json("backup", device, "--id", "bk-1")
    lose(backing, HALF)
    assert shell.fails("backup", device, "--id", "bk-2")[0] == FAILED
    shell.json("restore", "bk-1", tmp_path / "out", "--verify")
    assert (tmp_path / "out").read_bytes() == content
    backing.write_bytes(content)
    made = shell.json("backup", device, "--id", "bk-2")
    assert (made["parent"], made["bytesSent"]) == ("bk-1", 0)


class Movers:
    """A mover beside a device, told what changed in it."""

    def __init__(self, folder: Path, device: Path) -> None:
        self.folder = MoverFolder(folder)
        self._device = str(device)
        probed = self.folder.run("probe", repository={"initialize": True})
        self._base = volumes.BackupBase(probed["repositoryId"], "bk-1")
        self._changes = folder / "changes"
        self.volume = {"uid": "volume-1", "filesystem": None}
        self.folder.run("backup", device=self._device, backupId="bk-1", volume=self.volume)

    def attempt(
        self, *changed: Range, scrub_period_seconds: int = 0
    ) -> tuple[int, dict[str, object]]:
        head = change_lists.Head(SIZE, self._base, SIZE)
        self._changes.write_bytes(b"".join(change_lists.encode(head, changed)))
        return self.folder.attempt(
            "backup",
            device=self._device,
            backupId="bk-2",
            volume=self.volume,
            changes=str(self._changes),
            scrubPeriodSeconds=scrub_period_seconds,
        )

    def backups(self) -> list[str]:
        return sorted(path.name for path in (self.folder.repository / "manifests").iterdir())


def test_a_mover_says_so(tmp_path: Path, device: Path, backing: Path) -> None:
    movers = Movers(tmp_path, device)
    lose(backing, HALF)
    code, said = movers.folder.attempt(
        "backup", device=str(device), backupId="bk-2", volume=movers.volume
    )
    assert (code, said["reason"]) == (FAILED, "HostFailure")
    assert f"byte {HALF} " in said["message"]
    assert movers.backups() == ["bk-1"]


def test_a_mover_that_reads_only_changes_says_so_when_they_cannot_be_read(
    tmp_path: Path, device: Path, backing: Path
) -> None:
    movers = Movers(tmp_path, device)
    lose(backing, HALF)
    bad = HALF + 5 * CHUNK
    code, said = movers.attempt(Range(0, CHUNK), Range(bad, CHUNK))
    assert (code, said["reason"]) == (FAILED, "HostFailure")
    assert f"byte {bad} " in str(said["message"])
    assert movers.backups() == ["bk-1"]


def test_what_nobody_wrote_to_and_cannot_be_read_is_kept_and_said(
    tmp_path: Path, device: Path, backing: Path
) -> None:
    content = bytearray(backing.read_bytes())
    movers = Movers(tmp_path, device)
    with device.open("r+b") as file:
        file.write(b"changed")
        os.fsync(file.fileno())
    content[:7] = b"changed"
    lose(backing, HALF)
    code, said = movers.attempt(Range(0, 4096), scrub_period_seconds=1)
    assert code == 0, said
    suspect = said["suspect"]
    assert isinstance(suspect, dict)
    assert suspect["places"][0]["offsetBytes"] == HALF
    assert suspect["places"][0]["good"] == "bk-1"
    (tmp_path / "out").touch()
    movers.folder.run("restore", device=str(tmp_path / "out"), backupId="bk-2", verify=True)
    assert (tmp_path / "out").read_bytes() == content


@pytest.fixture
def filesystem(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An XFS whose journal is at its beginning, before all files; and the disk below it."""
    with real_storage.scratch() as scratch:
        disk, point = scratch / "disk", scratch / "xfs"
        with disk.open("wb") as file:
            file.truncate(640 * MIB)
        loops, mounts = registry.kernel_host().loops, registry.kernel_host().mounts
        attached = loops.attach(disk, sector_size_bytes=4096, read_only=False)
        command = ["mkfs.xfs", "-q", "-l", "agnum=0", str(attached.path)]
        subprocess.run(command, check=True)
        point.mkdir()
        mounts.mount(attached.path, point, "xfs")
        try:
            yield point, disk
        finally:
            os.truncate(disk, 640 * MIB)
            real_storage.unmount(point)
            loops.detach(attached.path, disk)


def test_a_tracked_file_whose_change_cannot_be_read(
    tmp_path: Path, filesystem: tuple[Path, Path]
) -> None:
    point, disk = filesystem
    shell, image, track = CommandLine(tmp_path), point / "image", point / "track"
    image.write_bytes(random.Random(2).randbytes(24 * MIB))
    shell.json("backup", image, "--track", track, "--id", "bk-1")
    before = image.read_bytes()
    clones = sorted(track.glob("*.image"))
    changed = 9 * MIB
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), random.Random(3).randbytes(4 * CHUNK), changed)
        os.fsync(file.fileno())
    with image.open("rb") as file:
        place = bit_rot.place_on_disk(file.fileno(), changed + CHUNK)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    lose(disk, place)
    code, said = shell.fails("backup", image, "--track", track, "--id", "bk-2")
    assert code == FAILED, said
    assert f"cannot read byte {changed + CHUNK} of {track}/" in said
    assert sorted(track.glob("*.image")) == clones, "the next one still tracks"
    assert [one["backupId"] for one in shell.json("backups")] == ["bk-1"]
    shell.json("restore", "bk-1", tmp_path / "out", "--verify")
    assert (tmp_path / "out").read_bytes() == before
    os.truncate(disk, 640 * MIB)
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), random.Random(4).randbytes(4 * CHUNK), changed)
        os.fsync(file.fileno())
    made = shell.json("backup", image, "--track", track, "--id", "bk-2")
    assert made["bytesRead"] <= 5 * CHUNK
