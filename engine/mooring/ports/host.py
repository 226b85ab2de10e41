"""Ports of the host: loop devices, mounts and filesystems. Only `adapters.host` implements them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mooring.domain import volumes
from mooring.ports import transfers


@dataclass(frozen=True)
class FileIdentity:
    """Device and inode number of a backing file; what a loop device is matched by."""

    device: int
    inode: int


@dataclass(frozen=True)
class LoopDevice:
    """An attached loop device as the kernel reports it.

    Attributes:
        path: For example /dev/loop7.
        number: `major:minor`, as the mount table shows it.
        backing: Identity of the backing file.
        sector_size_bytes: Logical sector size.
        direct_io: Whether the kernel bypasses the page cache below it.
        read_only: Whether writes are refused.
        size_bytes: Size of the block device.
        lost_image: The image's file name, where the filesystem that holds it answers nothing any
            more; `backing` is then unknown. Empty otherwise.
    """

    path: Path
    number: str
    backing: FileIdentity
    sector_size_bytes: int
    direct_io: bool
    read_only: bool
    size_bytes: int
    lost_image: str = ""


class LoopDevices(Protocol):
    """Loop devices over image files, matched by device and inode, never by path."""

    def attach(
        self, image: Path, *, sector_size_bytes: int, read_only: bool, keeps_blocks: bool = False
    ) -> LoopDevice:
        """Attaches an image, or returns the device that already carries it.

        With `keeps_blocks` the device takes no discards, so that its image keeps what is reserved.

        Raises:
            HostFailure: The kernel refused, or gave another sector size than asked for.
        """

    def find(self, image: Path) -> LoopDevice | None:
        """Returns the writable device that carries this image, or None."""

    def find_all(self, image: Path) -> Sequence[LoopDevice]:
        """Returns every device that carries this image, also read-only ones and others' own."""

    def attached(self) -> Sequence[LoopDevice]:
        """Returns every attached device of this kernel, from one scan; also other nodes' ones."""

    def on_top_of(self, device: Path) -> Sequence[LoopDevice]:
        """Returns the devices that have this device itself as their backing file."""

    def flush(self, device: Path) -> None:
        """Writes back what the device's own cache holds, so that its image is complete."""

    def permit(self, device: Path, group_id: int) -> None:
        """Lets one group read and write the device node, until it is attached or detached next."""

    def resize(self, device: Path) -> None:
        """Makes the device follow its grown image; a no-op otherwise."""

    def detach(self, device: Path, image: Path) -> None:
        """Detaches a device that carries `image`; one that carries something else is left alone.

        Raises:
            InUse: Something still holds it open.
        """


@dataclass(frozen=True)
class Mount:
    """One line of the mount table.

    Attributes:
        target: Where.
        root: Path within the source filesystem that is mounted (`/` unless a bind mount).
        device: `major:minor` of the filesystem.
        filesystem: Its type.
        options: Per-mount options.
        source: What the kernel shows as source.
        super_options: Options of the filesystem itself; `ro` here means that it refuses writes.
    """

    target: Path
    root: str
    device: str
    filesystem: str
    options: tuple[str, ...]
    source: str
    super_options: tuple[str, ...] = ()


class Mounts(Protocol):
    """The mount table of this process's namespace."""

    def table(self) -> Sequence[Mount]:
        """Returns the mount table, in mount order."""

    def mount(
        self, source: Path, target: Path, filesystem: str, options: Sequence[str] = ()
    ) -> None:
        """Mounts a filesystem; the caller has checked the table.

        Raises:
            HostFailure: The kernel refused.
        """

    def bind(self, source: Path, target: Path, options: Sequence[str] = ()) -> None:
        """Bind-mounts a file or folder with added options (`ro`), which hold from the first moment.

        Raises:
            HostFailure: The kernel refused.
        """

    def unmount(self, target: Path) -> None:
        """Unmounts, and reads back that it is gone; not mounted is no error.

        Raises:
            InUse: It is busy.
        """


class Filesystems(Protocol):
    """Filesystems inside block devices."""

    def probe(self, device: Path, image: Path) -> str | None:
        """Returns the type of what is on the device, or None if its image is surely empty.

        Raises:
            DataCorrupt: There is something that cannot be told; it must not be formatted.
        """

    def require_carried(self, filesystem: volumes.FilesystemType) -> None:
        """Refuses a filesystem whose volumes this kernel cannot carry.

        Raises:
            Unsupported: It cannot mount such a volume's clone beside the volume.
        """

    def make(self, device: Path, filesystem: volumes.FilesystemType, *, blank: bool) -> None:
        """Makes a filesystem without discarding. The caller has recorded the intent.

        `blank` says that the whole device reads as zeros; False after an attempt that was killed.

        Raises:
            HostFailure: The tool failed.
            Unsupported: This kernel cannot carry that filesystem's clones.
        """

    def grow(self, device: Path, mountpoint: Path, filesystem: volumes.FilesystemType) -> None:
        """Grows a mounted filesystem to its device; a no-op when it fills it.

        Raises:
            Unsupported: This process may not grow it while it is mounted.
        """

    def must_grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> bool:
        """Whether it is smaller than its idle device, and this process may not grow it mounted.

        A busy device is waited for a few seconds; one that stays busy is not idle.
        """

    def unwritten_bytes(self) -> int:
        """Returns what all filesystems of this machine hold in memory and have yet to write."""

    def grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> None:
        """Grows a filesystem that is not mounted. Killed in the middle, it may be destroyed.

        Raises:
            DataCorrupt: It is damaged.
            Unsupported: This filesystem grows only when it is mounted.
            HostFailure: The tool failed.
        """


class Freeze(Protocol):
    """A freeze that this process holds."""

    def extend(self, timeout_seconds: float) -> None:
        """Lets it end no sooner than this long from now, a minute at most.

        Call it again well before, for as long as the reason for the freeze is there.

        Raises:
            InvalidInput: The timeout is not above 0 or more than a minute.
            HostFailure: It has ended; what was done inside is not consistent.
        """


class Freezes(Protocol):
    """Freezing of mounted filesystems, which nobody but the guard does."""

    def frozen(
        self, mountpoint: Path, *, timeout_seconds: float, writers_first: bool = True
    ) -> AbstractContextManager["Freeze"]:
        """Freezes a mounted filesystem for the time of a `with` block.

        The guard, a process of its own, thaws it after `timeout_seconds`, and when this process
        dies. No freeze is granted for more than a minute at once: who needs more stays there and
        extends it, so that no freeze outlives the one who has a reason for it.

        What writers have written is brought to the device before, while they go on, so that they
        wait for less; without `writers_first` they are stopped first, and then it is.

        Raises:
            InvalidInput: The timeout is not above 0 or more than a minute.
            HostFailure: It could not be frozen, or the guard had to thaw it before the block
                ended (raised at the end of the block: what was done inside is not consistent).
        """

    def is_frozen(self, mountpoint: Path) -> bool:
        """Whether a mounted filesystem is frozen now, by whomever.

        The kernel tells this only to who freezes, so a filesystem that is not is written back and
        frozen for a moment: ask only before what a frozen filesystem would break.
        """

    def thaw(self, mountpoint: Path) -> None:
        """Thaws a filesystem that an earlier process may have left frozen; otherwise a no-op."""


@dataclass(frozen=True)
class FilesystemUsage:
    """Use of a mounted filesystem, in bytes and inodes."""

    total_bytes: int
    used_bytes: int
    available_bytes: int
    total_inodes: int
    used_inodes: int
    available_inodes: int


class TargetPaths(Protocol):
    """Mount points that somebody else names: made, looked at and removed, never entered."""

    def resolve(self, path: str) -> Path:
        """Returns the real path that the mount table will show; the last part is not followed.

        Raises:
            InvalidInput: It is not absolute, has a `..` or strange characters, or ends in a
                symbolic link.
        """

    def make_folder(self, path: Path) -> None:
        """Makes a folder to mount on, with missing parents; an existing, empty one is kept.

        Raises:
            PreconditionFailed: Something is there that a mount would hide.
        """

    def make_file(self, path: Path) -> None:
        """Makes an empty file to bind a device on; an existing, empty one is kept.

        Raises:
            PreconditionFailed: Something is there that a mount would hide.
        """

    def remove(self, path: Path) -> None:
        """Removes an empty folder or file that was mounted on; an absent one is no error.

        Raises:
            PreconditionFailed: It holds something; it is left as it is.
        """

    def block_device(self, path: Path) -> str | None:
        """Returns `major:minor` of a block device node at a path; None if it is none or absent."""

    def identity(self, path: Path) -> FileIdentity | None:
        """Returns device and inode of a file, as loop devices name their backing; None if absent.

        The last part of the path is not followed.
        """

    def unchanged_seconds(self, folder: Path) -> float:
        """Returns how long nothing was made or removed in a folder; 0 if that is not known."""

    def usage(self, path: Path) -> FilesystemUsage:
        """Returns the use of the filesystem that a path lies in."""


@dataclass(frozen=True)
class Host:
    """The ports of one host together."""

    loops: LoopDevices
    mounts: Mounts
    filesystems: Filesystems
    freezes: Freezes
    paths: TargetPaths
    contents: transfers.ImageContents
