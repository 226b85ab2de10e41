"""The lock under which a directory store replaces and deletes: rename(2) asks for no version.

It is an flock of one file in the folder, held between looking and renaming only. The kernel ends it
with its process, so a killed holder leaves nothing to break, and a stopped one keeps it. An NFS
client of Linux asks the server for it, unless it is mounted with `nolock` or `local_lock`.
"""

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mooring.domain import errors

LOCK_FILE = ".lock"
_PATIENCE_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.001
_LONGEST_WAIT_SECONDS = 0.05
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_SHARED = {"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "ocfs2"}
_SHARED |= {"smb2", "smb3", "virtiofs"}


class FolderLock:
    """One for each open folder. Thread-safe."""

    def __init__(self, folder: int, mode: int, location: str) -> None:
        """Takes the folder's descriptor, the permission bits of files in it, and where it is."""
        self._folder = folder
        self._mode = mode
        self._location = location
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock.

        Raises:
            Unsupported: The folder's filesystem has no locks.
            Unreachable: Another process does not let go of it.
            OSError: The file cannot be made or opened.
        """
        with self._threads:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(LOCK_FILE, flags, 0o600, dir_fd=self._folder)
            try:
                with contextlib.suppress(PermissionError):  # another user's process made it
                    os.fchmod(file, self._mode)
                self._take(file)
                yield
            finally:
                os.close(file)

    def _take(self, file: int) -> None:
        ends = time.monotonic() + _PATIENCE_SECONDS
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise errors.Unreachable(
                        f"another process holds {LOCK_FILE} in {self._location} and does not let "
                        "go of it: is it stopped? Try again"
                    ) from None
                time.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise errors.Unsupported(
                    f"the filesystem of {self._location} has no locks"
                ) from error
            else:
                return


def reaches_everyone(folder: int) -> bool:
    """Tells whether a lock in an open folder holds for all that can reach the folder."""
    found = Path(f"/proc/self/fdinfo/{folder}").read_text(encoding="ascii")
    mount_id = next(line.split()[1] for line in found.splitlines() if line.startswith("mnt_id"))
    mounts = Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "surrogateescape")
    line = next((line for line in mounts.split("\n") if line.split(" ", 1)[0] == mount_id), None)
    return line is not None and locks_are_common(line)


def locks_are_common(mount: str) -> bool:
    """Tells from a line of mountinfo whether a filesystem's locks hold between machines.

    What only this machine mounts has nobody else to lock out. Of the shared filesystems only NFS
    says what it does.
    """
    filesystem, _, options = mount.split(" - ", 1)[1].split(" ", 2)
    if filesystem in ("nfs", "nfs4"):
        return "local_lock=none" in options.split(",")
    return filesystem not in _SHARED and not filesystem.startswith("fuse")
