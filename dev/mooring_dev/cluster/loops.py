"""Loop devices that the cluster's nodes leave behind when their kernel namespaces are gone.

A loop device belongs to this cluster only if its backing file (device and inode) lies in the
state folder, or on a filesystem whose disk is such a loop device. Paths prove nothing, since two
clusters have equal ones.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from mooring_dev.steps import DevError, run

_LOOP_GET_STATUS64 = 0x4C05
_LOOP_CLR_FD = 0x4C01
_LOOP_MAJOR = 7


class _LoopInfo64(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_uint64),
        ("inode", ctypes.c_uint64),
        ("rest", ctypes.c_uint8 * 216),
    )


@dataclass(frozen=True)
class LoopDevice:
    """An attached loop device.

    Attributes:
        number: N of /dev/loopN.
        file_device: The device number of the filesystem that holds the backing file.
        file_inode: The backing file's inode there.
    """

    number: int
    file_device: int
    file_inode: int


def attached() -> list[LoopDevice]:
    """Returns every loop device of the machine that has a backing file."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop"):
        number = int(re.sub(r"\D", "", entry.parent.name))
        info = _LoopInfo64()
        with contextlib.suppress(OSError), Path(f"/dev/loop{number}").open("rb") as device:
            fcntl.ioctl(device, _LOOP_GET_STATUS64, info)
            # The kernel's own encoding of a device number is wider than the one of stat.
            found.append(LoopDevice(number, _stat_number(info.device), info.inode))
    return found


def _stat_number(encoded: int) -> int:
    major = (encoded & 0xFFF00) >> 8
    minor = (encoded & 0xFF) | ((encoded >> 12) & 0xFFFFFF00)
    return os.makedev(major, minor)


def owned(folder: Path) -> list[LoopDevice]:
    """Returns the attached loop devices that belong to a state folder, innermost last."""
    files = {(info.st_dev, info.st_ino) for info in _files(folder)}
    filesystems: set[int] = set()
    mine: dict[int, LoopDevice] = {}
    everything = attached()
    while True:
        new = [
            loop
            for loop in everything
            if loop.number not in mine
            and ((loop.file_device, loop.file_inode) in files or loop.file_device in filesystems)
        ]
        if not new:
            return list(mine.values())
        mine |= {loop.number: loop for loop in new}
        filesystems |= {os.makedev(_LOOP_MAJOR, loop.number) for loop in new}
        files |= _btrfs_files({loop.number for loop in new}, folder)


def _btrfs_files(numbers: set[int], folder: Path) -> set[tuple[int, int]]:
    """Returns device and inode of every file of the btrfs filesystems on these loop devices.

    btrfs invents a device number for each subvolume. Mounting the same disk again, where no one
    else sees it, gives the same filesystem and so the same numbers.
    """
    active = {path.name for path in Path("/sys/fs/btrfs").glob("*/devices/loop*")}
    found = set()
    for name in sorted(active & {f"loop{number}" for number in numbers}):
        script = 'mount -t btrfs "/dev/$1" "$2" && exec find "$2" -type f -printf "%D %i\\n"'
        alone = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
        try:
            listed = run([*alone, name, folder], timeout_seconds=30)
        except DevError:
            continue  # it is going away, and all on it with it
        for line in listed.splitlines():
            device, inode = line.split()
            found.add((int(device), int(inode)))
    return found


def _files(folder: Path) -> list[os.stat_result]:
    found = []
    # The containers' own files hold no disks, and there are very many of them.
    for parent, names, files in os.walk(folder):
        names[:] = [name for name in names if name != "io.containerd.snapshotter.v1.overlayfs"]
        for name in files:
            with contextlib.suppress(OSError):
                found.append(os.lstat(f"{parent}/{name}"))
    return found


def detach(loops: list[LoopDevice], timeout_seconds: float = 15) -> None:
    """Detaches loop devices, innermost first, and waits until they are gone.

    Raises:
        DevError: One stayed attached, because something still uses it.
    """
    end = time.monotonic() + timeout_seconds
    left = list(reversed(loops))
    while left:
        for loop in left:
            with contextlib.suppress(OSError), Path(f"/dev/loop{loop.number}").open("rb") as device:
                fcntl.ioctl(device, _LOOP_CLR_FD)
        still = set(attached())
        left = [loop for loop in left if loop in still]
        if left and time.monotonic() > end:
            raise DevError(f"/dev/loop{left[0].number} stays attached: something still uses it")
        time.sleep(0.05)
