"""Images on any filesystem: a copy is a whole copy, and only of volumes that nobody uses."""

import errno
import os
from pathlib import Path

from mooring.adapters.host import sparse
from mooring.adapters.pools import image_folder
from mooring.domain import pools

_NO_COPY_HELP = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class DirectoryPool(image_folder.ImageFilePool):
    """Image files that share nothing: holes stay holes in a copy, unless it is preallocated.

    Args:
        folder: Folder of the images, on any filesystem; made if it is missing.
        read_only: Whether nothing in it may be changed.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        super().__init__(
            folder,
            _copy,
            backend=pools.PoolBackend.DIRECTORY,
            copies_on_write=False,
            snapshots_while_published=False,
            read_only=read_only,
        )


def _copy(source: int, target: int, own_blocks: bool) -> None:
    size_bytes = os.fstat(source).st_size
    os.ftruncate(target, size_bytes)
    if own_blocks:
        image_folder.reserve(target, 0, size_bytes)
        image_folder.copy_by_reading(source, target)
        return
    try:
        _copy_in_kernel(source, target)
    except OSError as error:
        if error.errno not in _NO_COPY_HELP:
            raise
        image_folder.copy_by_reading(source, target)


def _copy_in_kernel(source: int, target: int) -> None:
    for start, length_bytes in sparse.data_ranges(source):
        offset, left_bytes = start, length_bytes
        while left_bytes:
            count = os.copy_file_range(source, target, left_bytes, offset, offset)
            if not count:
                break
            offset += count
            left_bytes -= count
