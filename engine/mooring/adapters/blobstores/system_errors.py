"""What a system call's error in a repository's folder means in the one error tree."""

import errno
import os

from mooring.domain import errors

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ODD_PATH = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR}


def is_out_of_room(error: OSError) -> bool:
    """Tells whether there was no room, on the filesystem or within a quota."""
    return error.errno in _NO_ROOM


def translate(error: OSError, doing: str) -> errors.MooringError:
    """Turns a system call's error into one of the tree.

    Args:
        error: As raised.
        doing: For the message: `cannot read x in y`.
    """
    why = f"{doing}: {os.strerror(error.errno) if error.errno else error}"
    if is_out_of_room(error):
        return errors.SpaceExhausted(f"{why}: make room there")
    if error.errno in _NOT_ALLOWED:
        return errors.ReadOnly(f"{why}: it must be readable and writable for this user")
    if error.errno == errno.ENOENT:
        return errors.NotFound(why)
    if error.errno in _ODD_PATH:
        return errors.DataCorrupt(f"{why}: something else lies where the repository's file belongs")
    if error.errno in (errno.EOPNOTSUPP, errno.EMLINK):
        return errors.Unsupported(f"{why}: its filesystem has no hard links")
    return errors.Unreachable(why)
