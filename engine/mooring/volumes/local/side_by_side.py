"""Looks at several pools at once, each in a thread of its own.

A disk that is gone may never answer: a hard NFS mount without its server does not even fail. The
thread that asked it is lost then, and must be the only one.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from mooring.domain import ids

Answer = TypeVar("Answer")


class _Run(Generic[Answer]):
    """One look at one pool."""

    def __init__(self, name: str, look: Callable[[], Answer]) -> None:
        self.began = time.monotonic()
        self._look = look
        self._answers: list[Answer] = []
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ended(self, timeout_seconds: float = 0.0) -> bool:
        """Waits for its end."""
        self._thread.join(max(0.0, timeout_seconds))
        return not self._thread.is_alive()

    def answer(self) -> Answer:
        """Returns what it found, or raises what it met."""
        if self._fault is not None:
            raise self._fault
        return self._answers[0]

    def _run(self) -> None:
        try:
            self._answers.append(self._look())
        except BaseException as fault:  # whoever asked meets it
            self._fault = fault


class SideBySide(Generic[Answer]):
    """Looks of one kind at the pools of a node.

    Args:
        kind: What they are, for the names of threads.
        alone: Whether a pool is never looked at twice at once. Else it is looked at again beside
            a look that is not late yet.
    """

    def __init__(self, kind: str, *, alone: bool) -> None:
        self._kind = kind
        self._alone = alone
        self._guard = threading.Lock()
        self._running: dict[ids.PoolName, list[_Run[Answer]]] = {}

    def ask(
        self, looks: Mapping[ids.PoolName, Callable[[], Answer]], patience_seconds: float
    ) -> dict[ids.PoolName, Answer]:
        """Looks at each pool; one whose look of before is late is left out at once.

        Args:
            looks: What to do, by pool. What one raises is raised here, after all have ended.
            patience_seconds: How long to wait for all of them.

        Returns:
            The answers in time. A look that is late goes on, and its answer is nobody's.
        """
        limit = time.monotonic() + patience_seconds
        begun = {name: self._begin(name, look, patience_seconds) for name, look in looks.items()}
        runs = {name: run for name, run in begun.items() if run is not None}
        ended = {name: run for name, run in runs.items() if run.ended(limit - time.monotonic())}
        return {name: run.answer() for name, run in ended.items()}

    def _begin(
        self, name: ids.PoolName, look: Callable[[], Answer], patience_seconds: float
    ) -> _Run[Answer] | None:
        with self._guard:
            running = [run for run in self._running.get(name, ()) if not run.ended()]
            late = any(time.monotonic() - run.began > patience_seconds for run in running)
            begun = None if late or (self._alone and running) else _Run(self._kind, look)
            self._running[name] = running if begun is None else [*running, begun]
            return begun
