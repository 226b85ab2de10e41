"""Asking an open pool's filesystem whether it still takes writes, at the price of one block.

A statfs of an XFS that has shut down answers as if nothing were wrong; a stat does not, and a
synchronous write finds the disk that only reads, or no longer answers.
"""

import errno
import os

from mooring.adapters.pools import image_folder, pool_folder
from mooring.domain import errors

PROBE_FILE = ".probe"
_MARK = b"mooring\n"


def probe(folder: int, *, read_only: bool) -> None:
    """Looks at a pool's own small files, and writes one of them in place.

    Args:
        folder: The pool's open folder.
        read_only: Whether nothing in it may be changed.

    Raises:
        HostFailure: The filesystem has shut down, only reads, or its disk fails.
    """
    try:
        os.stat(pool_folder.IDENTITY_FILE, dir_fd=folder)
        if read_only:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(PROBE_FILE, flags, 0o600, dir_fd=folder)
        try:
            os.pwrite(descriptor, _MARK, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in image_folder.NO_SPACE:
            return  # a full disk is no broken one
        kind = "went read-only" if error.errno == errno.EROFS else "does not work"
        raise errors.HostFailure(
            f"its filesystem {kind} ({os.strerror(error.errno or 0)})"
        ) from error
