"""The folder of a directory store: how its files are reached, read and begun.

Every path is opened part by part beneath the folder's descriptor, so nothing inside the folder can
lead out of it.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mooring.adapters.blobstores import folder_lock, system_errors
from mooring.domain import errors
from mooring.ports import blobstores

UPLOADS = ".uploads"
ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class StoreFolder:
    """An open folder. Thread-safe.

    Files and folders get the permission bits of the folder itself, so that its administrator
    decides who may read and write them.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder that exists; errors as for `DirectoryBlobStore`."""
        self.path = path
        try:
            self._root = os.open(path, FOLDER_FLAGS & ~os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise errors.NotFound(
                f"there is no folder {path}: make it, or mount what should be there"
            ) from error
        except OSError as error:
            raise self.translated(error, "open") from error
        self._mode = stat.S_IMODE(os.fstat(self._root).st_mode)
        self._swept = False
        self._lock = folder_lock.FolderLock(self._root, self._mode & 0o666, str(path))

    def __del__(self) -> None:
        root = getattr(self, "_root", None)
        if root is not None:
            os.close(root)

    def locks_reach_everyone(self) -> bool:
        """Tells whether `locked` keeps out other machines too, where they can reach the folder."""
        return folder_lock.reaches_everyone(self._root)

    @contextlib.contextmanager
    def locked(self, *, optional: bool = False) -> Iterator[None]:
        """Keeps out everybody who replaces or deletes.

        Args:
            optional: Go on where the filesystem has no locks or no room for one, so that nobody
                replaces anything.

        Raises:
            Unsupported: The filesystem has no locks.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._lock.held())
            except errors.Unsupported:
                if not optional:
                    raise
            except OSError as error:
                if not (optional and system_errors.is_out_of_room(error)):
                    raise
            yield

    def open_folder(self, path: str, *, create: bool = False) -> int:
        """Opens a folder below the root, part by part; the caller closes the descriptor.

        Raises:
            NotFound: It does not exist, and `create` is not set.
        """
        folder = os.dup(self._root)
        try:
            for part in path.split("/") if path else ():
                inner = self._enter(folder, part, create=create)
                os.close(folder)
                folder = inner
        except OSError as error:
            os.close(folder)
            raise self.translated(error, f"open folder {path}") from error
        return folder

    def make_temporary(self) -> tuple[int, int, str]:
        """Makes an empty temporary file.

        Returns:
            Descriptors of its folder and of itself, and its name.
        """
        name = secrets.token_hex(16)
        with contextlib.ExitStack() as on_failure:
            folder = self.open_folder(UPLOADS, create=True)
            on_failure.callback(os.close, folder)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                file = os.open(name, flags, 0o600, dir_fd=folder)
                on_failure.callback(_discard, folder, file, name)
                os.fchmod(file, self._mode & 0o666)
                self._sweep_once(folder, file)
            except OSError as error:
                raise self.translated(error, "write") from error
            on_failure.pop_all()
        return folder, file, name

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[int]:
        """Opens an object's file for reading.

        Raises:
            NotFound: There is none.
        """
        blobstores.check_key(key)
        parent, name = split(key)
        folder = self.open_folder(parent)
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(name, flags, dir_fd=folder)
        except OSError as error:
            raise self.translated(error, f"read {key}") from error
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise errors.NotFound(f"{key} in {self.path} is no plain file")
            yield file
        except OSError as error:
            raise self.translated(error, f"read {key}") from error
        finally:
            os.close(file)

    def read(self, file: int, key: str, offset: int, length: int) -> bytes:
        """Reads so many bytes of an open object.

        Raises:
            DataCorrupt: It ends before.
        """
        data = os.pread(file, length, offset)
        if len(data) == length:
            return data
        parts = [data]
        have = len(data)
        while data and have < length:
            data = os.pread(file, length - have, offset + have)
            parts.append(data)
            have += len(data)
        if have != length:
            raise errors.DataCorrupt(
                f"object {key} in {self.path} ends before byte {offset + length}: it is truncated"
            )
        return b"".join(parts)

    def info(self, key: str) -> blobstores.BlobInfo | None:
        """Returns what is to be said of an object; None when there is none."""
        try:
            with self.opened(key) as file:
                return info(key, os.fstat(file))
        except errors.NotFound:
            return None

    def translated(self, error: OSError, doing: str) -> errors.MooringError:
        """Turns a system call's error into one of the tree."""
        return system_errors.translate(error, f"cannot {doing} in {self.path}")

    def _enter(self, folder: int, part: str, *, create: bool) -> int:
        try:
            return os.open(part, FOLDER_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)
        inner = os.open(part, FOLDER_FLAGS, dir_fd=folder)
        try:
            with contextlib.suppress(PermissionError):  # another user's process made it first
                os.fchmod(inner, self._mode)
            os.fsync(folder)
        except OSError:
            os.close(inner)
            raise
        return inner

    def _sweep_once(self, folder: int, file: int) -> None:
        """Sweeps on the first write; what cannot be swept now hinders no write."""
        if not self._swept:
            self._swept = True
            with contextlib.suppress(OSError):
                _sweep(folder, os.fstat(file).st_mtime - ABANDONED_AFTER_SECONDS)


def split(key: str) -> tuple[str, str]:
    """Splits a key into the path of its folder and its file's name."""
    parent, _, name = key.rpartition("/")
    return parent, name


def info(key: str, status: os.stat_result) -> blobstores.BlobInfo:
    """Returns what a file's status says of its object."""
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return blobstores.BlobInfo(key, status.st_size, modified_at, version(status))


def version(status: os.stat_result) -> str:
    """Returns the version of a file.

    An inode's number comes back when a file is gone; see `FileUpload` for what then differs.
    """
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _discard(folder: int, file: int, name: str) -> None:
    """Removes a temporary file; what stays behind is swept away later."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
    os.close(file)


def _sweep(folder: int, before: float) -> None:
    """Removes temporary files of killed writers; their age is told by the store's own clock."""
    with os.scandir(folder) as found:
        for item in found:
            with contextlib.suppress(OSError):
                if os.stat(item.name, dir_fd=folder, follow_symlinks=False).st_mtime < before:
                    os.unlink(item.name, dir_fd=folder)
