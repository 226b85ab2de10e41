"""A mount namespace of the test process's own.

Whoever starts a container or another mount namespace copies all mounts that it sees, and a
loop device stays busy while such a copy lives. Tests whose mounts nobody else can see are not
disturbed by a cluster that is started beside them, and do not pin its mounts either.
"""

import ctypes
import functools
import os

from mooring.adapters import registry

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def enter() -> None:
    """Moves this thread, and all that it starts, into a mount namespace of its own, once."""
    _call(_libc.unshare(_CLONE_NEWNS), "unshare")
    _call(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None), "mount")
    for mount in reversed(registry.kernel_host().mounts.table()):
        if mount.source.startswith("/dev/loop"):
            _libc.umount2(os.fsencode(mount.target), _MNT_DETACH)


def _call(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)
