"""The queue between watching and reconciling: level-based, one object at a time.

kopf's events only say which object to look at. A key waits here once however many events name it,
is never worked on by two threads, comes back after the delay its reconciler asks for, and backs
off when it fails; so a poison object costs itself a try a minute and nobody else anything.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_BACKOFF_SECONDS = 1.0
MAXIMUM_BACKOFF_SECONDS = 60.0
MAXIMUM_TRANSIENT_BACKOFF_SECONDS = 10.0
"""After a failure that is no fault of the object, such as a busy API server."""


@dataclass(frozen=True)
class Key:
    """An object to look at.

    Attributes:
        kind: Name of the reconciler.
        namespace: Empty for cluster-wide kinds.
        name: The object's name.
    """

    kind: str
    namespace: str
    name: str


class WorkQueue:
    """Keys with a time at which each is due. All methods are safe from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._running: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._stopped = False

    def add(self, key: Key, delay_seconds: float = 0.0) -> None:
        """Makes a key due; of two times the earlier counts."""
        with self._changed:
            self._add(key, self._monotonic() + delay_seconds)

    def _add(self, key: Key, due: float) -> None:
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._changed.notify()

    def take(self) -> Key | None:
        """Waits for a key that is due and not being worked on; None once stopped."""
        with self._changed:
            while not self._stopped:
                key, wait_seconds = self._next()
                if key is not None:
                    del self._due[key]
                    self._running.add(key)
                    return key
                self._changed.wait(wait_seconds)
            return None

    def _next(self) -> tuple[Key | None, float | None]:
        """Returns the first key that is due, or how long to wait for one."""
        now = self._monotonic()
        blocked = []
        found: Key | None = None
        wait_seconds: float | None = None
        while self._heap:
            due, order, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # replaced by an earlier time, or done
                continue
            if due > now:
                wait_seconds = due - now
                break
            heapq.heappop(self._heap)
            if key in self._running:
                blocked.append((due, order, key))
                continue
            found = key
            break
        for entry in blocked:
            heapq.heappush(self._heap, entry)
        return found, wait_seconds

    def done(self, key: Key, again_after_seconds: float | None) -> None:
        """Ends the work on a key that went well."""
        with self._changed:
            self._running.discard(key)
            self._failures.pop(key, None)
            if again_after_seconds is not None:
                self._add(key, self._monotonic() + again_after_seconds)
            self._changed.notify()

    def failed(self, key: Key, maximum_seconds: float = MAXIMUM_BACKOFF_SECONDS) -> float:
        """Ends the work on a key that did not; returns after how many seconds it comes back."""
        with self._changed:
            self._running.discard(key)
            count = self._failures[key] = self._failures.get(key, 0) + 1
            delay_seconds = float(
                min(FIRST_BACKOFF_SECONDS * 2 ** min(count - 1, 10), maximum_seconds)
            )
            self._add(key, self._monotonic() + delay_seconds)
            self._changed.notify()
            return delay_seconds

    def stop(self) -> None:
        """Ends every `take`, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def waiting(self) -> int:
        """Returns how many keys are due now or later."""
        with self._changed:
            return len(self._due)
