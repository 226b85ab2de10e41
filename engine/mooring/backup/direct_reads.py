"""Reads that come from the disk, and not from what the kernel remembers of it."""

import contextlib
import mmap
import os

_ALIGNMENT = 4096  # of every disk and loop device; a smaller one would do for some


def read_anew(descriptor: int, offset: int, length: int) -> bytes:
    """Reads a range of an open file or device past the kernel's cache.

    Where direct reads are not possible, the cache is dropped first.

    Raises:
        OSError: The disk gave an error, or the file ended before.
    """
    with contextlib.suppress(OSError):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
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
