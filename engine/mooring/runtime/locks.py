"""Locks by key for the threads of one process: the implementation of `mooring.ports.locks`.

A caller never waits: CSI wants ABORTED while another operation on the same volume is pending, and
a queue of waiting calls would only hide a stuck one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mooring.domain import errors


class ThreadLocks:
    """Keyed locks within one process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, *keys: str) -> Iterator[None]:
        """Takes the locks of all keys at once, without waiting.

        Raises:
            Busy: One of them is held; the message names it.
        """
        wanted = set(keys)
        with self._guard:
            taken = wanted & self._held
            if taken:
                raise errors.Busy(
                    f"another operation on {', '.join(sorted(taken))} is under way; try again"
                )
            self._held |= wanted
        try:
            yield
        finally:
            with self._guard:
                self._held -= wanted
