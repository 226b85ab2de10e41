"""Mount points named by the kubelet: made before a mount, removed after it, never entered."""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

from mooring.domain import errors
from mooring.ports import host

_SOMETHING_ELSE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_LONGEST_NAME_BYTES = 255


class KernelPaths:
    """Paths of this process's namespace."""

    def resolve(self, path: str) -> Path:
        """Returns the real path that the mount table will show; the last part is not followed.

        Raises:
            InvalidInput: It is not absolute, has a `..` or strange characters, or ends in a
                symbolic link.
        """
        asked = Path(path)
        strange = any(ord(character) < 32 for character in path) or any(
            len(part.encode(errors="replace")) > _LONGEST_NAME_BYTES for part in asked.parts
        )
        if not asked.is_absolute() or ".." in asked.parts or strange or len(asked.parts) < 3:
            raise errors.InvalidInput(f"{path[:200]!r} is no absolute path to mount on")
        try:
            resolved = asked.parent.resolve() / asked.name
            is_link = resolved.is_symlink()
        except (OSError, RuntimeError) as error:  # too long a name, or links in a circle
            raise errors.InvalidInput(f"{path[:200]!r} is no path to mount on: {error}") from error
        if is_link:
            raise errors.InvalidInput(
                f"{path[:200]!r} is a symbolic link, and a mount there would be one somewhere else"
            )
        return resolved

    def make_folder(self, path: Path) -> None:
        """Makes a folder to mount on, with missing parents; an existing, empty one is kept.

        Raises:
            PreconditionFailed: Something is there that a mount would hide.
        """
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            with os.scandir(path) as found:
                occupied = any(found)
        except OSError as error:
            raise _obstacle(path, error) from error
        if occupied:
            raise errors.PreconditionFailed(
                f"{path} holds files that a mount would hide; it is left as it is. Move them away"
            )

    def make_file(self, path: Path) -> None:
        """Makes an empty file to bind a device on; an existing, empty one is kept.

        Raises:
            PreconditionFailed: Something is there that a mount would hide.
        """
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            status = path.lstat()
        except OSError as error:
            raise _obstacle(path, error) from error
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            raise errors.PreconditionFailed(
                f"{path} is no empty file, and a device there would hide what it is; it is left "
                "as it is. Move it away"
            )

    def remove(self, path: Path) -> None:
        """Removes an empty folder or file that was mounted on; an absent one is no error.

        Raises:
            PreconditionFailed: It holds something; it is left as it is.
        """
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                path.rmdir()
            elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                path.unlink()
            else:
                raise errors.PreconditionFailed(
                    f"{path} is no empty mount point; it is left as it is. Move it away"
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise errors.PreconditionFailed(
                    f"the mount point {path} holds files of somebody; they are left as they are. "
                    "Move them away"
                ) from error
            raise errors.HostFailure(f"cannot remove the mount point {path}: {error}") from error

    def block_device(self, path: Path) -> str | None:
        """Returns `major:minor` of a block device node at a path; None if it is none or absent."""
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISBLK(status.st_mode):
            return None
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"

    def identity(self, path: Path) -> host.FileIdentity | None:
        """Returns device and inode of a file, as loop devices name their backing; None if absent.

        The last part of the path is not followed.
        """
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return host.FileIdentity(status.st_dev, status.st_ino)

    def unchanged_seconds(self, folder: Path) -> float:
        """Returns how long nothing was made or removed in a folder; 0 if that is not known."""
        try:
            return max(0.0, time.time() - folder.stat().st_mtime)
        except OSError:
            return 0.0

    def usage(self, path: Path) -> host.FilesystemUsage:
        """Returns the use of the filesystem that a path lies in.

        Raises:
            HostFailure: It cannot be read.
        """
        try:
            status = os.statvfs(path)
        except OSError as error:
            raise errors.HostFailure(f"cannot read the use of {path}: {error}") from error
        unit = status.f_frsize
        return host.FilesystemUsage(
            total_bytes=status.f_blocks * unit,
            used_bytes=(status.f_blocks - status.f_bfree) * unit,
            available_bytes=status.f_bavail * unit,
            total_inodes=status.f_files,
            used_inodes=status.f_files - status.f_ffree,
            available_inodes=status.f_favail,
        )


def _obstacle(path: Path, error: OSError) -> errors.MooringError:
    if error.errno in _SOMETHING_ELSE:
        return errors.PreconditionFailed(
            f"{path} cannot be a mount point, something else is there: {error}. Move it away"
        )
    return errors.HostFailure(f"cannot make {path}: {error}")
