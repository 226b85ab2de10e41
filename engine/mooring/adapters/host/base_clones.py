"""Clones of files as they were when they were last backed up, kept in a folder of the user's.

A file that shares blocks with its clone tells what has changed since. There is one clone for each
volume and repository: the next one is made first, and the one before goes once the next backup
stands and is on record. A clone that is not what is on record any more is not believed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mooring.adapters.host import extent_maps, files, syscalls
from mooring.domain import backups, errors

_FORMAT_VERSION = 1
_IMAGE_SUFFIX = ".image"
_CANNOT_SHARE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def opened(
    folder: Path, volume_uid: str, repository_id: backups.RepositoryId
) -> Iterator["BaseClones"]:
    """Opens the clones of one volume for one repository, alone; makes the folder if needed.

    Raises:
        NotFound: There is no folder to make it in.
        InvalidInput: It is no folder.
        PermissionDenied: It may not be entered or written to.
        InUse: Another backup of the same volume to the same repository runs.
    """
    key = hashlib.sha256(f"{repository_id}\n{volume_uid}".encode()).hexdigest()[:32]
    descriptor = _enter(folder)
    try:
        with _locked(folder, descriptor, key):
            clones = BaseClones(folder, descriptor, key, repository_id)
            try:
                yield clones
            finally:
                clones.tidy()
    finally:
        os.close(descriptor)


class BaseClones:
    """The clones of one volume for one repository.

    Args:
        path: The folder.
        folder: The same, open.
        key: Begins the names of all files of this volume and repository.
        repository_id: The repository.
    """

    def __init__(
        self, path: Path, folder: int, key: str, repository_id: backups.RepositoryId
    ) -> None:
        self._path = path
        self._folder = folder
        self._key = key
        self._repository_id = repository_id
        self._made: str | None = None
        self.tidy()

    def make(self, source: Path) -> Path:
        """Clones a file as it is now; returns the clone, which nobody writes to.

        Raises:
            NotFound: There is no such file.
            InvalidInput: It is a device, or no file at all.
            Unsupported: File and folder cannot share blocks.
            SpaceExhausted: There is no room.
        """
        name = f"{self._key}.{secrets.token_hex(8)}{_IMAGE_SUFFIX}"
        with _opened_file(source) as original, self._shared(source):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            clone = os.open(name, flags, 0o400, dir_fd=self._folder)
            self._made = name
            try:
                syscalls.clone_file(original, clone)
                os.fsync(clone)
                os.fsync(self._folder)
            finally:
                os.close(clone)
        return self._path / name

    @contextmanager
    def changed(self) -> Iterator[tuple[backups.Changes | None, str]]:
        """Finds what the clone made differs in from the one before; None and why it is not known.

        Raises:
            HostFailure: The filesystem does not tell.
        """
        record = self._record()
        if record is None:
            yield None, "nothing was kept of an earlier backup to this repository"
            return
        with contextlib.ExitStack() as stack:
            base = stack.enter_context(self._image(record["image"]))
            if base is None or _seal(base) != record["seal"]:
                yield None, f"the clone {self._path / record['image']} is gone or was touched"
                return
            made = stack.enter_context(self._image(self._made or ""))
            if made is None:
                raise errors.HostFailure(f"the clone in {self._path} is gone")
            ranges = stack.enter_context(extent_maps.changed(base, made))
            why = "" if ranges.trusted else "the clone moved on its disk meanwhile"
            yield (
                backups.Changes(
                    backups.BackupId(record["backup_id"]),
                    self._repository_id,
                    os.fstat(base).st_size,
                    ranges,
                ),
                why,
            )

    def keep(self, backup_id: backups.BackupId) -> None:
        """Keeps the clone made, whose content is that of a backup, in place of the one before."""
        with self._image(self._made or "") as made:
            if made is None or self._made is None:
                raise errors.HostFailure(f"the clone in {self._path} is gone")
            document = {
                "format_version": _FORMAT_VERSION,
                "backup_id": backup_id,
                "repository_id": self._repository_id,
                "image": self._made,
                "seal": _seal(made),
            }
        with self._shared(self._path):
            content = json.dumps(document, indent=1).encode() + b"\n"
            files.write_durably(self._folder, f"{self._key}.json", content)

    def tidy(self) -> None:
        """Removes what is not on record: what was replaced, and what a killed backup left."""
        record = self._record()
        kept = record["image"] if record else None
        for name in files.names(self._folder):
            ours = name.startswith(f"{self._key}.") and name.endswith(_IMAGE_SUFFIX)
            if ours and name != kept:
                files.remove_durably(self._folder, name)

    def _record(self) -> dict[str, Any] | None:
        """Returns what is on record; anything else than a whole record is none."""
        content = files.read(self._folder, f"{self._key}.json")
        with contextlib.suppress(ValueError, TypeError, KeyError, errors.InvalidInput):
            document: dict[str, Any] = json.loads(content or b"")
            backups.parse_backup_id(document["backup_id"])
            known = document["format_version"] == _FORMAT_VERSION
            own = str(document["image"]).startswith(f"{self._key}.")
            if known and own and document["repository_id"] == self._repository_id:
                return {name: document[name] for name in ("backup_id", "image", "seal")}
        return None

    @contextmanager
    def _image(self, name: str) -> Iterator[int | None]:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self._folder)
        except OSError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _shared(self, source: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _CANNOT_SHARE:
                raise errors.Unsupported(
                    f"{source} and a file in {self._path} cannot share blocks: tracking needs a "
                    "folder on the same XFS or btrfs filesystem. Name one with --track, or leave "
                    "--track out to read everything each time"
                ) from error
            if error.errno in _NO_SPACE:
                raise errors.SpaceExhausted(
                    f"there is no room in {self._path} to track {source}: make some, or leave "
                    "--track out"
                ) from error
            raise errors.HostFailure(
                f"cannot track {source} in {self._path}: {error.strerror}"
            ) from error


def _seal(descriptor: int) -> list[int]:
    """Returns what stays the same as long as nobody touches a file."""
    status = os.fstat(descriptor)
    return [status.st_ino, status.st_size, status.st_ctime_ns]


def _enter(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return files.open_folder(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise errors.InvalidInput(f"{folder} is a file, not a folder") from error
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no folder {folder.parent}: make it first") from error
    except OSError as error:
        raise errors.PermissionDenied(f"cannot use {folder}: {error.strerror}") from error


@contextmanager
def _locked(folder: Path, descriptor: int, key: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(f"{key}.lock", flags, 0o600, dir_fd=descriptor)
    except OSError as error:
        raise errors.PermissionDenied(f"cannot write to {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.InUse(
                f"another backup of this volume to this repository uses {folder}: wait for its end"
            ) from error
        yield
    finally:
        os.close(lock)


@contextmanager
def _opened_file(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no {path}") from error
    except OSError as error:
        raise errors.PermissionDenied(f"cannot open {path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise errors.InvalidInput(
                f"{path} is no file, and only files on XFS or btrfs can be tracked: leave --track "
                "out"
            )
        yield descriptor
    finally:
        os.close(descriptor)
