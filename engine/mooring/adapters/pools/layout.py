"""How image files lie on an XFS, and laying parts of them out anew while they are in use.

The copies go through the page cache, so that the comparison that the kernel makes under the
image's lock finds both sides in memory: writers wait for it, and not for the disk. The new place
is a file without a name in the pool's folder: whatever ends this process, the kernel removes it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import files, syscalls
from mooring.adapters.pools import image_folder
from mooring.domain import errors, extents, ids

_EXTENTS_A_CALL = 1024


def of_folder(folder: Path) -> "FolderExtents | None":
    """Returns the extents of a folder's images, or None where the filesystem is not XFS.

    btrfs tells whether an extent is shared only by a search for each, and gives up the space of an
    old extent only when all of it is replaced.
    """
    descriptor = files.open_folder(folder)
    if syscalls.filesystem_magic(descriptor) != syscalls.XFS_SUPER_MAGIC:
        os.close(descriptor)
        return None
    return FolderExtents(descriptor)


class FolderExtents:
    """Extents of the images of one folder; implements `ports.extents.ImageExtents`.

    Args:
        folder: The open folder; it belongs to this object from now on.
    """

    def __init__(self, folder: int) -> None:
        self._folder = folder

    def close(self, let_go: Callable[[int], None] = os.close) -> None:
        """Lets go of the folder."""
        let_go(self._folder)

    def count(self, image: ids.ImageId) -> int:
        """Returns how many extents an image has; see the port."""
        with self._opened(image, os.O_RDONLY) as descriptor:
            return syscalls.count_extents(descriptor)

    def window(
        self, image: ids.ImageId, offset_bytes: int, length_bytes: int
    ) -> Sequence[extents.Extent]:
        """Returns the extents of a part of an image; see the port."""
        found: list[extents.Extent] = []
        with self._opened(image, os.O_RDONLY) as descriptor:
            begin, end = offset_bytes, offset_bytes + length_bytes
            while begin < end:
                some = syscalls.map_extents(descriptor, begin, end - begin, _EXTENTS_A_CALL)
                found += [_cut(one, begin, end) for one in some]
                if len(some) < _EXTENTS_A_CALL:
                    break
                begin = found[-1].end_bytes
        return found

    @contextmanager
    def relayout(
        self, image: ids.ImageId, offset_bytes: int, length_bytes: int
    ) -> Iterator["FileRelayout"]:
        """Makes room in one place for a part of an image; see the port."""
        with (
            self._opened(image, os.O_RDWR) as descriptor,
            image_folder.no_space_named(f"lay out {image} anew"),
        ):
            place = os.open(
                ".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self._folder
            )
            try:
                image_folder.reserve(place, 0, length_bytes)
                yield FileRelayout(descriptor, place, offset_bytes)
            finally:
                os.close(place)

    @contextmanager
    def _opened(self, image: ids.ImageId, flags: int) -> Iterator[int]:
        name, descriptor = image_folder.file_name(image), None
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
            yield descriptor
        except FileNotFoundError as error:
            raise errors.NotFound(f"there is no image {image}") from error
        except OSError as error:
            raise errors.HostFailure(f"cannot look at the extents of {image}: {error}") from error
        finally:
            if descriptor is not None:
                os.close(descriptor)


class FileRelayout:
    """A part of an image and its new place; implements `ports.extents.Relayout`."""

    def __init__(self, image: int, place: int, begin_bytes: int) -> None:
        self._image = image
        self._place = place
        self._begin_bytes = begin_bytes

    def copy(self, offset_bytes: int, length_bytes: int) -> None:
        """Copies a piece of the image into the new place."""
        content = os.pread(self._image, length_bytes, offset_bytes)
        if os.pwrite(self._place, content, self._placed(offset_bytes)) != length_bytes:
            raise errors.HostFailure("a piece of an image could not be copied whole")

    def settle(self) -> None:
        """Brings all copies to the disk."""
        os.fdatasync(self._place)

    def take_over(self, offset_bytes: int, length_bytes: int) -> bool:
        """Gives the image the blocks of a copied piece, if it still has the same bytes there."""
        return syscalls.share_if_same(
            self._place, self._placed(offset_bytes), length_bytes, self._image, offset_bytes
        )

    def let_go(self, offset_bytes: int, length_bytes: int) -> None:
        """Leaves the image the only owner of a range."""
        mode = syscalls.FALLOC_FL_PUNCH_HOLE | syscalls.FALLOC_FL_KEEP_SIZE
        syscalls.fallocate(self._place, mode, self._placed(offset_bytes), length_bytes)
        with contextlib.suppress(OSError):  # what was not taken over is of no use in memory
            os.posix_fadvise(self._image, offset_bytes, length_bytes, os.POSIX_FADV_DONTNEED)

    def _placed(self, offset_bytes: int) -> int:
        return offset_bytes - self._begin_bytes


def _cut(mapped: tuple[int, int, int, int], begin: int, end: int) -> extents.Extent:
    offset_bytes, _, length_bytes, flags = mapped
    start = max(offset_bytes, begin)
    return extents.Extent(
        start,
        min(offset_bytes + length_bytes, end) - start,
        written=not flags & syscalls.FIEMAP_EXTENT_UNWRITTEN,
        shared=bool(flags & syscalls.FIEMAP_EXTENT_SHARED),
    )
