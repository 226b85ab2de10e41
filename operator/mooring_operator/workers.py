"""Threads that take keys from the queue and reconcile them: the operator's one error boundary.

Reconcilers say what stops an object in its conditions. What reaches this place is either transient
(the API server or an agent is away), or a bug; both cost this one object a pause and no other.
"""

import threading
from collections.abc import Callable, Mapping

import structlog

from mooring.domain import errors
from mooring.planning import verdicts
from mooring_operator.work_queue import (
    MAXIMUM_BACKOFF_SECONDS,
    MAXIMUM_TRANSIENT_BACKOFF_SECONDS,
    Key,
    WorkQueue,
)

_log = structlog.get_logger("reconcile")

Reconcile = Callable[[Key], float | None]
_JOIN_SECONDS = 20.0


class Workers:
    """A fixed number of threads over one queue."""

    def __init__(
        self,
        queue: WorkQueue,
        reconcilers: Mapping[str, Reconcile],
        may_act: Callable[[], bool],
        count: int = 8,
    ) -> None:
        """Takes the queue, a reconciler for each kind, and whether this process is the active one.

        Args:
            queue: Where keys come from.
            reconcilers: By kind.
            may_act: Asked before each object; False puts it back.
            count: Number of threads.
        """
        self._queue = queue
        self._reconcilers = reconcilers
        self._may_act = may_act
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the queue and waits for the objects under way."""
        self._queue.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=_JOIN_SECONDS)

    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (key := self._queue.take()) is not None:
            self.work(key)

    def work(self, key: Key) -> None:
        """Reconciles one key, and says when it is looked at again."""
        if not self._may_act():
            self._queue.done(key, 1.0)
            return
        try:
            again_after_seconds = self._reconcilers[key.kind](key)
        except errors.MooringError as error:
            transient = verdicts.is_transient(error)
            limit = MAXIMUM_TRANSIENT_BACKOFF_SECONDS if transient else MAXIMUM_BACKOFF_SECONDS
            pause = self._queue.failed(key, limit)
            _log.warning(
                "not done yet",
                kind=key.kind,
                namespace=key.namespace,
                name=key.name,
                reason=error.reason,
                message=str(error),
                again_after_seconds=pause,
            )
        except Exception:
            pause = self._queue.failed(key)
            _log.exception(
                "bug", kind=key.kind, namespace=key.namespace, name=key.name, pause_seconds=pause
            )
        else:
            self._queue.done(key, again_after_seconds)
