"""A blob store in a folder: a disk, an NFS mount, a volume of the cluster.

An own implementation, because the libraries' local stores promise no fsync and follow symbolic
links. An object is written to a temporary file, synced, linked under its name (which fails when
the name is taken, also between machines) and its folder is synced. Every path is opened part by
part beneath the folder's descriptor, so nothing inside the folder can lead out of it.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mooring.domain import errors
from mooring.ports import blobstores

UPLOADS = ".uploads"
ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ODD_PATH = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR}


class DirectoryBlobStore:
    """Objects as files below one folder. Thread-safe.

    Files and folders get the permission bits of the folder itself, so that its administrator
    decides who may read and write them.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a folder that exists.

        Raises:
            NotFound: There is no such folder.
            PermissionDenied: It may not be entered.
        """
        self._path = folder
        try:
            self._root = os.open(folder, _FOLDER)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise errors.NotFound(
                f"there is no folder {folder}: make it, or mount what should be there"
            ) from error
        except OSError as error:
            raise self._translated(error, "open") from error
        self._mode = stat.S_IMODE(os.fstat(self._root).st_mode)
        self._swept = False

    def __del__(self) -> None:
        root = getattr(self, "_root", None)
        if root is not None:
            os.close(root)

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._path)

    def put(self, key: str, data: blobstores.Buffer, *, create_only: bool = True) -> None:
        """See the port."""
        upload = _FileUpload(self, key)
        try:
            upload.write(data)
            upload.publish(replace=not create_only)
        finally:
            upload.abandon()

    def upload(self, key: str) -> blobstores.Upload:
        """See the port."""
        return _FileUpload(self, key)

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        with self._opened(key) as file:
            size_bytes = os.fstat(file).st_size
            if size_bytes > limit_bytes:
                raise errors.DataCorrupt(
                    f"object {key} has {size_bytes} bytes, more than the {limit_bytes} "
                    "that it may have"
                )
            return self._read(file, key, 0, size_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        with self._opened(key) as file:
            return self._read(file, key, offset, length)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        """See the port."""
        try:
            with self._opened(key) as file:
                return _info(key, os.fstat(file))
        except errors.NotFound:
            return None

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        """See the port."""
        parent, stem = _split(prefix)
        try:
            folder = self.open_folder(parent)
        except errors.NotFound:
            return
        try:
            yield from self._walk(folder, f"{parent}/" if parent else "", stem)
        except OSError as error:
            raise self._translated(error, f"list {prefix}") from error
        finally:
            os.close(folder)

    def delete(self, key: str) -> None:
        """See the port."""
        blobstores.check_key(key)
        parent, name = _split(key)
        try:
            folder = self.open_folder(parent)
        except errors.NotFound:
            return
        try:
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._translated(error, f"delete {key}") from error
        finally:
            os.close(folder)

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
            raise self._translated(error, f"open folder {path}") from error
        return folder

    def make_temporary(self) -> tuple[int, int, str]:
        """Makes an empty temporary file.

        Returns:
            Descriptors of its folder and of itself, and its name.
        """
        folder = self.open_folder(UPLOADS, create=True)
        name = secrets.token_hex(16)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(name, flags, 0o600, dir_fd=folder)
            os.fchmod(file, self._mode & 0o666)
            if not self._swept:
                self._swept = True
                _sweep(folder, os.fstat(file).st_mtime - ABANDONED_AFTER_SECONDS)
        except OSError as error:
            os.close(folder)
            raise self._translated(error, "write") from error
        return folder, file, name

    def _enter(self, folder: int, part: str, *, create: bool) -> int:
        try:
            return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)
        inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        with contextlib.suppress(PermissionError):  # another user's process made it first
            os.fchmod(inner, self._mode)
        os.fsync(folder)
        return inner

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        blobstores.check_key(key)
        parent, name = _split(key)
        folder = self.open_folder(parent)
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(name, flags, dir_fd=folder)
        except OSError as error:
            raise self._translated(error, f"read {key}") from error
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise errors.NotFound(f"{key} in {self._path} is no plain file")
            yield file
        except OSError as error:
            raise self._translated(error, f"read {key}") from error
        finally:
            os.close(file)

    def _read(self, file: int, key: str, offset: int, length: int) -> bytes:
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
                f"object {key} in {self._path} ends before byte {offset + length}: it is truncated"
            )
        return b"".join(parts)

    def _walk(self, folder: int, prefix: str, stem: str) -> Iterator[blobstores.BlobInfo]:
        with os.scandir(folder) as found:
            names = sorted(item.name for item in found if item.name.startswith(stem))
        for name in names:
            if not blobstores.is_part(name):
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield _info(prefix + name, status)
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    continue
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            except FileNotFoundError:
                continue  # deleted meanwhile
            try:
                yield from self._walk(inner, f"{prefix}{name}/", "")
            finally:
                os.close(inner)

    def _translated(self, error: OSError, doing: str) -> errors.MooringError:
        return translate(error, f"cannot {doing} in {self._path}")


class _FileUpload:
    """A temporary file that becomes an object."""

    def __init__(self, store: DirectoryBlobStore, key: str) -> None:
        blobstores.check_key(key)
        self._store = store
        self._key = key
        self._folder, self._file, self._name = store.make_temporary()
        self._open = True

    def write(self, data: blobstores.Buffer) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise self._translated(error) from error

    def commit(self) -> None:
        try:
            self.publish(replace=False)
        finally:
            self.abandon()

    def publish(self, *, replace: bool) -> None:
        """Syncs the file and gives it its name."""
        parent, name = _split(self._key)
        try:
            os.fsync(self._file)
            target = self._store.open_folder(parent, create=True)
            try:
                if replace:
                    os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=target)
                else:
                    self._link(name, target)
                os.fsync(target)
            finally:
                os.close(target)
        except OSError as error:
            raise self._translated(error) from error

    def _link(self, name: str, target: int) -> None:
        try:
            os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=target)
        except FileExistsError:
            # An NFS server may have linked and lost the answer; then the retry finds our own file.
            if os.fstat(self._file).st_nlink != 2:
                raise errors.AlreadyExists(
                    f"object {self._key} exists already in {self._store.location}"
                ) from None

    def abandon(self) -> None:
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError):  # what stays behind is swept away later
            os.unlink(self._name, dir_fd=self._folder)
        os.close(self._file)
        os.close(self._folder)

    def _translated(self, error: OSError) -> errors.MooringError:
        return translate(error, f"cannot write {self._key} in {self._store.location}")


def translate(error: OSError, doing: str) -> errors.MooringError:
    """Turns a system call's error into one of the tree.

    Args:
        error: As raised.
        doing: For the message: `cannot read x in y`.
    """
    why = f"{doing}: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _NO_ROOM:
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


def _split(key: str) -> tuple[str, str]:
    parent, _, name = key.rpartition("/")
    return parent, name


def _info(key: str, status: os.stat_result) -> blobstores.BlobInfo:
    return blobstores.BlobInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _sweep(folder: int, before: float) -> None:
    """Removes temporary files of killed writers; their age is told by the store's own clock."""
    with os.scandir(folder) as found:
        for item in found:
            with contextlib.suppress(OSError):
                if os.stat(item.name, dir_fd=folder, follow_symlinks=False).st_mtime < before:
                    os.unlink(item.name, dir_fd=folder)
