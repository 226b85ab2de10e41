"""The process that mounts an image which another process serves, and copies files out of it.

It is one of its own so that the server never waits for itself: a process that is killed while it
waits for its own answer would never end. A request comes as its argument; answers go to standard
output, one JSON object a line. A byte on standard input asks it to end, and when that ends, it
does so whoever still uses what is mounted.
"""

import contextlib
import enum
import errno
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from mooring.adapters.host import syscalls
from mooring.adapters.host.images import file_copies, fuse_server
from mooring.adapters.host.loops import KernelLoops
from mooring.domain import errors

_SECTOR_BYTES = 512
"""Every filesystem fits on the smallest sectors, also one that was made for larger ones."""

_ATTRIBUTES = (
    syscalls.MOUNT_ATTR_RDONLY
    | syscalls.MOUNT_ATTR_NOSUID
    | syscalls.MOUNT_ATTR_NODEV
    | syscalls.MOUNT_ATTR_NOEXEC
)
_OPTIONS: dict[str, dict[str, str | None]] = {
    # What a filesystem says of itself must not stop this machine.
    "ext4": {"errors": "remount-ro"},
    "xfs": {"nouuid": None},
    "btrfs": {},
}
_DAMAGED = (errno.EUCLEAN, errno.EBADMSG, errno.EIO)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_RETRY_SECONDS = 0.5


def main() -> None:
    """Does what the request says, and answers."""
    request = json.loads(sys.argv[1])
    try:
        mount = _mount(request["mount"], request["filesystem"])
        if request["paths"] is None:
            _show(mount, Path(request["target"]))
            _say(done={})
        else:
            _say(done=_extract(mount, request["paths"], Path(request["target"])))
    except errors.MooringError as error:
        _say(error=type(error).__name__, message=str(error))
    except OSError as error:
        _say(error=_kind(error).__name__, message=f"{error.filename or ''}: {error.strerror}")


def _mount(fuse_mount: int, filesystem: str) -> int:
    """Mounts the image nowhere; the journal is replayed into the server's scratch file."""
    path = Path(f"/proc/self/fd/{fuse_mount}") / fuse_server.FILE_NAME
    device, descriptor = KernelLoops().lend(path, sector_size_bytes=_SECTOR_BYTES)
    os.close(fuse_mount)
    try:
        options = {"source": str(device), "ro": None, **_OPTIONS[filesystem]}
        return syscalls.mount_detached(filesystem, options, attributes=_ATTRIBUTES)
    except OSError as error:
        raise errors.DataCorrupt(
            f"the {filesystem} in the backup cannot be mounted: {error.strerror}"
        ) from error
    finally:
        os.close(descriptor)


def _extract(mount: int, paths: list[str], target: Path) -> dict[str, Any]:
    def report(copied: int) -> None:
        if _asked() is not None:
            raise errors.Cancelled("it was asked to stop before everything was copied")
        _say(copied=copied)

    extracted = file_copies.FileCopies(mount, target, report).run(paths)
    return {"files": extracted.files, "bytes": extracted.bytes, "notes": extracted.notes}


def _show(mount: int, target: Path) -> None:
    try:
        syscalls.attach_mount(mount, target)
        device = os.fstat(mount).st_dev
    finally:
        os.close(mount)
    _say(shown=True)
    leaving = False
    while not _is_gone(target, device):
        asked = _asked(_RETRY_SECONDS)
        if asked is _Asked.NOW:
            syscalls.unmount_lazily(target)
            return
        leaving = leaving or asked is _Asked.WHEN_IDLE
        if leaving and not _unmounted(target):
            _say(busy=True)


def _unmounted(target: Path) -> bool:
    try:
        syscalls.unmount(target)
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def _is_gone(target: Path, device: int) -> bool:
    try:
        return target.stat().st_dev != device
    except OSError:
        return True


class _Asked(enum.Enum):
    WHEN_IDLE = enum.auto()
    NOW = enum.auto()


def _asked(timeout_seconds: float = 0) -> _Asked | None:
    """Returns what standard input asks for, within some time."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], timeout_seconds)
    if not readable:
        return None
    return _Asked.WHEN_IDLE if os.read(sys.stdin.fileno(), 1) else _Asked.NOW


def _kind(error: OSError) -> type[errors.MooringError]:
    if error.errno in _DAMAGED:
        return errors.DataCorrupt
    if error.errno in _FULL:
        return errors.SpaceExhausted
    return errors.HostFailure


def _say(**words: Any) -> None:
    # Nobody may listen any more; what is mounted has to go all the same.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
