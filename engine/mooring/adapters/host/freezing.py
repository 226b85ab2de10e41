"""Freezing that cannot be forgotten: a process of its own holds the freeze and always ends it.

A freeze lives in the kernel, so a killed agent would leave the application frozen for good. The
watchdog (`freeze_watchdog.py`) has the folder open and its timer armed before it freezes; it
thaws on a word, when the pipe to its parent closes, and when its time is up.
"""

import contextlib
import errno
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import files, syscalls
from mooring.domain import errors

_WATCHDOG = Path(__file__).with_name("freeze_watchdog.py")
_GRACE_SECONDS = 20.0
"""How long beyond its own time the watchdog may take to sync, freeze and answer."""


@contextmanager
def frozen(mountpoint: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Freezes the filesystem at a mount point for the time of a `with` block.

    Raises:
        HostFailure: It could not be frozen, or it was thawed before the block ended.
    """
    if timeout_seconds <= 0:
        raise errors.InvalidInput("a freeze needs a timeout above 0 seconds")
    folder = files.open_folder(mountpoint)
    try:
        watchdog = _start(folder, timeout_seconds)
        try:
            answer = _answer(watchdog, timeout_seconds + _GRACE_SECONDS)
            if answer != "frozen":
                raise errors.HostFailure(f"cannot freeze {mountpoint}: {answer}")
            try:
                yield
            finally:
                ending = _release(watchdog, folder)
            if ending != "thawed":
                raise errors.HostFailure(
                    f"{mountpoint} was thawed before the work on it ended ({ending}); "
                    "what was made is not a point in time"
                )
        finally:
            _reap(watchdog)
    finally:
        os.close(folder)


def thaw(mountpoint: Path) -> None:
    """Thaws a filesystem that an earlier process may have left frozen; otherwise a no-op.

    Raises:
        HostFailure: The kernel refused.
    """
    folder = files.open_folder(mountpoint)
    try:
        _thaw(folder)
    except OSError as error:
        raise errors.HostFailure(f"cannot thaw {mountpoint}: {error}") from error
    finally:
        os.close(folder)


def _thaw(folder: int) -> bool:
    try:
        syscalls.thaw(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _start(folder: int, timeout_seconds: float) -> subprocess.Popen[bytes]:
    # -I and -S: nothing of the environment or of site-packages is loaded, so it starts fast.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_WATCHDOG), str(folder), repr(timeout_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(folder,),
        start_new_session=True,
        bufsize=0,
    )


def _answer(watchdog: subprocess.Popen[bytes], timeout_seconds: float) -> str:
    """Returns one line of the watchdog, or what stands for its silence."""
    if watchdog.stdout is None:
        raise errors.HostFailure("the freeze watchdog has no pipe")
    descriptor = watchdog.stdout.fileno()
    deadline = time.monotonic() + timeout_seconds
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return "the watchdog did not answer in time"
        piece = os.read(descriptor, 256)
        if not piece:
            return "the watchdog ended without a word"
        line += piece
    return line.decode(errors="replace").strip()


def _release(watchdog: subprocess.Popen[bytes], folder: int) -> str:
    if watchdog.stdin is not None:
        # When it is gone already, its last word is still in the other pipe.
        with contextlib.suppress(BrokenPipeError):
            os.write(watchdog.stdin.fileno(), b"thaw\n")
    answer = _answer(watchdog, _GRACE_SECONDS)
    if answer not in {"thawed", "expired"}:
        # It was killed: if the freeze still stands, all that was done inside is sound.
        return "thawed" if _thaw(folder) else answer
    return answer


def _reap(watchdog: subprocess.Popen[bytes]) -> None:
    for pipe in (watchdog.stdin, watchdog.stdout):
        if pipe is not None:
            pipe.close()
    try:
        watchdog.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        # It hangs in the kernel and thaws as soon as that returns; killing would prevent this.
        watchdog.returncode = -1
