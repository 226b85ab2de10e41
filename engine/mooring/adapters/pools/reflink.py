"""Images on XFS or btrfs that share blocks: clones and snapshots take no time with size.

A preallocated clone gets blocks of its own after the sharing copy, so that writes to it cannot
meet a full pool. XFS unshares in place; btrfs cannot, so there the bytes are copied.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from mooring.adapters.host import files, syscalls
from mooring.adapters.pools import image_folder
from mooring.domain import errors, ids, pools

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV)


class ReflinkPool:
    """Image files with FICLONE; implements `ports.pools.ImagePool`.

    Args:
        folder: Folder of the images, on XFS or btrfs; made if it is missing.

    Raises:
        Unsupported: The filesystem of the folder cannot share blocks between files.
    """

    def __init__(self, folder: Path) -> None:
        self._images = image_folder.ImageFolder(folder)
        try:
            _require_sharing(folder)
        except errors.MooringError:
            self._images.close()
            raise
        self._properties = pools.PoolProperties(
            backend=pools.PoolBackend.REFLINK,
            copies_on_write=True,
            snapshots_while_published=True,
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
        """Makes `target` share the blocks of `source`, or hold its own if preallocated."""
        self._images.copy(source, target, size_bytes, preallocate=preallocate, copier=_clone)

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image with zeros; see the port."""
        self._images.grow(image, size_bytes, preallocate=preallocate)

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image and what is left of a half-made one; an absent one is no error."""
        self._images.remove(image)

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every whole image; blocks that several share count for each."""
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


def _clone(source: int, target: int, own_blocks: bool) -> None:
    syscalls.clone_file(source, target)
    if not own_blocks:
        return
    size_bytes = os.fstat(target).st_size
    try:
        syscalls.fallocate(target, syscalls.FALLOC_FL_UNSHARE_RANGE, 0, size_bytes)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        os.ftruncate(target, 0)
        os.ftruncate(target, size_bytes)
        image_folder.reserve(target, 0, size_bytes)
        image_folder.copy_by_reading(source, target)


def _require_sharing(folder: Path) -> None:
    names = [files.temporary_name(name) for name in ("sharing-source", "sharing-target")]
    descriptor = files.open_folder(folder)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        source, target = (os.open(name, flags, 0o600, dir_fd=descriptor) for name in names)
        try:
            os.pwrite(source, bytes(4096), 0)
            syscalls.clone_file(source, target)
        finally:
            os.close(source)
            os.close(target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise errors.HostFailure(f"cannot use {folder} as a pool: {error}") from error
        raise errors.Unsupported(
            f"the filesystem of {folder} cannot share blocks between files: use XFS or btrfs, an "
            "embedded pool (set imageSizeBytes), or the backend 'directory'"
        ) from error
    finally:
        for name in names:
            files.remove_durably(descriptor, name)
        os.close(descriptor)
