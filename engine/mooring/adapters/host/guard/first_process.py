"""The loop of the guard: runs a process, starts it again, reaps, passes signals on, serves freezes.

As a container's first process it gets no default signal handlers and inherits every orphan.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping, Sequence

from mooring.adapters.host import commands
from mooring.adapters.host.guard.holding import HeldFreezes
from mooring.adapters.host.guard.notes import note
from mooring.planning import supervision

_PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_IGNORED = (signal.SIGHUP, signal.SIGPIPE)
_THAW_SECONDS = 5.0
_WAIT_SECONDS = 3600.0


class FirstProcess:
    """A guard that has not started yet.

    Args:
        command: What it runs; empty runs nothing.
        freezes: The freezes that it holds.
        listener: Where freezes are asked for; None serves none.
        environment: What the command's environment has besides this process's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        freezes: HeldFreezes,
        listener: socket.socket | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = (*commands.DIE_WITH_US, *command) if command else ()
        self._freezes = freezes
        self._listener = listener
        self._environment = {**os.environ, **(environment or {})}
        self._selector = selectors.DefaultSelector()
        self._child: int | None = None
        self._started_seconds = 0.0
        self._lives_seconds: list[float] = []
        self._start_at_seconds: float | None = None
        self._told = False
        self._exit_code: int | None = None

    def run(self, lifeline: int | None = None) -> int:
        """Runs until it is told to stop, or gives up; returns the exit code.

        Args:
            lifeline: A descriptor whose end of file tells it to stop.
        """
        woken = self._catch_signals()
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._on_signals(woken))
        if self._listener is not None:
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        if lifeline is not None:
            self._selector.register(
                lifeline, selectors.EVENT_READ, lambda: self._on_stop(signal.SIGTERM)
            )
        if self._command:
            self._start()
        while self._exit_code is None:
            for key, _ in self._selector.select(self._wait_seconds()):
                key.data()
            if self._start_at_seconds is not None and self._wait_seconds() <= 0:
                self._start()
        self._freezes.close()
        if not self._freezes.wait_until_none(_THAW_SECONDS):
            note("the kernel has not thawed everything yet", "error")
        return self._exit_code

    def _catch_signals(self) -> socket.socket:
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.detach())
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        return woken

    def _wait_seconds(self) -> float:
        if self._start_at_seconds is None:
            return _WAIT_SECONDS
        return max(0.0, self._start_at_seconds - time.monotonic())

    def _start(self) -> None:
        self._start_at_seconds = None
        self._started_seconds = time.monotonic()
        self._child = os.posix_spawnp(
            self._command[0],
            self._command,
            self._environment,
            setsigdef=(*_PASSED_ON, *_IGNORED, signal.SIGCHLD, signal.SIGXFSZ),
        )

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # gone before it was accepted
        connection.setblocking(True)
        self._freezes.serve(connection)

    def _on_signals(self, woken: socket.socket) -> None:
        for number in woken.recv(64):
            if number in _PASSED_ON:
                self._on_stop(signal.Signals(number))
        self._reap()

    def _on_stop(self, number: signal.Signals) -> None:
        self._told = True
        self._start_at_seconds = None
        self._freezes.close()
        if self._child is None:
            self._exit_code = 0
        else:
            os.kill(self._child, number)

    def _reap(self) -> None:
        """Collects every child that has ended; as a first process it has more than its own."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            if process == self._child:
                self._on_end(os.waitstatus_to_exitcode(status))

    def _on_end(self, code: int) -> None:
        self._child = None
        # Whoever asked for a freeze is gone, whatever the connections say.
        self._freezes.end_all()
        exit_code = 128 - code if code < 0 else code
        if self._told:
            self._exit_code = exit_code
            return
        self._lives_seconds.append(time.monotonic() - self._started_seconds)
        del self._lives_seconds[: -supervision.MOST_SHORT_LIVES]
        pause_seconds = supervision.pause_before_restart(self._lives_seconds)
        facts = {"exit_code": exit_code, "lived_seconds": round(self._lives_seconds[-1], 3)}
        if pause_seconds is None:
            note("the process keeps ending soon after its start: giving up", "error", **facts)
            self._exit_code = exit_code or 1
            return
        note("the process ended and is started again", "warning", **facts)
        self._start_at_seconds = time.monotonic() + pause_seconds
