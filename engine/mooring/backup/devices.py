"""Block devices and image files, as what a backup reads and a restore fills.

A device is opened exclusively for a restore, which the kernel refuses while it is mounted. Its
ends, where superblocks are, are empty until the rest is durable. A file is filled under another
name and renamed at the end. So half a restore never looks ready.
"""

import contextlib
import enum
import errno
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from mooring.backup import direct_reads, held_ends, partial_files
from mooring.domain import errors, extents

_PIECE_BYTES = 1 << 20
_WRITEBACK_BYTES = 64 << 20
_ZEROS = bytes(_PIECE_BYTES)
_MAXIMUM_VECTORS = 512
_BLKSSZGET = 0x1268  # linux/fs.h
_FILE_SECTOR_BYTES = 512
_NO_DATA = 1 << 63
_NOT_WHOLE = (
    ". It is not whole, do not use it: make room on the disk below it, or take another device, and "
    "restore again"
)


class Reuse(enum.Enum):
    """Whether a target's own content is worth a look before anything is fetched."""

    NOTHING = "Nothing"  # it is known to hold nothing
    BEGINNING = "Beginning"  # an earlier restore may have begun to fill it, from its beginning
    ALL = "All"  # anything of it may be wanted


class VolumeSource:
    """What a backup reads. Reads are thread-safe.

    Attributes:
        size_bytes: Its size when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Opens a device or file.

        Raises:
            NotFound: There is nothing of that name.
            PermissionDenied: It may not be read.
            InvalidInput: It is neither a block device nor a file, or is empty.
        """
        self._path = path
        self._file = _open(path, os.O_RDONLY)
        try:
            self._is_file = _is_file(self._file, path)
            self.size_bytes = os.lseek(self._file, 0, os.SEEK_END)
            if not self.size_bytes:
                raise errors.InvalidInput(f"{path} is empty: there is nothing to back up")
            self._direct = direct_reads.DirectReader(self._file)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "VolumeSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of it."""
        self._direct.close()
        os.close(self._file)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills a buffer: past the kernel's cache if buffer and place are whole pages.

        Raises:
            HostFailure: The device gave an error, or ended before its size.
        """
        try:
            if self._direct.read_into(buffer, offset):
                return
        except OSError as error:
            bad = offset + self._direct.readable(buffer, offset)
            raise _failed(self._path, f"read byte {bad} of", error) from error
        _read_into(self._file, self._path, buffer, offset)

    def read_anew(self, offset: int, length: int) -> bytes:
        """Returns a range as the disk has it, whatever the kernel's cache says.

        Raises:
            HostFailure: The device gave an error.
        """
        try:
            return direct_reads.read_anew(self._file, offset, length)
        except OSError as error:
            raise _failed(self._path, f"read byte {offset} of", error) from error

    def is_hole(self, offset: int, length: int) -> bool:
        """Tells whether a range is surely a hole of a sparse file; devices do not say."""
        return self._is_file and _data_at(self._file, offset) >= offset + length

    def fileno(self) -> int:
        """Returns the descriptor."""
        return self._file

    def sector_size_bytes(self) -> int:
        """Returns the logical sector size of a device; of a file, what fits every filesystem.

        Raises:
            HostFailure: The device does not say.
        """
        if self._is_file:
            return _FILE_SECTOR_BYTES
        answer = bytearray(4)
        try:
            fcntl.ioctl(self._file, _BLKSSZGET, answer)
        except OSError as error:
            raise _failed(self._path, "read the sector size of", error) from error
        return int.from_bytes(answer, sys.byteorder)

    def is_device(self, path: Path) -> bool:
        """Tells whether a path is the same block device."""
        number = os.fstat(self._file).st_rdev
        return not self._is_file and _is_block_device(path) and path.stat().st_rdev == number

    def data_ranges(self) -> Iterator[extents.Range]:
        """Yields all that is not surely a hole of a sparse file, in order; of a device, all of it.

        Raises:
            HostFailure: The filesystem gave an error, or the file shrank.
        """
        if not self._is_file:
            yield extents.Range(0, self.size_bytes)
            return
        start = 0
        while start < self.size_bytes:
            try:
                start = os.lseek(self._file, start, os.SEEK_DATA)
                end = os.lseek(self._file, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data from here to the end
                    break
                raise _failed(self._path, f"look for data from byte {start} of", error) from error
            yield extents.Range(start, end - start)
            start = end
        size_bytes = os.lseek(self._file, 0, os.SEEK_END)
        if size_bytes < self.size_bytes:
            raise errors.HostFailure(f"{self._path} ended at byte {size_bytes}: it shrank")


class VolumeTarget:
    """What a restore fills. Writes of different ranges are thread-safe.

    Attributes:
        size_bytes: Its size; a new file gets the size it is opened with.
        zeroed: Whether what was not written yet surely reads as zeros.
        reuse: Whether what it holds may be chunks that are wanted.
        cloned: Whether it began with the model's content.
    """

    def __init__(
        self,
        path: Path,
        size_bytes: int,
        *,
        replace: bool = False,
        reuse: Reuse = Reuse.NOTHING,
        model: VolumeSource | None = None,
    ) -> None:
        """Opens a device, or begins a file, or goes on with one that a killed restore began.

        Args:
            path: Where.
            size_bytes: What must fit.
            replace: Whether an existing file may be replaced, at the end.
            reuse: Of a device; what a file holds is known.
            model: A file that a new file shall share its blocks with, where that is possible.

        Raises:
            NotFound: There is no such folder.
            AlreadyExists: The file exists, and `replace` is not set.
            SizeOutOfRange: The device is too small.
            InUse: The device is mounted or otherwise in use, or another restore fills the file.
            PermissionDenied: It may not be written.
        """
        self._path = path
        self._partial: partial_files.PartialFile | None = None
        self._ends: held_ends.HeldEnds | None = None
        self.reuse = reuse
        self.cloned = False
        self._lock = threading.Lock()
        self._unsynced = 0
        if _is_block_device(path):
            self._file = _open(path, os.O_RDWR | os.O_EXCL)
            self.zeroed = False
        else:
            self._begin(size_bytes, model, replace=replace)
        self.size_bytes = os.lseek(self._file, 0, os.SEEK_END)
        if self.size_bytes < size_bytes:
            os.close(self._file)
            raise errors.SizeOutOfRange(
                f"{path} has {self.size_bytes} bytes, and the backup needs {size_bytes}: take a "
                "larger one; nothing was written"
            )
        if reuse is not Reuse.NOTHING:
            self.sync()  # what a failed sync left in the cache is not on the disk
        if self._partial is None:
            self._ends = held_ends.HeldEnds(self._file, self.size_bytes)

    def __enter__(self) -> "VolumeTarget":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, parts: Sequence[bytes], offset: int) -> None:
        """Writes buffers one after the other from `offset`.

        Raises:
            SpaceExhausted: The filesystem below is full.
            HostFailure: The device gave an error.
        """
        for first in range(0, len(parts), _MAXIMUM_VECTORS):
            group = parts[first : first + _MAXIMUM_VECTORS]
            length = sum(map(len, group))
            try:
                held_ends.write_parts(self._file, self._ends, group, offset)
            except OSError as error:
                raise _failed(self._path, f"write byte {offset} of", error, _NOT_WHOLE) from error
            offset += length
            self._begin_writeback(length)

    def clear(self, offset: int, length: int) -> None:
        """Makes a range read as zeros; what is zero already is not written."""
        buffer = bytearray(_PIECE_BYTES)
        end = offset + length
        while (offset := self._next_data(offset)) < end:
            size = min(_PIECE_BYTES, end - offset)
            view = memoryview(buffer)[:size]
            self.read_into(view, offset)
            if buffer[:size] != _ZEROS[:size]:
                self.write([_ZEROS[:size]], offset)
            offset += size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills a buffer with what is there.

        Raises:
            HostFailure: The device gave an error.
        """
        _read_into(self._file, self._path, buffer, offset)
        if self._ends is not None:
            self._ends.overlay(buffer, offset)

    def sync(self) -> None:
        """Makes everything durable, and drops it from the cache so that a re-read is a real one.

        Raises:
            HostFailure: The device could not.
        """
        try:
            os.fsync(self._file)
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise _failed(self._path, "sync", error, _NOT_WHOLE) from error

    def is_hole(self, offset: int, length: int) -> bool:
        """Tells whether a range is surely a hole of a sparse file; devices do not say."""
        return self._next_data(offset) >= offset + length

    def publish(self) -> None:
        """Gives a file its name, or a device its ends; everything else is synced."""
        try:
            if self._partial is not None:
                self._partial.publish()
            elif self._ends is not None:
                self._ends.release()
        except OSError as error:
            raise _failed(self._path, "finish", error) from error
        self._partial = self._ends = None

    def abandon(self, *, keep: bool) -> None:
        """Gives up: a device keeps what was written to it, but its ends are empty.

        Args:
            keep: Whether a file that did not get whole stays, under its other name, for the next
                restore to go on with.
        """
        if self._partial is not None and not keep:
            self._partial.remove()
        self._partial = None

    def _begin_writeback(self, length: int) -> None:
        """Has the disk work while the rest is still fetched; else `sync` would wait for all of it.

        A disk's error is kept until `sync` asks.
        """
        with self._lock:
            self._unsynced += length
            if self._unsynced < _WRITEBACK_BYTES:
                return
            self._unsynced = 0
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def _begin(self, size_bytes: int, model: VolumeSource | None, *, replace: bool) -> None:
        path = self._path
        if path.exists() and not replace:
            raise errors.AlreadyExists(
                f"{path} exists: choose another name, or replace it with --force"
            )
        if path.exists() and not path.is_file():
            raise errors.InvalidInput(f"{path} is neither a block device nor a file")
        try:
            self._partial = partial_files.PartialFile(path)
        except FileNotFoundError as error:
            raise errors.NotFound(f"there is no folder {path.parent}") from error
        except OSError as error:
            raise _failed(path, "make", error) from error
        self._file = self._partial.descriptor
        try:
            self.cloned = model is not None and self._partial.clone(model.fileno())
            self._partial.resize(size_bytes)
        except OSError as error:
            os.close(self._file)
            raise _failed(self._partial.path, "make", error) from error
        self.zeroed = not self._partial.has_content
        self.reuse = Reuse.ALL if self._partial.has_content else Reuse.NOTHING

    def _next_data(self, offset: int) -> int:
        return offset if self._partial is None else _data_at(self._file, offset)


def _data_at(file: int, offset: int) -> int:
    """Returns where a file's next data is; the largest of offsets when there is none."""
    try:
        return os.lseek(file, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return _NO_DATA
        return offset  # it cannot tell


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no {path}") from error
    except IsADirectoryError as error:
        raise errors.InvalidInput(f"{path} is a folder, not a device or file") from error
    except PermissionError as error:
        raise errors.PermissionDenied(f"{path} may not be opened by this user") from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise errors.InUse(f"{path} is mounted or in use: unmount it first") from error
        raise _failed(path, "open", error) from error


def _read_into(file: int, path: Path, buffer: memoryview, offset: int) -> None:
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(file, [buffer[done:]], offset + done)
        except OSError as error:
            raise _failed(path, f"read byte {offset + done} of", error) from error
        if not count:
            raise errors.HostFailure(f"{path} ended at byte {offset + done}: it shrank")
        done += count


def _is_block_device(path: Path) -> bool:
    try:
        return path.is_block_device()
    except OSError as error:
        raise _failed(path, "look at", error) from error


def _is_file(file: int, path: Path) -> bool:
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise errors.InvalidInput(f"{path} is neither a block device nor a file")
    return stat.S_ISREG(mode)


def _failed(path: Path, doing: str, error: OSError, advice: str = "") -> errors.MooringError:
    message = f"cannot {doing} {path}: {error.strerror or error}{advice}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.SpaceExhausted(message)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return errors.PermissionDenied(message)
    return errors.HostFailure(message)
