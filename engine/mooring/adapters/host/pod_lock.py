"""Tells a process that every other one of its pod is dead: a file lock in the pod's own folder.

The kernel gives a lock back when its holder has ended, and not before: one that is only stopped
(SIGSTOP) has it still.
"""

import fcntl
import os
from pathlib import Path

_FILE = "process.lock"


def take(folder: Path) -> bool:
    """Takes the lock for the rest of this process's life; False when another one lives.

    Args:
        folder: One that all containers of one pod see and nobody else, such as an emptyDir.

    Raises:
        OSError: The folder is not there, or may not be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / _FILE, flags, 0o600)  # open until the process ends
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
