"""Work that the agent does from time to time, in threads beside its calls."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import structlog

from mooring.planning import fragmentation
from mooring.volumes.local import defragment
from mooring.volumes.local.node import LocalNode

_log = structlog.get_logger("upkeep")
_STOP_SECONDS = 3.0
_DEFRAGMENT_SECONDS = 60.0
_SPACE_SECONDS = 5.0
_POOL_WATCH_SECONDS = 1.0
_POOL_PATIENCE_SECONDS = 2.0
_SPACE_WATCH_SECONDS = 0.1
_SPACE_PATIENCE_SECONDS = 0.2
"""Together less than the reaction that the marks of `planning.space_marks` count on."""
_FORGOTTEN_SECONDS = 10.0
_REST_FACTOR = 4.0
"""Counting takes time with the number of volumes; it may take at most one part in five of it.

Not so the watches: what they are to notice does not wait.
"""


class Upkeep:
    """One kind of work, again and again until the process ends.

    Args:
        name: What it is, for the log.
        interval_seconds: How long it rests between two rounds.
        work: One round. It is given what it pauses with, which returns True when it shall end.
        rest_factor: How many times as long as a round took it rests at least.
    """

    def __init__(
        self,
        name: str,
        interval_seconds: float,
        work: Callable[[defragment.Pause], None],
        *,
        rest_factor: float = _REST_FACTOR,
    ) -> None:
        self._name = name
        self._rest_factor = rest_factor
        self._interval_seconds = interval_seconds
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it, after the step under way."""
        self._stopping.set()
        self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._work(self._pause)
            except Exception:  # a fault must not end the work for good
                _log.exception("fault", work=self._name)
            rest_seconds = self._rest_factor * (time.monotonic() - began)
            self._stopping.wait(max(self._interval_seconds, min(rest_seconds, 3600.0)))

    def _pause(self, seconds: float) -> bool:
        return self._stopping.wait(max(0.0, seconds))


def defragmentation(node: LocalNode, policy: fragmentation.Policy) -> Upkeep:
    """Returns the work on images in too many pieces."""
    task = node.defragmentation(policy)

    def work(pause: defragment.Pause) -> None:
        _tell(task.run_once(pause))

    return Upkeep("defragmentation", _DEFRAGMENT_SECONDS, work)


def space(node: LocalNode) -> Upkeep:
    """Returns the look at the space of the pools: where it is low, the trash goes at once."""

    def work(_: defragment.Pause) -> None:
        for pool, count in node.free_trash_for_low_space().items():
            _log.info("freed trash and backup bases because space was low", pool=pool, count=count)

    return Upkeep("space", _SPACE_SECONDS, work)


def space_watch(node: LocalNode, changed: Callable[[], None]) -> Upkeep:
    """Returns the quick look at the space of the pools: at its end, sparse volumes stand still.

    Args:
        node: The node.
        changed: Called when some stopped or went on.
    """
    check = partial(node.space_watch.check, patience_seconds=_SPACE_PATIENCE_SECONDS)
    return _watch("space-watch", _SPACE_WATCH_SECONDS, check, changed, rest_factor=0.0)


def pool_watch(node: LocalNode, changed: Callable[[], None]) -> Upkeep:
    """Returns the work on failing and failed pools.

    Args:
        node: The node.
        changed: Called when one failed or came back.
    """
    check = partial(node.pool_watch.check, patience_seconds=_POOL_PATIENCE_SECONDS)
    return _watch("pool-watch", _POOL_WATCH_SECONDS, check, changed, rest_factor=0.0)


def forgotten(node: LocalNode, changed: Callable[[], None]) -> Upkeep:
    """Returns the look for what the kubelet forgot to give back.

    Args:
        node: The node.
        changed: Called when something was let go.
    """
    return _watch("forgotten", _FORGOTTEN_SECONDS, node.forgotten.check, changed)


def _watch(
    name: str,
    interval_seconds: float,
    check: Callable[[], Sequence[str]],
    changed: Callable[[], None],
    *,
    rest_factor: float = _REST_FACTOR,
) -> Upkeep:
    def work(_: defragment.Pause) -> None:
        for note in check():
            _log.warning(name, note=note)
            changed()

    return Upkeep(name, interval_seconds, work, rest_factor=rest_factor)


def _tell(outcomes: Iterator[defragment.Outcome]) -> None:
    for outcome in outcomes:
        _log.info(
            "joined the pieces of a volume",
            volume=outcome.volume_id,
            before=outcome.before,
            after=outcome.after,
            written_to=outcome.written_to,
            ended_by=outcome.ended_by,
        )
