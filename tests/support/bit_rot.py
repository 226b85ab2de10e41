"""A disk that loses bits: changes below a filesystem, which is told nothing of it."""

import os
from pathlib import Path

from mooring.adapters.host import extent_maps
from mooring.domain.extents import Placement


def flip_bit(file: Path, offset: int, disk: Path) -> None:
    """Flips one bit of a file where it lies on its filesystem's disk.

    Args:
        file: Of the filesystem.
        offset: Of the byte.
        disk: The image or device that the filesystem is on.
    """
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        before = os.pread(opened.fileno(), 1, offset)
        at = place_on_disk(opened.fileno(), offset)
        with disk.open("r+b", buffering=0) as below:
            assert os.pread(below.fileno(), 1, at) == before, "that is not where it lies"
            os.pwrite(below.fileno(), bytes([before[0] ^ 0x10]), at)
            os.fsync(below.fileno())
            os.posix_fadvise(below.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        after = os.pread(opened.fileno(), 1, offset)
    assert after[0] == before[0] ^ 0x10, "the filesystem does not see what its disk has"


def place_on_disk(descriptor: int, offset: int) -> int:
    """Returns where on its filesystem's disk a byte of an open file is."""
    place = next(
        piece
        for piece in extent_maps.pieces(descriptor)
        if piece.offset_bytes <= offset < piece.end_bytes
    )
    assert place.placement is Placement.DATA
    return place.physical_bytes + offset - place.offset_bytes
