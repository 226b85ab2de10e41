"""A restore to a block device that does not reach its end: nobody takes the device for ready."""

import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mooring.backup import devices
from support.command_line import CommandLine

pytestmark = pytest.mark.system

SIZE = 320 << 20  # XFS wants 300 MiB
NOTHING_FOUND = 2
SECTOR = 512
# The process ends itself before its n-th write or sync: from its begin on, or from where the
# content is complete and gets its ends.
KILLS = """
import atexit, os, signal
from mooring.backup import devices
left = int(os.environ.get("TEST_KILL_AT", "-1"))
counting = os.environ.get("TEST_KILL_FROM") != "publish"
def counted(call):
    def counting_call(*arguments):
        global left
        if counting:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return call(*arguments)
    return counting_call
for name in ("pwrite", "pwritev", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
publish = devices.VolumeTarget.publish
def published(self):
    global counting
    counting = True
    publish(self)
devices.VolumeTarget.publish = published
"""


def formatted(path: Path, kind: str) -> None:
    with path.open("wb") as file:
        file.truncate(SIZE)
    if kind == "gpt":
        partition(path)
        return
    force = "-F" if kind == "ext4" else "-f"
    run(f"mkfs.{kind}", "-q", force, path)
    folder = path.with_suffix(".mounted")
    folder.mkdir()
    run("mount", "-o", "loop", path, folder)
    try:
        for number in range(6):
            (folder / f"file-{number}").write_bytes(os.urandom(4 << 20))
    finally:
        run("umount", folder)


def partition(path: Path) -> None:
    """Writes a partition table, at both ends as it is usual, with one partition."""
    last = SIZE // SECTOR - 1
    kind, own = os.urandom(16), os.urandom(16)
    entry = struct.pack("<16s16sQQQ72s", kind, own, 2048, last - 34, 0, b"")
    entries = entry.ljust(128 * 128, b"\0")
    disk = os.urandom(16)

    def header(here: int, there: int, table: int) -> bytes:
        def packed(checksum: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII",
                *(b"EFI PART", 0x10000, 92, checksum, 0, here, there, 34, last - 34),
                *(disk, table, 128, 128, zlib.crc32(entries)),
            )

        return packed(zlib.crc32(packed(0)))

    protective = struct.pack("<446sB3sB3sII", b"", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    with path.open("r+b") as file:
        file.write(protective.ljust(510, b"\0") + b"\x55\xaa")
        file.write(header(1, last, 2))
        file.seek(2 * SECTOR)
        file.write(entries)
        file.seek(2048 * SECTOR)
        file.write(os.urandom(16 << 20))
        file.seek((last - 32) * SECTOR)
        file.write(entries + header(last, 1, last - 32))


def run(*words: str | Path) -> str:
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def found_on(device: Path) -> str:
    """What blkid, and so udev, mount and installers, take a device for."""
    command = ["blkid", "-p", "-o", "export", str(device)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (0, NOTHING_FOUND), done.stderr
    return done.stdout


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", "-s", str(one), str(other)], check=False).returncode == 0


class Attempts:
    """Restores of one image onto one device, each killed at another moment."""

    def __init__(self, shell: CommandLine, image: Path, device: Path) -> None:
        self._shell = shell
        self._image = image
        self.device = device

    def is_killed(self, at: int, begin: str = "begin") -> bool:
        """Restores; whoever looks at a device of a restore that was killed finds nothing."""
        environment = {"TEST_KILL_AT": str(at), "TEST_KILL_FROM": begin}
        shell = self._shell.with_environment(environment)
        with shell.start("restore", "bk-1", self.device) as process:
            _, said = process.communicate(timeout=240)
        assert process.returncode in (-9, 0), said
        if process.returncode == 0 or (begin == "publish" and same(self._image, self.device)):
            return process.returncode != 0
        assert found_on(self.device) == ""
        for kind in ("ext4", "xfs", "btrfs"):
            command = ["mount", "-t", kind, "-o", "ro", str(self.device), str(self._shell.folder)]
            assert subprocess.run(command, check=False, capture_output=True).returncode != 0
        return True


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str, str], Attempts]]:
    attached: list[str] = []

    def attempts(kind: str, before: str) -> Attempts:
        image, backing = tmp_path / "image", tmp_path / "backing"
        formatted(image, kind)
        formatted(backing, before)
        shell = CommandLine(tmp_path, before=KILLS)
        shell.json("backup", image, "--id", "bk-1")
        attached.append(run("losetup", "--find", "--show", backing).strip())
        assert f"TYPE={before}" in found_on(Path(attached[0]))
        return Attempts(shell, image, Path(attached[0]))

    try:
        yield attempts
    finally:
        for device in attached:
            run("losetup", "--detach", device)


@pytest.mark.parametrize(
    ("kind", "before"),
    [("ext4", "xfs"), ("xfs", "btrfs"), ("btrfs", "gpt"), ("gpt", "ext4"), ("ext4", "gpt")],
)
def test_a_killed_restore_leaves_nothing_that_looks_ready(
    make: Callable[[str, str], Attempts], tmp_path: Path, kind: str, before: str
) -> None:
    attempts = make(kind, before)
    for at in (1, 2, 3, 4, 7, 15, 29):
        assert attempts.is_killed(at)
    kills = 0
    while attempts.is_killed(kills, "publish"):
        kills += 1
    assert kills >= 4
    assert same(tmp_path / "image", attempts.device)
    assert f"TYPE={kind}" in found_on(attempts.device)


def test_a_restore_that_is_killed_before_it_writes_changes_nothing(
    make: Callable[[str, str], Attempts], tmp_path: Path
) -> None:
    attempts = make("ext4", "xfs")
    kept = tmp_path / "kept"
    shutil.copyfile(attempts.device, kept)
    shell = CommandLine(tmp_path, before=KILLS).with_environment({"TEST_KILL_AT": "0"})
    with shell.start("restore", "bk-1", attempts.device) as process:
        process.communicate(timeout=240)
    assert process.returncode == -9
    assert same(kept, attempts.device)


def test_a_restore_that_fails_leaves_nothing_that_looks_ready(
    make: Callable[[str, str], Attempts], tmp_path: Path
) -> None:
    attempts = make("xfs", "ext4")
    pack = max((tmp_path / "repo" / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    pack.write_bytes(data)
    code, said = CommandLine(tmp_path).fails("restore", "bk-1", attempts.device)
    assert (code, "damaged" in said) == (8, True)
    assert found_on(attempts.device) == ""


def test_the_same_device_is_restored_again_from_what_it_holds(
    make: Callable[[str, str], Attempts], tmp_path: Path
) -> None:
    attempts = make("ext4", "xfs")
    shell = CommandLine(tmp_path)
    shell.json("restore", "bk-1", attempts.device, "--verify")
    again = shell.json("restore", "bk-1", attempts.device, "--using", attempts.device, "--verify")
    assert again["bytesRead"] == 0  # also the ends were there
    assert again["verified"]
    assert same(tmp_path / "image", attempts.device)


def test_what_only_the_cache_of_a_device_has_is_not_taken_for_restored(tmp_path: Path) -> None:
    path, place = tmp_path / "disk", 16 << 20
    path.write_bytes(b"d" * 2 * place)
    device = Path(run("losetup", "--find", "--show", "--direct-io=on", path).strip())
    found = bytearray(4096)
    try:
        with device.open("rb") as held:  # as long as somebody has it open its cache lives
            held.seek(place)
            assert held.read(4096) == b"d" * 4096
            with path.open("r+b") as disk:  # so the disk has not what a write through it left
                disk.seek(place)
                disk.write(b"e" * 4096)
                os.fsync(disk.fileno())
            for reuse, seen in ((devices.Reuse.NOTHING, b"d"), (devices.Reuse.BEGINNING, b"e")):
                with devices.VolumeTarget(device, 2 * place, reuse=reuse) as target:
                    target.read_into(memoryview(found), place)
                assert found == seen * 4096
    finally:
        run("losetup", "--detach", device)
