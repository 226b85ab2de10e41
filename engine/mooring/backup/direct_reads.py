"""Reads that come from the disk, and not from what the kernel remembers of it."""

import contextlib
import errno
import mmap
import os

_ALIGNMENT = 4096  # of every disk and loop device; a smaller one would do for some


class DirectReader:
    """Reads of an open file or device past the kernel's cache, where it has such reads.

    So a backup of terabytes pushes nothing out of the cache that programs on the node use.
    """

    def __init__(self, descriptor: int) -> None:
        """Opens it once more; the descriptor may be closed after that."""
        self._file = _open_direct(descriptor)

    def close(self) -> None:
        """Lets go of it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """Fills a buffer that begins where a page of memory does; for any thread.

        Returns:
            False when a read through the cache has to do it: the place is no whole pages, or the
            file ended, or its filesystem has no such reads.

        Raises:
            OSError: The disk gave an error.
        """
        if self._file is None or offset % _ALIGNMENT or len(buffer) % _ALIGNMENT:
            return False
        try:
            return os.preadv(self._file, [buffer], offset) == len(buffer)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False

    def readable(self, buffer: memoryview, offset: int) -> int:
        """Returns how many bytes of what could not be read whole can be, in whole pages."""
        for start in range(0, len(buffer), _ALIGNMENT):
            try:
                self.read_into(buffer[start : start + _ALIGNMENT], offset + start)
            except OSError:
                return start
        return 0  # it can be now: who asks had the error


def _open_direct(descriptor: int) -> int | None:
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return None


def read_anew(descriptor: int, offset: int, length: int) -> bytes:
    """Reads a range of an open file or device past the kernel's cache.

    Where direct reads are not possible, the cache is dropped first.

    Raises:
        OSError: The disk gave an error, or the file ended before.
    """
    with contextlib.suppress(OSError):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
    direct = _open_direct(descriptor)
    if direct is None:
        return _whole(os.pread(descriptor, length, offset), length)
    try:
        return _read_aligned(direct, offset, length)
    finally:
        os.close(direct)


def _read_aligned(direct: int, offset: int, length: int) -> bytes:
    start = offset // _ALIGNMENT * _ALIGNMENT
    end = -(-(offset + length) // _ALIGNMENT) * _ALIGNMENT
    with mmap.mmap(-1, end - start) as room:  # memory of whole pages, as direct reads need it
        count = os.preadv(direct, [room], start)
        return _whole(room[offset - start : min(count, offset - start + length)], length)


def _whole(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise OSError(f"only {len(data)} of {length} bytes are there")
    return data
