"""The port of per-volume locks: operations on one volume happen one at a time."""

from contextlib import AbstractContextManager
from typing import Protocol


class KeyedLocks(Protocol):
    """Locks by key, within one process."""

    def hold(self, *keys: str) -> AbstractContextManager[None]:
        """Takes the locks of all keys at once, without waiting for another operation.

        For a moment of background work it does wait.

        Raises:
            Busy: One of them is held; the message names it.
        """

    def hold_for_a_moment(self, key: str) -> AbstractContextManager[None]:
        """Takes a lock for one short step of background work, which makes no operation fail.

        Raises:
            Busy: An operation holds it, or waits for it.
        """
