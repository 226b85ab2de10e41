"""Looking after a node's pools: one that fails is taken out of service, and comes back by itself.

A failed pool is opened again only when no loop device of its volumes is left, and serves again
only after what its last opener was in the middle of has been ended.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from mooring.domain import errors, ids, pools
from mooring.ports import pools as pool_ports
from mooring.ports.pools import FailedPool
from mooring.volumes.local import recover
from mooring.volumes.local.context import NodeContext, PoolBook, image_of
from mooring.volumes.local.side_by_side import SideBySide

_PROBE_SECONDS = 10.0
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
_ANSWER_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
_SHOWN_USERS = 3


class _Probe:
    """One try of one pool, in a thread of its own, since a dead disk may never answer."""

    def __init__(self, door: pool_ports.PoolDoor) -> None:
        self.began = time.monotonic()
        self.fault = ""
        self._door = door
        self._thread = threading.Thread(target=self._run, name="pool-probe", daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        """Waits for a moment; returns whether there is an answer."""
        self._thread.join(_ANSWER_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._door.probe()
        except (errors.MooringError, OSError) as error:
            self.fault = str(error)


@dataclass
class _Turn:
    """When a pool is looked at next."""

    due: float = 0.0
    rest_seconds: float = _FIRST_RETRY_SECONDS
    probe: _Probe | None = None


class PoolWatch:
    """Tries each pool from time to time; somebody has to call `check` every second or so.

    Args:
        context: The node.
        doors: What opens its pools.
    """

    def __init__(
        self, context: NodeContext, doors: Mapping[ids.PoolName, pool_ports.PoolDoor]
    ) -> None:
        self._context = context
        self._doors = dict(doors)
        rest = {True: _PROBE_SECONDS, False: _FIRST_RETRY_SECONDS}
        now = time.monotonic()
        self._turns = {name: _Turn(now + rest[name in context.pools]) for name in doors}
        self._looking = SideBySide[None]("pool-look", alone=True)
        self._notes: deque[str] = deque()

    def check(self, *, now: bool = False, patience_seconds: float = _PATIENCE_SECONDS) -> list[str]:
        """Looks at the pools that are due, or whose operations met a fault; returns what changed.

        Args:
            now: Looks at all of them.
            patience_seconds: How long one pool may keep the others waiting. Its look goes on.
        """
        doors = list(self._doors.items())
        looks = {name: partial(self._look_at, name, door, now=now) for name, door in doors}
        self._looking.ask(looks, patience_seconds)
        return [self._notes.popleft() for _ in range(len(self._notes))]

    def _look_at(self, name: ids.PoolName, door: pool_ports.PoolDoor, *, now: bool) -> None:
        turn, serving = self._turns[name], self._context.pool_set.serving.get(name)
        if serving is not None and self._may_leave(serving):
            self._notes.extend(self._leave(serving, door))
            return
        suspected = serving is not None and serving.guard.suspected
        if not (now or suspected or time.monotonic() >= turn.due):
            return
        if serving is not None:
            self._notes.extend(self._watch(serving, door, turn))
            return
        failing = [book for book in self._context.pool_set.failing if book.name == name]
        came_back = self._mend(failing[0], door, turn) if failing else self._open(name, door)
        self._notes.extend(came_back)
        turn.rest_seconds = min(2 * turn.rest_seconds, _LONGEST_RETRY_SECONDS)
        turn.due = time.monotonic() + turn.rest_seconds

    def _may_leave(self, book: PoolBook) -> bool:
        """Whether a pool that the node shall not have any more holds nothing, or nobody uses it."""
        if book.use is pools.PoolUse.FORGOTTEN:
            return not _users(self._context, book)
        if book.use is not pools.PoolUse.REMOVED or book.guard.read_only:
            return False
        listings = (book.records.list_volumes(), book.records.list_snapshots())
        return not any(listing.records or listing.faults for listing in listings)

    def _leave(self, book: PoolBook, door: pool_ports.PoolDoor) -> list[str]:
        """Lets go of a pool that the node shall not have any more."""
        self._context.pool_set.leave(book.name)
        try:
            door.give_up()
        except (errors.MooringError, OSError) as error:
            self._context.pool_set.shut(self._failed(book, str(error), []))
            return [f"pool {book.name} could not be taken off: {error}"]
        del self._doors[book.name]
        return [f"pool {book.name} was let go: nobody uses it; its folder is left as it is"]

    def _watch(self, book: PoolBook, door: pool_ports.PoolDoor, turn: _Turn) -> list[str]:
        """Tries a pool that serves."""
        fault = _fault(door, turn)
        if fault is None:
            return []
        book.guard.suspected = False
        turn.due = time.monotonic() + _PROBE_SECONDS
        if not fault:
            return []
        turn.rest_seconds, turn.due = _FIRST_RETRY_SECONDS, time.monotonic()
        silent = turn.probe is not None  # and then nobody may ask it for anything else either
        self._fail(book, fault, [])
        if not silent:
            self._fail(book, fault, _users(self._context, book))
        return [f"pool {book.name} has failed: {fault}"]

    def _mend(self, book: PoolBook, door: pool_ports.PoolDoor, turn: _Turn) -> list[str]:
        """Brings back a pool that failed while it was open, once nothing holds it any more."""
        fault = _fault(door, turn)
        if fault is None or turn.probe is not None:
            return []
        if not fault:
            self._context.pool_set.serve(book)
            return [f"pool {book.name} works again"]
        users = _users(self._context, book)
        self._fail(book, fault, users)
        if users:
            return []
        door.retire()
        self._context.pool_set.shut(self._failed(book, fault, users))
        return self._open(book.name, door)

    def _open(self, name: ids.PoolName, door: pool_ports.PoolDoor) -> list[str]:
        """Opens a pool that is not open, and ends what its last opener was in the middle of."""
        last = next((one for one in self._context.pool_set.failed if one.name == name), None)
        try:
            book = PoolBook(door.open(), self._context.clock)
        except errors.NotFound as error:
            self._context.pool_set.leave(name)
            del self._doors[name]
            return [f"pool {name} is no pool of this node any more: {error}"]
        except (errors.MooringError, OSError) as error:
            if last is not None:
                failed = FailedPool(name, last.backend, str(error), door.claimed())
                self._context.pool_set.shut(failed)
            return []
        notes = recover.recover_pool(self._context, book)
        self._context.pool_set.serve(book)
        self._turns[name] = _Turn(time.monotonic() + _PROBE_SECONDS)
        return [*notes, f"pool {name} is open again"]

    def _fail(self, book: PoolBook, fault: str, users: list[ids.VolumeId | ids.SnapshotId]) -> None:
        self._context.pool_set.fail(book, self._failed(book, fault, users))

    def _failed(
        self, book: PoolBook, fault: str, users: list[ids.VolumeId | ids.SnapshotId]
    ) -> FailedPool:
        backend = book.images.properties.backend
        return FailedPool(book.name, backend, _advice(fault, users), book.pool_uuid)


def _fault(door: pool_ports.PoolDoor, turn: _Turn) -> str | None:
    """Returns what is wrong with an open pool, empty if nothing is, None if it is not known yet."""
    turn.probe = turn.probe or _Probe(door)
    if turn.probe.ended():
        fault, turn.probe = turn.probe.fault, None
        return fault
    silent_seconds = time.monotonic() - turn.probe.began
    return (
        f"its disk does not answer for {silent_seconds:.0f} s"
        if (silent_seconds > _SILENCE_SECONDS)
        else None
    )


def _users(context: NodeContext, book: PoolBook) -> list[ids.VolumeId | ids.SnapshotId]:
    """Returns the volumes and snapshots of a pool that a loop device still carries."""
    devices = context.host.loops.attached()
    lost = {device.lost_image for device in devices}
    carried = {device.backing for device in devices if not device.lost_image}
    keys: list[ids.VolumeId | ids.SnapshotId] = [
        *(one.spec.volume_id for one in book.records.list_volumes().records),
        *(one.snapshot_id for one in book.records.list_snapshots().records),
    ]
    return [key for key in keys if key in lost or _identity(context, book, key) in carried]


def _identity(context: NodeContext, book: PoolBook, key: ids.VolumeId | ids.SnapshotId) -> object:
    try:
        path = book.image_path(image_of(key))
        return context.host.paths.identity(path) if path else None
    except (errors.MooringError, OSError):
        return None


def _advice(fault: str, users: list[ids.VolumeId | ids.SnapshotId]) -> str:
    shown = ", ".join(users[:_SHOWN_USERS]) + (", ..." if len(users) > _SHOWN_USERS else "")
    held = f"delete the pods that use {len(users)} volumes of it ({shown}); then " if users else ""
    return (
        f"{fault}. See the node's kernel log (dmesg) and repair the disk or its filesystem; "
        f"{held}it is opened again by itself"
    )
