"""Notices calls into a folder that do not return, as those into a network mount may.

Such a call hangs in the kernel and cannot be taken back: its thread waits until the server is there
again or the process ends. So another thread looks at what is under way, and tells whoever can say
it to people and end the process.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mooring.domain import errors


@dataclass(frozen=True)
class SilenceLimits:
    """When a call is spoken of.

    Attributes:
        say_seconds: How long it may take before it is said, which is said again at each doubling.
        give_up_seconds: After it nobody expects an answer any more. A line of 32 KiB/s needs 17
            minutes for the largest pack, which a mount may send in one call.
    """

    say_seconds: float = 30.0
    give_up_seconds: float = 1800.0


Told = Callable[[errors.Unreachable, bool], None]
"""Told what does not answer, and whether to wait no longer."""


class CallWatch:
    """Watches the calls into one folder. Thread-safe; its own thread ends with the process."""

    def __init__(self, location: str, told: Told, limits: SilenceLimits = SilenceLimits()) -> None:
        """Begins to watch.

        Args:
            location: Of the store.
            told: Called from another thread, which may end the process.
            limits: When.
        """
        self._location = location
        self._told = told
        self._limits = limits
        self._under_way: dict[object, tuple[float, str]] = {}
        threading.Thread(target=self._look_on, name="mooring-silence", daemon=True).start()

    @contextlib.contextmanager
    def call(self, doing: str) -> Iterator[None]:
        """Lets one call be watched.

        Args:
            doing: In words: `write packs/aa/bb`.
        """
        key = object()
        self._under_way[key] = (time.monotonic(), doing)
        try:
            yield
        finally:
            del self._under_way[key]

    def _look_on(self) -> None:
        say_seconds = self._limits.say_seconds
        while True:
            time.sleep(self._limits.say_seconds / 10)
            begun, doing = min(self._under_way.copy().values(), default=(time.monotonic(), ""))
            seconds = time.monotonic() - begun
            is_final = seconds >= self._limits.give_up_seconds
            if seconds < self._limits.say_seconds:
                say_seconds = self._limits.say_seconds
            elif is_final or seconds >= say_seconds:
                say_seconds = 2 * seconds
                self._told(self._error(doing, seconds), is_final)

    def _error(self, doing: str, seconds: float) -> errors.Unreachable:
        return errors.Unreachable(
            f"{self._location} has not answered for {seconds:.0f} s (to {doing}): is it a mount "
            "whose server is away?"
        )
