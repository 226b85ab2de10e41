"""Work that outlasts the call that began it: at most one piece of it for each volume."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mooring.domain import errors

_MOST_AT_ONCE = 4
_STOP_SECONDS = 10.0

Task = Callable[[threading.Event], None]
"""What is done; it ends soon after the event is set."""


@dataclass
class _Running:
    stopping: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Background:
    """Threads by key. They end with the process: what they do is resumable."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: dict[str, _Running] = {}

    def run(self, key: str, task: Task, *, wait_seconds: float) -> bool:
        """Does something, or goes on waiting for it; True once it has ended well.

        Raises:
            Busy: Too much else is under way.
            Exception: What the task raised; the next call begins it anew.
        """
        found = self._begin(key, task)
        if not found.ended.wait(wait_seconds):
            return False
        with self._guard:
            self._running.pop(key, None)
        if found.error is not None:
            raise found.error
        return True

    def stop(self, key: str) -> None:
        """Ends the work of a key, if there is any.

        Raises:
            Busy: It does not end yet.
        """
        with self._guard:
            found = self._running.get(key)
        if found is None:
            return
        found.stopping.set()
        if not found.ended.wait(_STOP_SECONDS):
            raise errors.Busy(f"the work on {key} is being stopped; try again")
        with self._guard:
            self._running.pop(key, None)

    def _begin(self, key: str, task: Task) -> _Running:
        with self._guard:
            found = self._running.get(key)
            if found is not None:
                return found
            if sum(not one.ended.is_set() for one in self._running.values()) >= _MOST_AT_ONCE:
                raise errors.Busy(
                    f"{key} waits until one of {_MOST_AT_ONCE} others has come from other nodes"
                )
            started = self._running[key] = _Running()
        threading.Thread(
            target=_carry_out, args=(started, task), name=f"copy {key}", daemon=True
        ).start()
        return started


def _carry_out(running: _Running, task: Task) -> None:
    try:
        task(running.stopping)
    except Exception as error:
        running.error = error
    finally:
        running.ended.set()
