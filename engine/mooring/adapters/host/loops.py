"""Loop devices through the kernel's own interface, matched by device and inode of their image.

Paths are never compared: another mount namespace sees other paths, and a deleted file keeps its
loop. The sector size is always set, because the kernel's own choice differs between an image and
its clone, and is read back, because a wrong one makes the filesystem inside unreadable.

Where the filesystem that holds an image has shut down, the kernel tells no inode, of the device nor
of the file. There alone the file's name decides, so that the device can be let go.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mooring.domain import errors
from mooring.ports import host

_CLEAR = 0x4C01
_SET_STATUS = 0x4C04
_GET_STATUS = 0x4C05
_SET_CAPACITY = 0x4C07
_CONFIGURE = 0x4C0A
_REMOVE = 0x4C81
_GET_FREE = 0x4C82
_READ_ONLY = 1
_AUTOCLEAR = 4
_DIRECT_IO = 16
_LOOP_MAJOR = 7
_TAKEN = (errno.EBUSY, errno.ENOENT, errno.ENXIO, errno.ENODEV)
_ATTEMPTS = 100
_DETACH_TIMEOUT_SECONDS = 3.0
_PRIVATE_MODE = 0o600
_NOBODY = host.FileIdentity(0, 0)

# struct loop_info64: device, inode, rdevice, offset, sizelimit; number, encrypt type, key size,
# flags; file name, crypt name, key; init[2]
_INFO = struct.Struct("=QQQQQ IIII 64s 64s 32s QQ")
_CONFIG = struct.Struct(f"=II {_INFO.size}s 64x")
_FLAGS_OFFSET = struct.calcsize("=QQQQQ III")


class KernelLoops:
    """Loop devices of this kernel.

    Args:
        devices: Where device nodes are; one that is missing there is made.
        sysfs: Where the kernel shows block devices.
    """

    def __init__(self, devices: Path = Path("/dev"), sysfs: Path = Path("/sys/block")) -> None:
        self._devices = devices
        self._sysfs = sysfs

    def attach(
        self, image: Path, *, sector_size_bytes: int, read_only: bool, keeps_blocks: bool = False
    ) -> host.LoopDevice:
        """Attaches an image, or returns the device that already carries it; see the port.

        Raises:
            HostFailure: The kernel refused, or gave another sector size than asked for.
        """
        device = self._attach(image, sector_size_bytes, read_only=read_only)
        if keeps_blocks:
            # A discard, as of `fstrim`, punches holes into the image.
            with _failure(f"cannot keep {device.path} from discarding"):
                self._queue(device.path, "discard_max_bytes").write_text("0")
        return device

    def _attach(self, image: Path, sector_size_bytes: int, *, read_only: bool) -> host.LoopDevice:
        for present in self.find_all(image):
            if present.read_only == read_only:
                self._keep(present.path)
                return self._checked(present, image, sector_size_bytes)
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_NOFOLLOW | os.O_CLOEXEC
        with _failure(f"cannot attach {image.name}"):
            descriptor = os.open(image, flags)
            try:
                path = self._configure(descriptor, sector_size_bytes, read_only=read_only)
            finally:
                os.close(descriptor)
        device = self._look(path)
        if device is None:
            raise errors.HostFailure(f"{path} lost its image {image.name} while it was attached")
        return self._checked(device, image, sector_size_bytes)

    def lend(self, image: Path, *, sector_size_bytes: int) -> tuple[Path, int]:
        """Attaches an image for as long as anybody has the device open, and opens it.

        Returns:
            The device, and a descriptor of it that the caller closes.

        Raises:
            HostFailure: The kernel refused.
        """
        held: list[int] = []
        with _failure(f"cannot attach {image.name}"), _opened(image, os.O_RDWR) as descriptor:
            path = self._configure(descriptor, sector_size_bytes, read_only=False, held=held)
        return path, held.pop()

    def find(self, image: Path) -> host.LoopDevice | None:
        """Returns the writable device that carries this image, or None."""
        return next((found for found in self.find_all(image) if not found.read_only), None)

    def find_all(self, image: Path) -> Sequence[host.LoopDevice]:
        """Returns every device that carries this image, also read-only ones and others' own."""
        try:
            wanted = _identity(image)
        except FileNotFoundError:
            return ()
        return tuple(found for found in self.attached() if _carries(found, image, wanted))

    def attached(self) -> Sequence[host.LoopDevice]:
        """Returns every attached device of this kernel, from one scan; also other nodes' ones."""
        names = sorted(
            entry.name
            for entry in self._sysfs.iterdir()
            if entry.name.startswith("loop") and (entry / "loop").is_dir()
        )
        found = (self._look(self._devices / name) for name in names)
        return tuple(device for device in found if device is not None)

    def on_top_of(self, device: Path) -> Sequence[host.LoopDevice]:
        """Returns the devices that have this device itself as their backing file."""
        number = device.stat().st_rdev
        found = []
        for other in self.attached():
            status = _asked(other.path)
            if status is not None and status[2] == number:
                found.append(other)
        return tuple(found)

    def flush(self, device: Path) -> None:
        """Writes back what the device's own cache holds, so that its image is complete."""
        with _failure(f"cannot flush {device}"), _opened(device, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)

    def permit(self, device: Path, group_id: int) -> None:
        """Lets one group read and write the device node, until it is attached or detached next."""
        with _failure(f"cannot hand {device} to group {group_id}"):
            os.chown(device, 0, group_id)
            device.chmod(0o660)

    def resize(self, device: Path) -> None:
        """Makes the device follow its grown image; a no-op otherwise."""
        with _failure(f"cannot resize {device}"), _opened(device, os.O_RDONLY) as descriptor:
            fcntl.ioctl(descriptor, _SET_CAPACITY, 0)

    def detach(self, device: Path, image: Path) -> None:
        """Detaches a device that carries `image`; one that carries something else is left alone.

        Raises:
            InUse: Something still holds it open.
        """
        wanted = _identity(image)
        # An unmounted filesystem may live on for a moment, in a namespace that is being made.
        deadline = time.monotonic() + _DETACH_TIMEOUT_SECONDS
        cleared = False
        spent = self._takes_no_discards(device)
        pause_seconds = 0.001
        while (present := self._look(device)) is not None and _carries(present, image, wanted):
            cleared = cleared or self._clear(device, wanted)
            if time.monotonic() > deadline:
                raise errors.InUse(f"{device} is still in use{self._held_by(device)}")
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, 0.1)
        if spent:
            self._remove(device)

    def _queue(self, device: Path, name: str) -> Path:
        return self._sysfs / device.name / "queue" / name

    def _takes_no_discards(self, device: Path) -> bool:
        """Whether discards were turned off on an attached device; the kernel never undoes that."""
        try:
            limits = [
                int(self._queue(device, name).read_text())
                for name in ("discard_max_bytes", "discard_max_hw_bytes")
            ]
        except (OSError, ValueError):
            return False
        return limits[0] == 0 < limits[1]

    def _remove(self, device: Path) -> None:
        """Removes a free device, so that the next of its number is a new one."""
        number = int(device.name.removeprefix("loop"))
        control = self._devices / "loop-control"
        # One that somebody has taken meanwhile is theirs, and refused.
        with contextlib.suppress(OSError), _opened(control, os.O_RDWR) as descriptor:
            fcntl.ioctl(descriptor, _REMOVE, number)

    def _clear(self, device: Path, wanted: host.FileIdentity) -> bool:
        """Tells the kernel to detach with the last close; returns whether it could be told."""
        try:
            # An exclusive open fails while a filesystem on the device is mounted anywhere.
            with _opened(device, os.O_RDONLY | os.O_EXCL) as descriptor:
                status = _answered(descriptor)
                found = host.FileIdentity(status[0], status[1]) if status else _NOBODY
                if status is None or found != wanted:
                    return True
                os.fchown(descriptor, 0, 0)
                os.fchmod(descriptor, _PRIVATE_MODE)
                fcntl.ioctl(descriptor, _CLEAR, 0)
                return True
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno == errno.ENXIO:
                return True
            raise errors.HostFailure(f"cannot detach {device}: {error}") from error

    def _held_by(self, device: Path) -> str:
        for other in self.on_top_of(device):
            return f": {other.path} is attached on top of it (losetup -d {other.path} frees it)"
        return ""

    def _keep(self, device: Path) -> None:
        """Takes back a detach that waits for the last user, since there is a new one."""
        with _failure(f"cannot keep {device}"), _opened(device, os.O_RDONLY) as descriptor:
            info = bytearray(_INFO.size)
            fcntl.ioctl(descriptor, _GET_STATUS, info)
            (flags,) = struct.unpack_from("=I", info, _FLAGS_OFFSET)
            if flags & _AUTOCLEAR:
                struct.pack_into("=I", info, _FLAGS_OFFSET, flags & ~_AUTOCLEAR)
                fcntl.ioctl(descriptor, _SET_STATUS, bytes(info))

    def _configure(
        self, image: int, sector_size_bytes: int, *, read_only: bool, held: list[int] | None = None
    ) -> Path:
        """Attaches; with `held`, until the descriptor that is put there is closed."""
        flags = _DIRECT_IO | (_READ_ONLY if read_only else 0)
        if held is not None:
            flags = _AUTOCLEAR
        info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0)
        config = _CONFIG.pack(image, sector_size_bytes, info)
        access = os.O_RDONLY if read_only else os.O_RDWR
        for _ in range(_ATTEMPTS):
            try:
                device = self._free_device()
                with _opened(device, access) as descriptor:
                    fcntl.ioctl(descriptor, _CONFIGURE, config)
                    os.fchown(descriptor, 0, 0)
                    os.fchmod(descriptor, _PRIVATE_MODE)
                    spent = self._takes_no_discards(device)
                    if spent:
                        fcntl.ioctl(descriptor, _CLEAR, 0)
                    elif held is not None:
                        held.append(os.dup(descriptor))
            except OSError as error:
                # Another node or program on this kernel took or removed the free device first.
                if error.errno not in _TAKEN:
                    raise
                continue
            if not spent:
                return device
            self._remove(device)
        raise errors.HostFailure("no free loop device: others took each one first")

    def _free_device(self) -> Path:
        with _opened(self._devices / "loop-control", os.O_RDWR) as control:
            number = fcntl.ioctl(control, _GET_FREE)
        device = self._devices / f"loop{number}"
        if not device.exists():  # a container's /dev is a copy from when it was started
            minor = int((self._sysfs / device.name / "dev").read_text().split(":")[1])
            try:
                os.mknod(device, stat.S_IFBLK | _PRIVATE_MODE, os.makedev(_LOOP_MAJOR, minor))
            except FileExistsError:
                return device
        return device

    def _look(self, device: Path) -> host.LoopDevice | None:
        sysfs = self._sysfs / device.name
        try:
            number = (sysfs / "dev").read_text().strip()
            if not device.exists():
                major, minor = (int(part) for part in number.split(":"))
                os.mknod(device, stat.S_IFBLK | _PRIVATE_MODE, os.makedev(major, minor))
            status = _asked(device)
            if status is None:
                return None
            lost = status == _SILENT
            image = (sysfs / "loop/backing_file").read_text().rstrip("\n") if lost else ""
            return host.LoopDevice(
                path=device,
                number=number,
                backing=host.FileIdentity(status[0], status[1]),
                sector_size_bytes=int((sysfs / "queue/logical_block_size").read_text()),
                direct_io=(sysfs / "loop/dio").read_text().strip() == "1",
                read_only=(sysfs / "ro").read_text().strip() == "1",
                size_bytes=int((sysfs / "size").read_text()) * 512,
                lost_image=Path(image).name,
            )
        except (FileNotFoundError, FileExistsError):
            return None
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV, errno.EBUSY):  # detached meanwhile
                return None
            raise errors.HostFailure(f"cannot look at {device}: {error}") from error

    def _checked(
        self, device: host.LoopDevice, image: Path, sector_size_bytes: int
    ) -> host.LoopDevice:
        if device.sector_size_bytes == sector_size_bytes:
            return device
        self.detach(device.path, image)
        raise errors.HostFailure(
            f"{device.path} has sectors of {device.sector_size_bytes} bytes instead of the "
            f"recorded {sector_size_bytes}; it was detached again"
        )


_SILENT = (0,) * len(_INFO.unpack(bytes(_INFO.size)))


def _asked(device: Path) -> tuple[int, ...] | None:
    """Asks a device for its status as `_answered`; None also where it went meanwhile."""
    try:
        with _opened(device, os.O_RDONLY) as descriptor:
            return _answered(descriptor)
    except OSError as error:
        if error.errno in _TAKEN:
            return None
        raise


def _answered(descriptor: int) -> tuple[int, ...] | None:
    """Asks a device for its status; `_SILENT` where the filesystem of its image has shut down."""
    try:
        return _status(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:
            return _SILENT
        raise


def _identity(image: Path) -> host.FileIdentity:
    """Returns a file's identity, or `_NOBODY` where its filesystem has shut down."""
    try:
        status = image.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EIO:
            return _NOBODY
        raise
    return host.FileIdentity(status.st_dev, status.st_ino)


def _carries(device: host.LoopDevice, image: Path, wanted: host.FileIdentity) -> bool:
    if wanted == _NOBODY:
        return device.lost_image == image.name
    return device.backing == wanted


def _status(descriptor: int) -> tuple[int, ...] | None:
    info = bytearray(_INFO.size)
    try:
        fcntl.ioctl(descriptor, _GET_STATUS, info)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    return _INFO.unpack(info)


@contextmanager
def _opened(device: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(device, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _failure(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.HostFailure(f"{action}: {error}") from error
