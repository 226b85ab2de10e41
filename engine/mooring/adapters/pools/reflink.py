"""Images on XFS or btrfs that share blocks: clones and snapshots take no time with size.

A preallocated clone gets blocks of its own after the sharing copy, so that writes to it cannot
meet a full pool. XFS unshares in place; btrfs cannot, so there the bytes are copied.
"""

import contextlib
import errno
import os
from pathlib import Path

from mooring.adapters.host import files, syscalls
from mooring.adapters.pools import image_folder
from mooring.domain import errors, pools

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV)


class ReflinkPool(image_folder.ImageFilePool):
    """Image files with FICLONE; blocks that several images share count for each.

    Args:
        folder: Folder of the images, on XFS or btrfs; made if it is missing.
        read_only: Whether nothing in it may be changed.

    Raises:
        Unsupported: The filesystem of the folder cannot share blocks between files.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        super().__init__(
            folder,
            _clone,
            backend=pools.PoolBackend.REFLINK,
            copies_on_write=True,
            snapshots_while_published=True,
            read_only=read_only,
        )
        if read_only:
            return
        try:
            _require_sharing(folder)
        except errors.MooringError:
            self.close()
            raise


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
        with contextlib.ExitStack() as opened:
            source, target = (
                opened.enter_context(
                    os.fdopen(os.open(name, flags, 0o600, dir_fd=descriptor), "r+b")
                )
                for name in names
            )
            os.pwrite(source.fileno(), bytes(4096), 0)
            syscalls.clone_file(source.fileno(), target.fileno())
    except OSError as error:
        if error.errno in image_folder.NO_SPACE:
            return  # it was tried when the pool was made, and a full pool has to open again
        if error.errno not in _UNSUPPORTED:
            raise errors.HostFailure(f"cannot use {folder} as a pool: {error}") from error
        raise errors.Unsupported(
            f"the filesystem of {folder} cannot share blocks between files: use XFS or btrfs, an "
            "embedded pool (set imageSize), or the backend 'directory'"
        ) from error
    finally:
        for name in names:
            files.remove_durably(descriptor, name)
        os.close(descriptor)
