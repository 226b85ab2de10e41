"""The second watcher: ends the recorded freezes when the guard is gone or stuck.

It looks twice a second rather than waiting for the guard's lock, so that it also sees a guard
that is alive but stopped.
"""

import signal
import socket
import time
from pathlib import Path

from mooring.adapters.host.guard import thawing
from mooring.adapters.host.guard.notes import note
from mooring.adapters.host.guard.records import FreezeRecords
from mooring.planning import freezes

_PERIOD_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0
"""How long a guard that was told to stop at the same time has for its own thaws."""


class Standby:
    """The second watcher over one folder of records."""

    def __init__(self, folder: Path) -> None:
        self._records = FreezeRecords(folder)
        self._complained: set[str] = set()

    def run(self) -> int:
        """Watches until SIGTERM, and then as long as something is frozen; returns the exit code."""
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.detach())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        told_at: float | None = None
        while True:
            patience_is_over = told_at is not None and self._ago(told_at) >= _PATIENCE_SECONDS
            left = self.look(trusts_guard=not patience_is_over)
            ago = self._ago(told_at) if told_at is not None else None
            if freezes.standby_may_end(
                left, told_seconds_ago=ago, patience_seconds=_PATIENCE_SECONDS
            ):
                return 0
            woken.settimeout(_PERIOD_SECONDS)
            try:
                woken.recv(1)
                told_at = told_at or time.monotonic()
            except TimeoutError:
                continue

    def look(self, *, trusts_guard: bool = True) -> dict[str, freezes.Freeze]:
        """Ends what nobody else ends; returns what is recorded as frozen all the same."""
        with self._records.without_guard() as is_free:
            left = self._records.all()
            due = freezes.to_thaw(
                left,
                guard_is_alive=not is_free and trusts_guard,
                now_seconds=time.monotonic(),
            )
            for key, freeze in due.items():
                if self._thaw(key, freeze):
                    self._records.remove(key)
                    del left[key]
        return left

    def _thaw(self, key: str, freeze: freezes.Freeze) -> bool:
        try:
            was_frozen = thawing.thaw_recorded(freeze)
        except OSError as error:
            if key not in self._complained:
                self._complained.add(key)
                note("cannot thaw", "error", mountpoint=freeze.mountpoint, error=str(error))
            return False
        if was_frozen:
            note("thawed in place of the guard", "warning", mountpoint=freeze.mountpoint)
        return True

    @staticmethod
    def _ago(moment: float) -> float:
        return time.monotonic() - moment
