"""Where the bytes of a sparse file are, and whether there are any."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 4 << 20
_ZEROS = bytes(_PIECE_BYTES)


def data_ranges(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yields offset and length, in bytes, of the pieces of a file that are not holes."""
    size_bytes = os.fstat(descriptor).st_size
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end - start


def reads_as_zeros(image: Path) -> bool:
    """Whether every byte of a file is zero; holes and reserved blocks are not read."""
    descriptor = os.open(image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return all(
            _is_zero(descriptor, start, length_bytes)
            for start, length_bytes in data_ranges(descriptor)
        )
    finally:
        os.close(descriptor)


def _is_zero(descriptor: int, offset_bytes: int, length_bytes: int) -> bool:
    end = offset_bytes + length_bytes
    while offset_bytes < end:
        piece = os.pread(descriptor, min(_PIECE_BYTES, end - offset_bytes), offset_bytes)
        if not piece:
            break
        if piece != _ZEROS[: len(piece)]:
            return False
        offset_bytes += len(piece)
    return True
