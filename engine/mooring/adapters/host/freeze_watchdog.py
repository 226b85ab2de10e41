"""The watchdog of one freeze, run as a script of its own. It imports nothing of Mooring.

Arguments: the descriptor of a folder in the filesystem, and the seconds after which it thaws.
It answers `frozen` or the reason why not; then, when the freeze ends, `thawed` if it was told to
end it and `expired` if its time was up. It ends the freeze on any byte and on end of file of its
standard input, on SIGTERM, and when its time is up.
"""

import errno
import fcntl
import os
import select
import signal
import sys
import time

_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878


def _say(word: str) -> None:
    try:
        os.write(sys.stdout.fileno(), f"{word}\n".encode())
    except OSError:
        return  # the parent is gone; thawing is all that is left to do


def _thaw(folder: int) -> bool:
    try:
        fcntl.ioctl(folder, _FITHAW, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def watch(folder: int, timeout_seconds: float) -> None:
    """Freezes, waits for the end, thaws."""
    deadline = time.monotonic() + timeout_seconds
    # SIGTERM wakes the wait below through this pipe; terminal signals are the parent's affair.
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        fcntl.ioctl(folder, _FIFREEZE, 0)
    except OSError as error:
        _say(f"{errno.errorcode.get(error.errno or 0, '?')} {error.strerror}")
        return
    try:
        expired = time.monotonic() >= deadline
        if not expired:
            _say("frozen")
            left_seconds = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [], left_seconds)
            expired = sys.stdin.fileno() not in ready
    finally:
        held = _thaw(folder)
    _say("thawed" if held and not expired else "expired")


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]))
