"""A blob store in a folder: a disk, an NFS mount, a volume of the cluster.

An own implementation, because the libraries' local stores promise no fsync and follow symbolic
links. An object is written to a temporary file, synced, linked under its name (which fails when
the name is taken, also between machines) and its folder is synced. To replace one, it is looked at
and renamed over under a lock.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mooring.adapters.blobstores import file_upload, store_folder, trial
from mooring.domain import errors
from mooring.ports import blobstores


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
        self._folder = store_folder.StoreFolder(folder)
        self._conditional: bool | None = None

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._folder.path)

    def conditional_writes(self) -> bool:
        """See the port."""
        if self._conditional is None:
            common = self._folder.locks_reach_everyone()
            self._conditional = common and trial.writes_are_conditional(self)
        return self._conditional

    def put(self, key: str, data: blobstores.Buffer) -> None:
        """See the port."""
        upload = file_upload.FileUpload(self._folder, key)
        upload.write_and_end(data, upload.commit)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        """See the port."""
        upload = file_upload.FileUpload(self._folder, key)
        return upload.write_and_end(data, lambda: upload.replace(version))

    def upload(self, key: str) -> blobstores.Upload:
        """See the port."""
        return file_upload.FileUpload(self._folder, key)

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """See the port."""
        with self._folder.opened(key) as file:
            size_bytes = os.fstat(file).st_size
            if size_bytes > limit_bytes:
                raise errors.DataCorrupt(
                    f"object {key} has {size_bytes} bytes, more than the {limit_bytes} "
                    "that it may have"
                )
            return self._folder.read(file, key, 0, size_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        with self._folder.opened(key) as file:
            return self._folder.read(file, key, offset, length)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        """See the port."""
        return self._folder.info(key)

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        """See the port."""
        parent, stem = store_folder.split(prefix)
        try:
            folder = self._folder.open_folder(parent)
        except errors.NotFound:
            return
        try:
            yield from self._walk(folder, f"{parent}/" if parent else "", stem)
        except OSError as error:
            raise self._folder.translated(error, f"list {prefix}") from error
        finally:
            os.close(folder)

    def delete(self, key: str) -> None:
        """See the port."""
        blobstores.check_key(key)
        parent, name = store_folder.split(key)
        try:
            folder = self._folder.open_folder(parent)
        except errors.NotFound:
            return
        try:
            with self._folder.locked(optional=True):  # else a `replace` could bring it back
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._folder.translated(error, f"delete {key}") from error
        finally:
            os.close(folder)

    def _walk(self, folder: int, prefix: str, stem: str) -> Iterator[blobstores.BlobInfo]:
        with os.scandir(folder) as found:
            names = sorted(item.name for item in found if item.name.startswith(stem))
        for name in names:
            if not blobstores.is_part(name):
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield store_folder.info(prefix + name, status)
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    continue
                inner = os.open(name, store_folder.FOLDER_FLAGS, dir_fd=folder)
            except FileNotFoundError:
                continue  # deleted meanwhile
            try:
                yield from self._walk(inner, f"{prefix}{name}/", "")
            finally:
                os.close(inner)
