"""Locks by key for the threads of one process: the implementation of `mooring.ports.locks`.

A caller never waits for another: CSI wants ABORTED while another operation on the same volume is
pending, and a queue of waiting calls would only hide a stuck one. Background work is not an
operation that anybody asked for, so a call waits out its present step, and it gives way.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from mooring.domain import errors

_LONGEST_MOMENT_SECONDS = 10.0


class ThreadLocks:
    """Keyed locks within one process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()
        self._for_a_moment: set[str] = set()
        self._wanted: Counter[str] = Counter()

    @contextmanager
    def hold(self, *keys: str) -> Iterator[None]:
        """Takes the locks of all keys at once; see the port.

        Raises:
            Busy: One of them is held; the message names it.
        """
        wanted = set(keys)
        with self._changed:
            if wanted & self._for_a_moment:
                self._wait_for_moments(wanted)
            self._take(wanted)
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted

    @contextmanager
    def hold_for_a_moment(self, key: str) -> Iterator[None]:
        """Takes a lock for one short step of background work; see the port.

        Raises:
            Busy: An operation holds it, or waits for it.
        """
        with self._changed:
            if self._wanted[key]:
                raise errors.Busy(f"an operation on {key} waits")
            self._take({key})
            self._for_a_moment.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(key)
                self._for_a_moment.discard(key)
                self._changed.notify_all()

    def _wait_for_moments(self, wanted: set[str]) -> None:
        self._wanted.update(wanted)
        try:
            self._changed.wait_for(
                lambda: not wanted & self._for_a_moment, timeout=_LONGEST_MOMENT_SECONDS
            )
        finally:
            self._wanted.subtract(wanted)
            self._wanted += Counter()  # forgets those that nobody wants

    def _take(self, wanted: set[str]) -> None:
        taken = wanted & self._held
        if taken:
            raise errors.Busy(
                f"another operation on {', '.join(sorted(taken))} is under way; try again"
            )
        self._held |= wanted
