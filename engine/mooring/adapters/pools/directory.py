"""Images on any filesystem: a copy is a whole copy, and only of volumes that nobody uses."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from mooring.adapters.pools import image_folder
from mooring.domain import ids, pools

_NO_COPY_HELP = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class DirectoryPool:
    """Image files that share nothing; implements `ports.pools.ImagePool`.

    Args:
        folder: Folder of the images, on any filesystem; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._images = image_folder.ImageFolder(folder)
        self._properties = pools.PoolProperties(
            backend=pools.PoolBackend.DIRECTORY,
            copies_on_write=False,
            snapshots_while_published=False,
            attachable=True,
            direct_io=image_folder.takes_direct_io(folder),
        )

    @property
    def properties(self) -> pools.PoolProperties:
        """What this backend can do; never changes."""
        return self._properties

    def allocate(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Makes an image that reads as zeros; see the port."""
        self._images.allocate(image, size_bytes, preallocate=preallocate)

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        """Makes `target` with the bytes of `source`; holes stay holes unless preallocated."""
        self._images.copy(source, target, size_bytes, preallocate=preallocate, copier=_copy)

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image with zeros; see the port."""
        self._images.grow(image, size_bytes, preallocate=preallocate)

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image and what is left of a half-made one; an absent one is no error."""
        self._images.remove(image)

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every whole image with its size and use."""
        return self._images.images()

    def path(self, image: ids.ImageId) -> Path:
        """Returns the image's file; see the port."""
        return self._images.path(image)

    def capacity(self) -> pools.PoolCapacity:
        """Returns the space of the backing filesystem."""
        return self._images.capacity()

    def close(self) -> None:
        """Lets go of the folder."""
        self._images.close()


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
    for start, length_bytes in image_folder.data_ranges(source):
        offset, left_bytes = start, length_bytes
        while left_bytes:
            count = os.copy_file_range(source, target, left_bytes, offset, offset)
            if not count:
                break
            offset += count
            left_bytes -= count
