"""An image file or device that is written to in place: alone, or not at all."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from mooring.backup import direct_reads
from mooring.domain import errors

Carriers = Callable[[Path], Sequence[Path]]
"""Tells which devices have a file as their content."""


class BlockTarget:
    """What a block is put back into, for the time of a `with` block.

    Attributes:
        size_bytes: Its size.
    """

    def __init__(self, path: Path, carriers: Carriers) -> None:
        """Opens it; a device so that nobody can mount it meanwhile.

        Args:
            path: Of the file or device.
            carriers: Tells who uses a file.

        Raises:
            NotFound: There is nothing of that name.
            InvalidInput: It is neither a file nor a block device.
            InUse: It is mounted, attached, or locked by a virtual machine.
            PermissionDenied: It may not be written.
        """
        self._path = path
        self._carriers = carriers
        self._file = self._open()
        try:
            self._is_file = self._claim()
            self.size_bytes = os.lseek(self._file, 0, os.SEEK_END)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "BlockTarget":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def read(self, offset: int, length: int) -> bytes | None:
        """Returns what the disk has there; None where it cannot be read."""
        try:
            return direct_reads.read_anew(self._file, offset, length)
        except OSError:
            return None

    def write(self, offset: int, content: bytes) -> None:
        """Writes, syncs, and reads it back from the disk.

        Raises:
            HostFailure: The disk failed, or did not keep what was written.
            InUse: Somebody attached the file meanwhile.
        """
        try:
            done = 0
            while done < len(content):
                done += os.pwrite(self._file, content[done:], offset + done)
            os.fsync(self._file)
        except OSError as error:
            raise errors.HostFailure(
                f"cannot write at byte {offset} of {self._path}: {error.strerror}"
            ) from error
        if self.read(offset, len(content)) != content:
            raise errors.HostFailure(
                f"{self._path} did not keep what was written at byte {offset}: replace its disk, "
                "and restore a backup to another one"
            )
        if self._is_file:
            self._refuse_carried()

    def _open(self) -> int:
        path = self._path
        try:
            exclusive = os.O_EXCL if path.is_block_device() else 0
            return os.open(path, os.O_RDWR | exclusive | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise errors.NotFound(f"there is no {path}") from error
        except IsADirectoryError as error:
            raise errors.InvalidInput(f"{path} is a folder, not a device or file") from error
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise errors.InUse(f"{path} is mounted or in use: unmount it first") from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise errors.PermissionDenied(f"{path} may not be written") from error
            raise errors.HostFailure(f"cannot open {path}: {error.strerror}") from error

    def _claim(self) -> bool:
        mode = os.fstat(self._file).st_mode
        if stat.S_ISBLK(mode):
            return False
        if not stat.S_ISREG(mode):
            raise errors.InvalidInput(f"{self._path} is neither a block device nor a file")
        self._refuse_carried()
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # QEMU locks its images so
        except OSError as error:
            raise errors.InUse(
                f"{self._path} is locked by another process: end it first"
            ) from error
        return True

    def _refuse_carried(self) -> None:
        found = self._carriers(self._path)
        if found:
            raise errors.InUse(
                f"{self._path} is attached to {', '.join(map(str, found))}: take the volume from "
                "its pods, or unmount and detach it, first"
            )
