"""A file that is being filled: under another name, so that half a restore never looks ready.

What a killed restore left is taken up again by the next one of the same target. Two restores never
fill the same file: whoever comes second is refused.
"""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from mooring.domain import errors

SUFFIX = ".mooring-partial"
_FICLONE = 0x40049409
_ATTEMPTS = 10


class PartialFile:
    """A file on its way to a name.

    Attributes:
        path: What it is called until then.
        descriptor: Of the open file; closing it is the caller's.
        has_content: Whether it holds anything but zeros.
    """

    def __init__(self, final: Path) -> None:
        """Makes it, or takes up one that was left behind.

        Raises:
            InUse: Another process fills it.
            InvalidInput: What is there is no file that a restore of this user made.
            OSError: It cannot be made.
        """
        self._final = final
        self.path = final.with_name(final.name + SUFFIX)
        self.descriptor = self._open()
        self.has_content = os.fstat(self.descriptor).st_blocks > 0

    def resize(self, size_bytes: int) -> None:
        """Gives it its size.

        Raises:
            OSError: There is no room for that.
        """
        os.ftruncate(self.descriptor, size_bytes)

    def clone(self, model: int) -> bool:
        """Lets it share all blocks of an open file, if it holds nothing; returns whether it does.

        Files of another disk cannot be shared, nor on other filesystems than XFS and btrfs.
        """
        if self.has_content:
            return False
        try:
            fcntl.ioctl(self.descriptor, _FICLONE, model)
        except OSError:
            return False
        self.has_content = True
        return True

    def publish(self) -> None:
        """Gives it its name; the caller has synced it."""
        self.path.rename(self._final)
        folder = os.open(self._final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self) -> None:
        """Removes it; only for who could open it."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_ATTEMPTS):
            try:
                descriptor = os.open(self.path, flags, 0o600)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise self._foreign() from error
                raise
            try:
                if self._is_ours(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise self._in_use()

    def _is_ours(self, descriptor: int) -> bool:
        """Locks it; False when whoever had it has just given it its name or removed it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._in_use() from error
        status = os.fstat(descriptor)
        # Somebody else's may change under our hands after it was compared.
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink > 1:
            raise self._foreign()
        try:
            named = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)

    def _in_use(self) -> errors.InUse:
        return errors.InUse(f"another restore fills {self.path}: wait for its end")

    def _foreign(self) -> errors.InvalidInput:
        return errors.InvalidInput(
            f"{self.path} is not what an earlier restore left: look at it, and remove it"
        )
