"""The port of per-volume locks: operations on one volume happen one at a time."""

from contextlib import AbstractContextManager
from typing import Protocol


class KeyedLocks(Protocol):
    """Locks by key, within one process."""

    def hold(self, *keys: str) -> AbstractContextManager[None]:
        """Takes the locks of all keys at once, without waiting.

        Raises:
            Busy: One of them is held; the message names it.
        """
