"""How a command is stopped by Ctrl-C or SIGTERM: it is asked, and soon after it is ended.

Work that waits for a store may look only after minutes whether it shall stop, and Python runs
handlers of signals in a thread that may be the one that waits. So a thread of its own is woken by
them, and ends the process when the work has not ended in time, or when it is asked again. Nothing
is lost by that: every step survives a kill.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

from mooring.domain import errors
from mooring_cli import exits

PATIENCE_SECONDS = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOBODY = -1


@contextlib.contextmanager
def stoppable(
    last_words: Callable[[], None], *, interrupts: bool = False
) -> Iterator[threading.Event]:
    """Catches the signals; for the main thread, and may be nested.

    Args:
        last_words: Called before the process is ended, in another thread.
        interrupts: Whether the first signal also raises `Cancelled` in the main thread, for work
            that does not look at what is yielded.

    Returns:
        Set once it was asked to stop.
    """
    asked = threading.Event()
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    handler = _interrupt if interrupts else _note
    listener = threading.Thread(
        target=_listen, args=(woken, asked, last_words), name="mooring-signals", daemon=True
    )
    with contextlib.closing(waker), _caught(handler, waker.fileno()):
        listener.start()
        yield asked


@contextlib.contextmanager
def asked_only() -> Iterator[threading.Event]:
    """Catches the signals, and ends nothing: for work that ends when others let it."""
    asked = threading.Event()
    with _caught(lambda *_: asked.set(), _NOBODY):
        yield asked


@contextlib.contextmanager
def _caught(handler: Callable[..., object], waker: int) -> Iterator[None]:
    """Handles the signals, and lets each wake who reads at the other end of a descriptor."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    waker_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker_before)
        for number, earlier in before.items():
            signal.signal(number, earlier)


def cancelled() -> errors.Cancelled:
    """Returns what a command is told that was stopped."""
    return errors.Cancelled("it was asked to stop before it was done")


def complain(program: str) -> None:
    """Says that the command was stopped, past everything that another thread may hold."""
    shown = b"\x1b[?25h\n" if os.isatty(2) else b""  # the cursor, which a progress bar hides
    os.write(2, shown + exits.words(program, cancelled()).encode() + b"\n")


def _note(*_: object) -> None:
    """The thread that listens has been woken already."""


def _interrupt(*_: object) -> None:
    raise cancelled()


def _listen(woken: socket.socket, asked: threading.Event, last_words: Callable[[], None]) -> None:
    end: float | None = None
    with woken:
        while True:
            woken.settimeout(None if end is None else max(end - time.monotonic(), 0.001))
            try:
                numbers = woken.recv(64)
            except TimeoutError:
                _end(last_words)
            if not numbers:
                return  # the work has ended
            for number in numbers:
                if number not in SIGNALS:
                    continue
                if asked.is_set():
                    _end(last_words)
                asked.set()
                end = time.monotonic() + PATIENCE_SECONDS


def _end(last_words: Callable[[], None]) -> None:
    try:
        last_words()
    finally:
        os._exit(exits.exit_code(cancelled()))
