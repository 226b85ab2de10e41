"""The bytes of image files, for copies between nodes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import sparse
from mooring.adapters.pools import image_folder
from mooring.domain import transfers

_BLOCK_BYTES = 4096
_ZEROS = bytes(transfers.PIECE_BYTES)


class FileContents:
    """`ports.transfers.ImageContents` of files."""

    def pieces(self, image: Path, start_bytes: int) -> Iterator[transfers.Piece]:
        """Yields the pieces from an offset on that hold more than zeros."""
        with _opened(image, os.O_RDONLY) as descriptor:
            # Otherwise pages that are still in memory would be compared instead of the disk's.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for offset in _piece_offsets(descriptor, start_bytes):
                with image_folder.no_space_named(f"read {image.name}"):
                    content = os.pread(descriptor, transfers.PIECE_BYTES, offset)
                os.posix_fadvise(descriptor, offset, len(content), os.POSIX_FADV_DONTNEED)
                if content != _ZEROS[: len(content)]:
                    yield transfers.Piece(offset, content)

    @contextmanager
    def writer(self, image: Path) -> Iterator["FileWriter"]:
        """Opens an existing image to be filled."""
        with _opened(image, os.O_WRONLY) as descriptor:
            yield FileWriter(descriptor, image)


class FileWriter:
    """`ports.transfers.ImageWriter` of an open file."""

    def __init__(self, descriptor: int, image: Path) -> None:
        self._descriptor = descriptor
        self._action = f"fill {image.name}"

    def write(self, piece: transfers.Piece) -> None:
        """Writes a piece in its place; its zeros stay the holes that they are in a new image."""
        with image_folder.no_space_named(self._action):
            for start, end in _data_runs(piece.content):
                left, offset = memoryview(piece.content)[start:end], piece.offset_bytes + start
                while left:
                    count = os.pwrite(self._descriptor, left, offset)
                    left, offset = left[count:], offset + count

    def sync(self) -> None:
        """Returns when everything written is on the disk."""
        with image_folder.no_space_named(self._action):
            os.fdatasync(self._descriptor)


def _data_runs(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields start and end of the runs of blocks that hold more than zeros."""
    begun: int | None = None
    for start in range(0, len(content), _BLOCK_BYTES):
        block = content[start : start + _BLOCK_BYTES]
        is_data = block != _ZEROS[: len(block)]
        if is_data and begun is None:
            begun = start
        elif not is_data and begun is not None:
            yield begun, start
            begun = None
    if begun is not None:
        yield begun, len(content)


@contextmanager
def _opened(image: Path, flags: int) -> Iterator[int]:
    with image_folder.no_space_named(f"open {image.name}"):
        descriptor = os.open(image, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _piece_offsets(descriptor: int, start_bytes: int) -> Iterator[int]:
    """Yields the offset of every piece, from one on, that is not wholly a hole."""
    size, next_offset = transfers.PIECE_BYTES, start_bytes
    for start, length_bytes in sparse.data_ranges(descriptor):
        offset = max(next_offset, start - start % size)
        while offset < start + length_bytes:
            yield offset
            offset += size
        next_offset = max(next_offset, offset)
