"""Copies files out of a filesystem that nobody trusts, as they are, but for what could do harm.

Nothing is opened through a symbolic link of the source beyond the path that was asked for, and
that one ends within the source. Set-user-id bits, device nodes, sockets and security attributes
stay behind: the machine that files are copied to did not ask for them.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mooring.adapters.host import syscalls
from mooring.domain import errors
from mooring.ports import images

_PIECE_BYTES = 1 << 20
_DEEPEST = 200
_MAXIMUM_NOTES = 20
_MODE_BITS = 0o1777
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG)
_KEPT_ATTRIBUTES = ("system.posix_acl_access", "system.posix_acl_default")
PARTIAL_SUFFIX = ".mooring-partial"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileCopies:
    """One extraction.

    Args:
        root: Open folder that is the root of the source.
        target: Folder that gets the copies.
        report: Told of the bytes as they are copied; may raise to end it.
    """

    def __init__(self, root: int, target: Path, report: Callable[[int], None]) -> None:
        self._root = root
        self._target = target
        self._report = report
        self._bytes = self._files = 0
        self._notes: list[str] = []
        self._links: dict[int, str] = {}
        self._top = -1

    def run(self, paths: list[str]) -> images.Extracted:
        """Copies everything; nothing has its name before it is whole and on the disk.

        Raises:
            NotFound, AlreadyExists, InvalidInput: Before anything is copied.
            DataCorrupt: The source cannot be read.
            SpaceExhausted, HostFailure: The target cannot be written.
        """
        wanted = [(path, self._name(path)) for path in paths]
        names = [name for _, name in wanted]
        if len(set(names)) < len(names):
            raise errors.InvalidInput("two of the paths end in the same name: extract one by one")
        self._top = os.open(self._target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path, name in wanted:
                self._look_at(path, name)
            for path, name in wanted:
                self._copy_whole(path, name)
        finally:
            os.close(self._top)
        return images.Extracted(self._files, self._bytes, tuple(self._notes))

    def _name(self, path: str) -> str:
        name = path.rstrip("/").rpartition("/")[2]
        if name in ("", ".", ".."):
            raise errors.InvalidInput(f"{path!r} has no name of its own: name what is inside it")
        return name

    def _look_at(self, path: str, name: str) -> None:
        parent = self._open_parent(path)
        try:
            os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOWHERE:
                raise _missing(path) from error
            raise
        finally:
            os.close(parent)
        try:
            os.stat(name, dir_fd=self._top, follow_symlinks=False)
        except FileNotFoundError:
            return
        raise errors.AlreadyExists(f"{self._target / name} exists: name another folder with --to")

    def _open_parent(self, path: str) -> int:
        above = ("/" + path.strip("/")).rpartition("/")[0] or "/"
        try:
            return syscalls.open_in_root(self._root, above, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _NOWHERE:
                raise _missing(path) from error
            raise

    def _copy_whole(self, path: str, name: str) -> None:
        partial = name + PARTIAL_SUFFIX
        self._remove(partial)  # of an extraction that was killed
        parent = self._open_parent(path)
        try:
            self._links = {}
            self._prefix = partial
            self._copy(parent, name, self._top, partial, partial)
            syscalls.write_back(self._top)
            os.rename(partial, name, src_dir_fd=self._top, dst_dir_fd=self._top)
            os.fsync(self._top)
        except BaseException:
            self._remove(partial)
            raise
        finally:
            os.close(parent)

    def _remove(self, name: str) -> None:
        try:
            status = os.stat(name, dir_fd=self._top, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=self._top)
        else:
            os.unlink(name, dir_fd=self._top)

    def _copy(self, source: int, name: str, target: int, new: str, where: str) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            self._copy_folder(source, name, target, new, where)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=target)
            os.chown(new, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(new, ns=times, dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            if status.st_nlink > 1 and status.st_ino in self._links:
                os.link(self._links[status.st_ino], new, src_dir_fd=self._top, dst_dir_fd=target)
            else:
                self._copy_file(source, name, target, new)
                self._links[status.st_ino] = where
        else:
            self._note(f"{where.replace(PARTIAL_SUFFIX, '', 1)} is no file, folder or link")
            return
        self._files += 1

    def _copy_folder(self, source: int, name: str, target: int, new: str, where: str) -> None:
        if where.count("/") >= _DEEPEST:
            raise errors.Unsupported(
                f"there are more than {_DEEPEST} folders in each other: name one further inside"
            )
        inner = os.open(name, _FOLDER, dir_fd=source)
        try:
            os.mkdir(new, 0o700, dir_fd=target)
            made = os.open(new, _FOLDER, dir_fd=target)
            try:
                for entry in sorted(os.listdir(inner)):  # noqa: PTH208 (a descriptor, not a path)
                    if entry in ("", ".", "..") or "/" in entry:
                        raise errors.DataCorrupt("the filesystem has a name that is none")
                    self._copy(inner, entry, made, entry, f"{where}/{entry}")
                self._dress(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _copy_file(self, source: int, name: str, target: int, new: str) -> None:
        inner = os.open(name, _READ, dir_fd=source)
        try:
            made = os.open(new, _NEW, 0o600, dir_fd=target)
            try:
                size = os.fstat(inner).st_size
                os.ftruncate(made, size)
                for start, end in _data(inner, size):
                    self._copy_range(inner, made, start, end)
                self._dress(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _copy_range(self, inner: int, made: int, offset: int, end: int) -> None:
        while offset < end:
            data = os.pread(inner, min(_PIECE_BYTES, end - offset), offset)
            if not data:
                raise errors.DataCorrupt("a file ended before its size")
            view = memoryview(data)
            while view:
                count = os.pwrite(made, view, offset)
                view, offset = view[count:], offset + count
            self._bytes += len(data)
            self._report(self._bytes)

    def _dress(self, inner: int, made: int) -> None:
        """Gives a copy owner, attributes, mode and times."""
        status = os.fstat(inner)
        os.fchown(made, status.st_uid, status.st_gid)
        for attribute in os.listxattr(inner):
            if attribute.startswith("user.") or attribute in _KEPT_ATTRIBUTES:
                self._copy_attribute(inner, made, attribute)
        if stat.S_IMODE(status.st_mode) & ~_MODE_BITS:
            self._note("set-user-id and set-group-id bits were left out")
        os.fchmod(made, status.st_mode & _MODE_BITS)
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _copy_attribute(self, inner: int, made: int, attribute: str) -> None:
        try:
            os.setxattr(made, attribute, os.getxattr(inner, attribute))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA):
                raise
            self._note(f"attribute {attribute} cannot be kept there")

    def _note(self, text: str) -> None:
        if text not in self._notes and len(self._notes) < _MAXIMUM_NOTES:
            self._notes.append(text)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields where a sparse file has data."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, min(end, size)


def _missing(path: str) -> errors.NotFound:
    return errors.NotFound(
        f"there is no {path!r} in the backup: paths begin at the root of its filesystem, and "
        "`mooring mount` shows what is there"
    )
