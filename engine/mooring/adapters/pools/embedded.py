"""The pool that lies in one file: `pool.img`, an XFS of its own behind a loop device.

It gives every feature to a machine where nothing was prepared. The file is fully allocated, so
the pool inside can never meet a full disk below it. It is formatted before it has its name, so
whatever lies under that name is somebody's pool, or is refused; it is never formatted.
"""

import errno
import os
from pathlib import Path

from mooring.adapters.host import files
from mooring.adapters.pools import image_folder
from mooring.domain import errors, quantities, volumes
from mooring.ports import host

IMAGE_FILE = "pool.img"
MINIMUM_SIZE_BYTES = 320 << 20
_OLD_MARKER = "pool.img.new"
"""Told older versions to format `pool.img`, whatever it was by then."""
_SECTOR_SIZE_BYTES = 4096
_HELD = (
    f"the filesystem in {IMAGE_FILE} has shut down, and volumes of it are still attached; delete "
    "the pods that use them"
)


def mount(folder: Path, size_bytes: int, mountpoint: Path, ports: host.Host) -> Path:
    """Makes, adopts or finds the embedded pool of a folder and mounts it. The caller has its lock.

    Args:
        folder: The folder that holds `pool.img`.
        size_bytes: Size of a new `pool.img`; an existing one keeps its size.
        mountpoint: Where it is mounted; made if it is missing.
        ports: The host.

    Returns:
        The root of the mounted pool.

    Raises:
        DataCorrupt: `pool.img` holds something that is not a pool; it is left as it is.
        SpaceExhausted: The folder has no room for it.
        SizeOutOfRange: The size is below the smallest XFS.
    """
    image = folder / IMAGE_FILE
    descriptor = files.open_folder(folder)
    try:
        _make_image(descriptor, image, size_bytes, ports)
    finally:
        os.close(descriptor)
    device = _attach(image, ports)
    _require_pool(image, device, ports)
    mountpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mountpoint = mountpoint.parent.resolve() / mountpoint.name
    _unmount_dead(device, mountpoint, ports)
    mountpoint.mkdir(mode=0o700, exist_ok=True)
    _mount_once(device, mountpoint, ports)
    return mountpoint


def grow(folder: Path, size_bytes: int, mountpoint: Path, ports: host.Host) -> None:
    """Grows a mounted pool to a size; one that has it, or more, is left as it is.

    Raises:
        SpaceExhausted: The folder has no room for it.
    """
    image = folder / IMAGE_FILE
    present = image.stat().st_size
    if size_bytes <= present:
        return
    with image_folder.no_space_named(f"grow {image}"), image.open("r+b") as file:
        try:
            image_folder.reserve(file.fileno(), present, size_bytes - present)
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), present)
            raise
    device = _attach(image, ports)
    ports.loops.resize(device.path)
    ports.filesystems.grow(device.path, mountpoint, volumes.FilesystemType.XFS)


def require_whole(folder: Path, ports: host.Host) -> None:
    """Refuses a pool whose `pool.img` was cut short, or is gone, below the mounted filesystem.

    Raises:
        DataCorrupt: It was cut.
        HostFailure: It cannot be looked at.
    """
    image = folder / IMAGE_FILE
    try:
        size_bytes = image.stat().st_size
        device = ports.loops.find(image)
    except OSError as error:
        raise errors.HostFailure(f"{image} cannot be looked at: {error}") from error
    if device is not None and size_bytes < device.size_bytes:
        raise errors.DataCorrupt(
            f"{image} was cut to {size_bytes} of {device.size_bytes} bytes and what lay behind is "
            "lost: bring a copy of it back, or make a new pool and restore its volumes there, and "
            "start the node's agent anew"
        )


def unmount(folder: Path, mountpoint: Path, ports: host.Host) -> None:
    """Unmounts an embedded pool and detaches its loop device; its volumes are unstaged already.

    Raises:
        InUse: A volume of it is still attached.
    """
    image = folder / IMAGE_FILE
    device = ports.loops.find(image)
    if device is None:
        return
    mountpoint = mountpoint.resolve()
    if any(_is_at(entry, device, mountpoint) for entry in ports.mounts.table()):
        ports.mounts.unmount(mountpoint)
    ports.loops.detach(device.path, image)


def _make_image(descriptor: int, image: Path, size_bytes: int, ports: host.Host) -> None:
    """Makes `pool.img` with its filesystem, whole or not at all; one that is there stays."""
    half_made = image.with_name(files.temporary_name(IMAGE_FILE))
    files.remove_durably(descriptor, _OLD_MARKER)
    _discard(descriptor, half_made, ports)
    if _is_taken(image):
        return
    if size_bytes < MINIMUM_SIZE_BYTES or size_bytes % volumes.SIZE_ALIGNMENT_BYTES:
        raise errors.SizeOutOfRange(
            f"an embedded pool needs whole MiB and at least "
            f"{quantities.format_bytes(MINIMUM_SIZE_BYTES)}, not {size_bytes} bytes"
        )
    try:
        with image_folder.no_space_named(f"make {image} of {quantities.show_bytes(size_bytes)}"):
            _reserve(descriptor, half_made.name, size_bytes)
            _format(half_made, ports)
            if not _is_taken(image):  # somebody may have put a pool there meanwhile
                files.rename_durably(descriptor, half_made.name, IMAGE_FILE)
    finally:
        _discard(descriptor, half_made, ports)


def _is_taken(image: Path) -> bool:
    return image.exists() or image.is_symlink()  # a link that leads nowhere is somebody's too


def _reserve(descriptor: int, name: str, size_bytes: int) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, 0o600, dir_fd=descriptor)
    try:
        os.ftruncate(made, size_bytes)
        image_folder.reserve(made, 0, size_bytes)
        os.fsync(made)
    finally:
        os.close(made)


def _format(half_made: Path, ports: host.Host) -> None:
    device = _attach(half_made, ports)
    ports.filesystems.make(device.path, volumes.FilesystemType.XFS, blank=True)
    # The kernel remembers the name that it was attached under.
    ports.loops.detach(device.path, half_made)


def _discard(descriptor: int, half_made: Path, ports: host.Host) -> None:
    """Removes what a broken off making left, and its device, which would keep the space."""
    for device in ports.loops.find_all(half_made):
        ports.loops.detach(device.path, half_made)
    files.remove_durably(descriptor, half_made.name)


def _attach(image: Path, ports: host.Host) -> host.LoopDevice:
    return ports.loops.attach(
        image, sector_size_bytes=_SECTOR_SIZE_BYTES, read_only=False, keeps_blocks=True
    )


def _require_pool(image: Path, device: host.LoopDevice, ports: host.Host) -> None:
    found = ports.filesystems.probe(device.path, image)
    if found != volumes.FilesystemType.XFS.value:
        raise errors.DataCorrupt(
            f"{IMAGE_FILE} holds {found or 'no filesystem'} instead of a pool's XFS; it is left as "
            "it is. Bring the pool's own file back, or, if nothing was ever in it, remove it"
        )


def _unmount_dead(device: host.LoopDevice, mountpoint: Path, ports: host.Host) -> None:
    """Takes away the mount of a filesystem that has shut down: mounting anew replays its log.

    Raises:
        InUse: Volumes of it are still attached.
    """
    mounted = any(_is_at(entry, device, mountpoint) for entry in ports.mounts.table())
    if mounted and _has_shut_down(mountpoint):
        try:
            ports.mounts.unmount(mountpoint)
        except errors.InUse as error:
            raise errors.InUse(_HELD) from error


def _mount_once(device: host.LoopDevice, mountpoint: Path, ports: host.Host) -> None:
    for entry in ports.mounts.table():
        if _is_at(entry, device, mountpoint):
            return
        if entry.target == mountpoint:
            raise errors.PreconditionFailed(
                f"{entry.source} is mounted at {mountpoint}, where the pool belongs"
            )
    ports.mounts.mount(
        device.path, mountpoint, "xfs", ("nouuid", "nosuid", "nodev", "noexec", "noatime")
    )
    if _has_shut_down(mountpoint):  # a mount in another namespace keeps the dead one alive
        ports.mounts.unmount(mountpoint)
        raise errors.InUse(_HELD)


def _has_shut_down(mountpoint: Path) -> bool:
    try:
        mountpoint.stat()
    except OSError as error:
        if error.errno == errno.EIO:
            return True
        raise
    return False


def _is_at(entry: host.Mount, device: host.LoopDevice, mountpoint: Path) -> bool:
    return entry.target == mountpoint and entry.device == device.number
