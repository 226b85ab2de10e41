"""What changed between the images of one folder, as its filesystem tells it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import extent_maps, files
from mooring.adapters.pools import image_folder
from mooring.domain import errors, ids
from mooring.domain.extents import Range

_CANNOT_TELL = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


class FolderTracking:
    """Changes of the images of one folder; implements `ports.extents.ImageTracking`.

    Args:
        folder: The folder.
        shares_blocks: Whether an image and a copy of it have the same blocks until one is written.
    """

    def __init__(self, folder: Path, *, shares_blocks: bool) -> None:
        self._folder = files.open_folder(folder)
        self._shares_blocks = shares_blocks

    def close(self, let_go: Callable[[int], None] = os.close) -> None:
        """Lets go of the folder."""
        let_go(self._folder)

    def changed(self, base: ids.ImageId, image: ids.ImageId) -> extent_maps.SpilledRanges:
        """Returns what of an image is not surely the same in an older one; see the port."""
        if not self._shares_blocks:
            raise errors.Unsupported(
                "this pool copies whole images, which does not tell what changed: read everything"
            )
        with self._opened(base) as one, self._opened(image) as other:
            return extent_maps.changed(one, other)

    def allocated(self, image: ids.ImageId) -> extent_maps.SpilledRanges:
        """Returns what of an image may hold anything but zeros; see the port."""
        with self._opened(image) as descriptor:
            try:
                return extent_maps.allocated(descriptor)
            except OSError as error:
                if error.errno not in _CANNOT_TELL:
                    raise
                whole = extent_maps.SpilledRanges()
                whole.keep([Range(0, os.fstat(descriptor).st_size)])
                return whole

    @contextmanager
    def _opened(self, image: ids.ImageId) -> Iterator[int]:
        name = image_folder.file_name(image)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._folder)
        except FileNotFoundError as error:
            raise errors.NotFound(f"there is no image {image}") from error
        try:
            yield descriptor
        except OSError as error:
            raise errors.HostFailure(f"cannot tell where {image} lies: {error}") from error
        finally:
            os.close(descriptor)
