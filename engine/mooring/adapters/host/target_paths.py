"""Mount points named by the kubelet: made before a mount, removed after it, never entered."""

import os
import stat
from pathlib import Path

from mooring.domain import errors
from mooring.ports import host


class KernelPaths:
    """Paths of this process's namespace."""

    def resolve(self, path: str) -> Path:
        """Returns the real path that the mount table will show; the last part is not followed.

        Raises:
            InvalidInput: It is not absolute, has a `..` or strange characters, or ends in a
                symbolic link.
        """
        asked = Path(path)
        strange = any(ord(character) < 32 for character in path)
        if not asked.is_absolute() or ".." in asked.parts or strange or len(asked.parts) < 3:
            raise errors.InvalidInput(f"{path[:200]!r} is no absolute path to mount on")
        resolved = asked.parent.resolve() / asked.name
        if resolved.is_symlink():
            raise errors.InvalidInput(f"{path[:200]!r} is a symbolic link")
        return resolved

    def make_folder(self, path: Path) -> None:
        """Makes a folder to mount on, with missing parents; an existing one is kept."""
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise errors.HostFailure(f"cannot make {path}: {error}") from error

    def make_file(self, path: Path) -> None:
        """Makes an empty file to bind a device on; an existing one is kept."""
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            os.close(os.open(path, flags, 0o600))
        except OSError as error:
            raise errors.HostFailure(f"cannot make {path}: {error}") from error

    def remove(self, path: Path) -> None:
        """Removes an empty folder or file that was mounted on; an absent one is no error.

        Raises:
            HostFailure: It holds something; it is left as it is.
        """
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                path.rmdir()
            elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                path.unlink()
            else:
                raise errors.HostFailure(f"{path} is no empty mount point; it is left as it is")
        except FileNotFoundError:
            return
        except OSError as error:
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
