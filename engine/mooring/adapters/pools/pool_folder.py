"""Opening a pool: its identity file, its lock, and the embedded pool that lies in one file.

A pool has one opener. The lock dies with the process, so a killed agent's successor gets it at
once, while a second agent on the same folder is refused.
"""

import errno
import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mooring.adapters.host import files
from mooring.domain import errors, pools
from mooring.ports.clock import Clock

FORMAT_VERSION = 1
IDENTITY_FILE = "pool.json"
LOCK_FILE = "lock"
OWNER_FILE = "owner.json"
_LOCK_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class PoolIdentity:
    """What a pool says about itself, in its own folder."""

    pool_uuid: str
    backend: pools.PoolBackend
    format_version: int = FORMAT_VERSION

    @property
    def newer(self) -> str:
        """Says why the pool is opened read-only; empty when it is not."""
        if self.format_version <= FORMAT_VERSION:
            return ""
        return (
            f"it was written by a newer Mooring (format version {self.format_version}; this one "
            f"writes {FORMAT_VERSION}), so its volumes are mounted as ever, but nothing in it is "
            "made, changed or deleted until the node runs the newer version again"
        )


class FolderLock:
    """The lock of one folder, held until it is closed or the process ends.

    Args:
        folder: The folder.

    Raises:
        InUse: Another process has the pool open.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(folder / LOCK_FILE, flags, 0o600)
        try:
            self._take()
        except OSError as error:
            os.close(self._descriptor)
            if error.errno != errno.EWOULDBLOCK:
                raise errors.HostFailure(f"cannot lock {folder}: {error}") from error
            raise errors.InUse(
                f"the pool in {folder} is open in another process; a pool serves one agent"
            ) from error

    def _take(self) -> None:
        """Takes the lock; a child that a dead opener was just starting may have it for a moment."""
        deadline_seconds = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while True:
            try:
                return fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_seconds:
                    raise
                time.sleep(0.02)

    def close(self, let_go: Callable[[int], None] = os.close) -> None:
        """Lets others open the pool."""
        let_go(self._descriptor)


def identify(folder: Path, backend: pools.PoolBackend, clock: Clock) -> PoolIdentity:
    """Reads a pool's identity, or gives a new, empty folder one. The caller holds the lock.

    Raises:
        DataCorrupt: The identity cannot be read, or the folder holds what is not a pool.
        InvalidInput: It is a pool of another backend.
        Unsupported: It is a pool of a newer format, in which not even this much is known.
    """
    descriptor = files.open_folder(folder)
    try:
        content = files.read(descriptor, IDENTITY_FILE)
        if content is not None:
            return _parsed(folder, content, backend)
        _require_empty(folder, descriptor)
        identity = PoolIdentity(str(uuid.uuid4()), backend)
        document = {
            "format_version": FORMAT_VERSION,
            "pool_uuid": identity.pool_uuid,
            "backend": backend.value,
            "created": clock.now().isoformat(),
        }
        files.write_durably(
            descriptor, IDENTITY_FILE, json.dumps(document, indent=1).encode() + b"\n"
        )
        return identity
    finally:
        os.close(descriptor)


def _require_empty(folder: Path, descriptor: int) -> None:
    known = {LOCK_FILE, OWNER_FILE, "lost+found", files.temporary_name(IDENTITY_FILE)}
    strangers = sorted(set(files.names(descriptor)) - known)
    if strangers:
        raise errors.DataCorrupt(
            f"{folder} has no {IDENTITY_FILE} but is not empty ({', '.join(strangers[:3])}): "
            "a new pool needs a folder of its own"
        )


def _parsed(folder: Path, content: bytes, backend: pools.PoolBackend) -> PoolIdentity:
    where, version = folder / IDENTITY_FILE, 0
    try:
        document: Any = json.loads(content)
        version = int(document["format_version"])
        identity = PoolIdentity(
            str(uuid.UUID(document["pool_uuid"])), pools.PoolBackend(document["backend"]), version
        )
    except (ValueError, TypeError, KeyError) as error:
        if version > FORMAT_VERSION:
            raise errors.Unsupported(
                f"{where} has format version {version}; this Mooring knows {FORMAT_VERSION}"
            ) from error
        raise errors.DataCorrupt(
            f"{where} cannot be read ({error}); nothing was changed"
        ) from error
    if identity.backend is not backend:
        raise errors.InvalidInput(
            f"the pool in {folder} has the backend {identity.backend.value}, "
            f"but is configured as {backend.value}"
        )
    return identity
