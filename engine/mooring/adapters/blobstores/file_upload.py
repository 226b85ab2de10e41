"""An object of a directory store on its way: a temporary file that gets the object's name."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from typing import TypeVar

from mooring.adapters.blobstores import store_folder, streamed_file
from mooring.domain import errors
from mooring.ports import blobstores

_STAMP_NANOSECONDS = 1_000_000

T = TypeVar("T")


class FileUpload:
    """A temporary file that becomes an object."""

    def __init__(self, store: store_folder.StoreFolder, key: str) -> None:
        blobstores.check_key(key)
        self._store = store
        self._key = key
        self._folder, self._file, self._name = store.make_temporary()
        self._content = streamed_file.StreamedFile(self._file)
        self._open = True

    def write(self, data: blobstores.Buffer) -> None:
        """See the port."""
        try:
            self._content.write(data)
        except OSError as error:
            raise self._translated(error) from error

    def commit(self) -> None:
        """See the port."""
        try:
            self._sync()
            with self._target() as (folder, name):
                self._link(folder, name)
        except OSError as error:
            raise self._translated(error) from error
        finally:
            self.abandon()

    def replace(self, version: str) -> str:
        """Puts the file in the place of an object that has this version, durably.

        Returns:
            The file's own version.

        Raises:
            PreconditionFailed: The object has another version, or is gone.
        """
        try:
            status = self._sync()
            with self._target() as (folder, name):
                self._rename(folder, name, version)
        except OSError as error:
            raise self._translated(error) from error
        return store_folder.version(status)

    def write_and_end(self, data: blobstores.Buffer, end: Callable[[], T]) -> T:
        """Writes all there is to write, ends the upload in one way or the other, and tidies."""
        try:
            self.write(data)
            return end()
        finally:
            self.abandon()

    def _sync(self) -> os.stat_result:
        """Makes the content durable, written at a time that no other file of this inode had."""
        self._content.finish()
        status = os.fstat(self._file)
        stamp = status.st_mtime_ns // _STAMP_NANOSECONDS * _STAMP_NANOSECONDS
        stamp += secrets.randbelow(_STAMP_NANOSECONDS)
        os.utime(self._file, ns=(status.st_atime_ns, stamp))
        os.fsync(self._file)
        return os.fstat(self._file)

    @contextlib.contextmanager
    def _target(self) -> Iterator[tuple[int, str]]:
        """Opens the folder that the object belongs into, and syncs it afterwards."""
        parent, name = store_folder.split(self._key)
        folder = self._store.open_folder(parent, create=True)
        try:
            yield folder, name
            os.fsync(folder)
        finally:
            os.close(folder)

    def _rename(self, folder: int, name: str, version: str) -> None:
        with self._store.locked():
            if not self._is_at(version):
                raise errors.PreconditionFailed(
                    f"object {self._key} in {self._store.path} was changed by somebody else"
                )
            try:
                os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)
            except FileNotFoundError:
                # An NFS server may have renamed and lost the answer.
                present = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not os.path.samestat(present, os.fstat(self._file)):
                    raise

    def _is_at(self, version: str) -> bool:
        try:
            with self._store.opened(self._key) as file:
                status = os.fstat(file)
        except errors.NotFound:
            return False
        # A network filesystem's client may remember a name's old file, which has no name any more.
        return status.st_nlink > 0 and store_folder.version(status) == version

    def _link(self, folder: int, name: str) -> None:
        try:
            os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)
        except FileExistsError:
            # An NFS server may have linked and lost the answer; then the retry finds our own file.
            if os.fstat(self._file).st_nlink != 2:
                raise errors.AlreadyExists(
                    f"object {self._key} exists already in {self._store.path}"
                ) from None

    def abandon(self) -> None:
        """See the port."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError):  # what stays behind is swept away later
            os.unlink(self._name, dir_fd=self._folder)
        os.close(self._file)
        os.close(self._folder)

    def _translated(self, error: OSError) -> errors.MooringError:
        return self._store.translated(error, f"write {self._key}")
