"""Thawing what is known by an open folder, or only by its record."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from mooring.adapters.host import syscalls
from mooring.planning import freezes

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05
_MOUNT_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def thaw(folder: int) -> bool:
    """Thaws the filesystem that an open folder lies in; returns whether it was frozen.

    Raises:
        OSError: The kernel refused again and again.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(OSError):
            return _thaw(folder)
        time.sleep(_PAUSE_SECONDS)  # given up, it would be frozen for good
    return _thaw(folder)


def _thaw(folder: int) -> bool:
    try:
        syscalls.thaw(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def thaw_recorded(recorded: freezes.Freeze) -> bool:
    """Thaws what a record names; returns whether it was frozen.

    Raises:
        OSError: It is mounted nowhere that this process sees, or the kernel refused.
    """
    folder = _open(recorded)
    try:
        return thaw(folder)
    finally:
        os.close(folder)


def _open(recorded: freezes.Freeze) -> int:
    for place in _places(recorded):
        try:
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # unmounted meanwhile
        if os.fstat(folder).st_dev == recorded.device:
            return folder
        os.close(folder)
    raise OSError(errno.ENOENT, f"the filesystem of {recorded.mountpoint} is mounted nowhere")


def _places(recorded: freezes.Freeze) -> Iterator[bytes]:
    """Yields where the filesystem may be mounted: first where it was."""
    yield os.fsencode(recorded.mountpoint)
    number = f"{os.major(recorded.device)}:{os.minor(recorded.device)}".encode()
    for line in _MOUNT_TABLE.read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        # A btrfs shows a number in the mount table that is not the one of its folders.
        if fields[2] == number or after.startswith(b"btrfs "):
            yield _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
