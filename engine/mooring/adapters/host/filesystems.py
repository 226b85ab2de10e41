"""Filesystems inside block devices: what is there, making, growing.

The tools of the filesystems themselves do the work. Nothing here ever discards: a discard would
give back the blocks that a preallocated image has reserved.
"""

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from mooring.adapters.host import commands, ext4, sparse
from mooring.domain import errors, volumes

_NOTHING_FOUND = 2
_AMBIVALENT = 8
_MAKE_TIMEOUT_SECONDS = 600
_GROW_TIMEOUT_SECONDS = 600
_IDLE_TIMEOUT_SECONDS = 10.0
_IDLE_PAUSE_SECONDS = 0.05
_BTRFS_KERNEL = (6, 7)
_CHECKED_CODES = (0, 1)  # clean, or put right
_CAP_SYS_RESOURCE = 24
_BLKFLSBUF = 0x1261  # linux/fs.h
_MEMORY = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


class KernelFilesystems:
    """Filesystems of this kernel, by the Debian tools."""

    def probe(self, device: Path, image: Path) -> str | None:
        """Returns the type of what is on the device, or None if its image is surely empty.

        Raises:
            DataCorrupt: There is something that cannot be told; it must not be formatted.
        """
        outcome = commands.attempt(["blkid", "-p", "-o", "export", "--", str(device)])
        if outcome.exit_code == 0:
            found = dict(line.split("=", 1) for line in outcome.stdout.splitlines() if "=" in line)
            if "TYPE" in found:
                return found["TYPE"]
            raise errors.DataCorrupt(
                f"{device} holds unknown content ({found.get('PTTYPE', 'no filesystem')} "
                "partition table); it is left as it is"
            )
        if outcome.exit_code == _AMBIVALENT:
            raise errors.DataCorrupt(f"{device} holds signatures of several filesystems")
        if outcome.exit_code != _NOTHING_FOUND:
            raise errors.HostFailure(f"cannot probe {device}: {outcome.stderr.strip()}")
        # A filesystem whose superblock was lost may have its bytes anywhere.
        if not sparse.reads_as_zeros(image):
            raise errors.DataCorrupt(
                f"{device} holds unknown content: no filesystem is recognised, but it is not empty"
            )
        return None

    def unwritten_bytes(self) -> int:
        """Returns what all filesystems of this machine hold in memory and have yet to write."""
        found = dict(_MEMORY.findall(Path("/proc/meminfo").read_text(encoding="ascii")))
        return sum(int(found.get(name, 0)) << 10 for name in ("Dirty", "Writeback"))

    def require_carried(self, filesystem: volumes.FilesystemType) -> None:
        """Refuses a filesystem whose volumes this kernel cannot carry.

        Raises:
            Unsupported: It cannot mount such a volume's clone beside the volume.
        """
        running = kernel_version()
        if filesystem is volumes.FilesystemType.BTRFS and running < _BTRFS_KERNEL:
            raise errors.Unsupported(
                f"btrfs inside a volume needs Linux {_shown(_BTRFS_KERNEL)} or newer, and this "
                f"node runs {_shown(running)}: choose ext4 or xfs, or a node with a newer kernel"
            )

    def make(self, device: Path, filesystem: volumes.FilesystemType, *, blank: bool) -> None:
        """Makes a filesystem without discarding. The caller has recorded the intent.

        `blank` says that the whole device reads as zeros; False after an attempt that was killed.

        Raises:
            HostFailure: The tool failed.
            Unsupported: This kernel cannot carry that filesystem's clones.
        """
        self.require_carried(filesystem)
        # A zeroed device needs no zeroed inode tables: no work after the first mount.
        zeroed = ",assume_storage_prezeroed=1" if blank else ""
        argv = {
            volumes.FilesystemType.EXT4: [
                "mkfs.ext4", "-F", "-q", "-b", "4096", "-m", "0", "-E", f"nodiscard{zeroed}",
            ],
            volumes.FilesystemType.XFS: ["mkfs.xfs", "-f", "-q", "-K"],
            volumes.FilesystemType.BTRFS: ["mkfs.btrfs", "-f", "-q", "-K"],
        }[filesystem]  # fmt: skip
        with _reaching_the_disk(device):
            commands.run([*argv, str(device)], timeout_seconds=_MAKE_TIMEOUT_SECONDS)

    def grow(self, device: Path, mountpoint: Path, filesystem: volumes.FilesystemType) -> None:
        """Grows a mounted filesystem to its device; a no-op when it fills it.

        Raises:
            Unsupported: This process may not grow it while it is mounted.
        """
        if filesystem is volumes.FilesystemType.EXT4:
            if ext4.fills(device):
                return
            if not _may_use_reserved_resources():
                raise errors.Unsupported(
                    f"growing the mounted ext4 on {device} needs CAP_SYS_RESOURCE, which this node "
                    "agent lacks; it grows at its next mount. Stop all pods that use it and start "
                    "them some seconds after the last has ended: one that follows at once on this "
                    "node gets the mount that is there"
                )
        argv = {
            volumes.FilesystemType.EXT4: ["resize2fs", str(device)],
            volumes.FilesystemType.XFS: ["xfs_growfs", "-d", str(mountpoint)],
            volumes.FilesystemType.BTRFS: ["btrfs", "filesystem", "resize", "max", str(mountpoint)],
        }[filesystem]
        commands.run(argv, timeout_seconds=_GROW_TIMEOUT_SECONDS)

    def must_grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> bool:
        """Whether it is smaller than its idle device, and this process may not grow it mounted.

        A device that is busy is waited for a few seconds: an unmounted filesystem may live on for a
        moment, in a namespace that is being made for a container.
        """
        if filesystem is not volumes.FilesystemType.EXT4 or _may_use_reserved_resources():
            return False
        if ext4.fills(device):
            return False
        deadline = time.monotonic() + _IDLE_TIMEOUT_SECONDS
        while _is_busy(device):
            if time.monotonic() > deadline:
                return False
            time.sleep(_IDLE_PAUSE_SECONDS)
        return True

    def grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> None:
        """Grows an ext4 that is not mounted. Killed in the middle, it may be destroyed.

        Raises:
            DataCorrupt: It is damaged.
            Unsupported: It is no ext4.
            HostFailure: The tool failed, or overlooked that a write failed.
        """
        if filesystem is not volumes.FilesystemType.EXT4:
            raise errors.Unsupported(f"only an ext4 grows unmounted, not {filesystem.value}")
        checked = commands.attempt(
            ["e2fsck", "-f", "-p", str(device)], timeout_seconds=_GROW_TIMEOUT_SECONDS
        )
        if checked.exit_code not in _CHECKED_CODES:
            raise errors.DataCorrupt(
                f"the ext4 on {device} is damaged and cannot grow: {checked.stdout.strip()[-300:]}"
            )
        with _reaching_the_disk(device):
            commands.run(["resize2fs", str(device)], timeout_seconds=_GROW_TIMEOUT_SECONDS)
        # It does not look at the outcome of all that it writes.
        checked = commands.attempt(
            ["e2fsck", "-f", "-n", str(device)], timeout_seconds=_GROW_TIMEOUT_SECONDS
        )
        if checked.exit_code:
            raise errors.HostFailure(
                f"the ext4 on {device} was not grown soundly: {checked.stdout.strip()[-300:]}"
            )


@contextlib.contextmanager
def _reaching_the_disk(device: Path) -> Iterator[None]:
    """Fails when something that is written meanwhile does not reach the disk; empties the cache.

    The device is opened before: the kernel tells of a failed write only who has it open by then.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
        try:
            os.fsync(descriptor)
            fcntl.ioctl(descriptor, _BLKFLSBUF)
        except OSError as error:
            raise errors.HostFailure(
                f"what was written to {device} did not reach its disk: {error}"
            ) from error
    finally:
        os.close(descriptor)


def kernel_version() -> tuple[int, int]:
    """Returns major and minor version of the running kernel."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _shown(version: tuple[int, int]) -> str:
    return ".".join(str(number) for number in version)


def _is_busy(device: Path) -> bool:
    """Whether a filesystem on the device is mounted, in whatever namespace."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise errors.HostFailure(f"cannot open {device}: {error}") from error
    return False


def _may_use_reserved_resources() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which the kernel asks of who grows an ext4."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective.group(1), 16) >> _CAP_SYS_RESOURCE & 1)
