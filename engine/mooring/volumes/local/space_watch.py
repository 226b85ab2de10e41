"""Looking after the space of a node's pools: sparse volumes stand still rather than lose writes.

A look costs one `statvfs` a pool while there is room. Near the mark, what was promised is counted
once a second, because a pool that keeps its promises may be written full. A count takes time with
the number of images, so the looks go on beside it.
"""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mooring.domain import errors, ids, pools, quantities, volumes
from mooring.planning import admission, space_marks
from mooring.planning.space_marks import Room
from mooring.volumes.local import attachments
from mooring.volumes.local.context import NodeContext, PoolBook, image_of
from mooring.volumes.local.side_by_side import SideBySide

_PATIENCE_SECONDS = 10.0
_COUNT_SECONDS = 1.0
_FIRST_COUNT_SECONDS = 0.2
"""How long the first count is waited for, before it is known whether volumes must stand still."""
_FIRST_BREATH_SECONDS = 2.0
_LONGEST_BREATH_SECONDS = 30.0


@dataclass
class _Look:
    """What is known of one pool from the looks before.

    It may be over, when the pool was taken out of service, while a look into it still hangs.
    """

    over: bool = False
    free_bytes: int | None = None
    looked_at: float = 0.0
    pace: float = 0.0
    near: bool = False
    asked_at: float = float("-inf")
    count: admission.Budget | None = None
    frozen: set[ids.VolumeId] = field(default_factory=set)
    held_at: float = 0.0
    breath_at: float = 0.0
    rest_seconds: float = _FIRST_BREATH_SECONDS


class SpaceWatch:
    """Freezes sparse volumes where space ends; somebody has to call `check` ten times a second.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._looks: dict[ids.PoolName, _Look] = {}
        self._looking = SideBySide[None]("space-look", alone=True)
        self._counting = SideBySide[None]("space-count", alone=True)
        self._notes: deque[str] = deque()

    def check(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> list[str]:
        """Looks at every pool that serves; returns what changed, for people.

        Args:
            patience_seconds: How long one pool may keep the others waiting. Its look goes on.
        """
        serving = dict(self._context.pools)
        for name in self._looks.keys() - serving.keys():
            self._end(self._looks.pop(name))  # its disk failed, which is another matter
        looks = {
            name: partial(self._look_at, book, self._looks.setdefault(name, _Look()))
            for name, book in serving.items()
        }
        self._looking.ask(looks, patience_seconds)
        return [self._notes.popleft() for _ in range(len(self._notes))]

    def stop(self) -> None:
        """Thaws everything."""
        for name in list(self._looks):
            self._end(self._looks.pop(name))

    def _look_at(self, book: PoolBook, look: _Look) -> None:
        try:
            self._notes.extend(self._check(book, look))
        except (errors.MooringError, OSError) as error:
            self._notes.append(f"pool {book.name}: its space cannot be looked at: {error}")
        if look.over:
            self._let_go(look)

    def _end(self, look: _Look) -> None:
        look.over = True
        self._let_go(look)

    def _check(self, book: PoolBook, look: _Look) -> list[str]:
        room = self._room(book, look)
        if look.frozen:
            return self._go_on(book, look, room)
        if not room.must_freeze:
            book.standstill = {}
            return []
        look.breath_at, look.rest_seconds = time.monotonic(), _FIRST_BREATH_SECONDS
        return self._freeze(book, look, room)

    def _room(self, book: PoolBook, look: _Look) -> Room:
        capacity, now = book.images.capacity(), time.monotonic()
        if look.free_bytes is not None:
            taken_bytes = max(0, look.free_bytes - capacity.free_bytes)
            look.pace = space_marks.followed_pace(look.pace, taken_bytes, now - look.looked_at)
        look.free_bytes, look.looked_at = capacity.free_bytes, now
        unwritten_bytes = self._context.host.filesystems.unwritten_bytes()
        room = Room(capacity, unwritten_bytes=unwritten_bytes, pace=look.pace)
        if not (room.is_near or look.frozen):
            look.near, look.count, look.asked_at = False, None, float("-inf")
            return room
        look.near = True
        return self._counted(book, look, room, now)

    def _counted(self, book: PoolBook, look: _Look, room: Room, now: float) -> Room:
        """Adds what was promised. A promise that fits is kept until the next count.

        While nothing was counted yet, as much may be wanting as there can be.
        """
        if now - look.asked_at >= _COUNT_SECONDS:
            look.asked_at = now
            patience_seconds = _FIRST_COUNT_SECONDS if look.count is None else 0.0
            self._counting.ask({book.name: partial(self._count, book, look)}, patience_seconds)
        count = look.count
        if count is None:
            return replace(room, wanting_bytes=room.capacity.total_bytes)
        fits = count.wanting_bytes <= count.capacity.free_bytes - count.owed_bytes
        return Room(
            room.capacity,
            owed_bytes=count.owed_bytes,
            wanting_bytes=0 if fits else count.wanting_bytes,
            unwritten_bytes=room.unwritten_bytes,
            pace=room.pace,
        )

    def _count(self, book: PoolBook, look: _Look) -> None:
        try:
            count = book.records.budget()
        except (errors.MooringError, OSError) as error:
            self._notes.append(f"pool {book.name}: its promises cannot be counted: {error}")
            look.count = None
        else:
            look.count = count if look.near else None

    def _freeze(self, book: PoolBook, look: _Look, room: Room) -> list[str]:
        """Freezes all that can be, then frees what is nobody's any more."""
        mountpoints = self._writable(book)
        faults = self._context.standstill.hold(self._context.host.freezes, mountpoints)
        look.frozen, look.held_at = set(mountpoints), time.monotonic()
        notes = [f"pool {book.name}: {fault}" for fault in faults]
        told = _told(book.name, room.capacity)
        if look.frozen - book.standstill.keys():
            notes.append(f"{told}: {', '.join(sorted(look.frozen - book.standstill.keys()))}")
        book.standstill = {one: book.standstill.get(one, told) for one in look.frozen}
        if book.trash.free_something(max(1, room.thaw_bytes - room.left_bytes)):
            notes.append(f"pool {book.name} is full: freed trash, or what was kept for a backup")
        return notes

    def _go_on(self, book: PoolBook, look: _Look, room: Room) -> list[str]:
        if room.may_thaw:
            shown = ", ".join(sorted(look.frozen))
            self._let_go(look)
            book.standstill = {}
            return [f"pool {book.name} has room again, and its volumes go on: {shown}"]
        now, notes = time.monotonic(), list[str]()
        lost = look.frozen - self._context.standstill.held()
        if lost or now - look.held_at >= _COUNT_SECONDS:
            notes = self._freeze(book, look, room)
        if now - look.breath_at >= look.rest_seconds and room.may_breathe:
            self._context.standstill.breathe(look.frozen)
            look.breath_at = now
            look.rest_seconds = min(2 * look.rest_seconds, _LONGEST_BREATH_SECONDS)
        return notes

    def _let_go(self, look: _Look) -> None:
        self._context.standstill.let_go(look.frozen)
        look.frozen = set()

    def _writable(self, book: PoolBook) -> dict[ids.VolumeId, Path]:
        """Returns where the sparse volumes of a pool are mounted that can be written and frozen."""
        carried = attachments.by_image(self._context.host)
        table = self._context.host.mounts.table()
        found: dict[ids.VolumeId, Path] = {}
        for record in book.records.list_volumes().records:
            spec = record.spec
            if spec.preallocated or spec.mode is not volumes.VolumeMode.FILESYSTEM:
                continue
            path = book.image_path(image_of(spec.volume_id)) if carried else None
            identity = self._context.host.paths.identity(path) if path else None
            devices = carried.get(identity, ()) if identity else ()
            mounts = [
                mount
                for mount in table
                if "ro" not in mount.super_options
                and any(attachments.is_filesystem_of(mount, one) for one in devices)
            ]
            if mounts:
                found[spec.volume_id] = mounts[0].target
        return found


def _told(pool: ids.PoolName, capacity: pools.PoolCapacity) -> str:
    show = quantities.show_bytes
    free, total = show(capacity.free_bytes), show(capacity.total_bytes)
    return (
        f"pool {pool} is full: only {free} of {total} are free, so writes to its sparse volumes "
        "wait rather than fail. Delete snapshots or volumes of the pool, or enlarge it; they go on "
        "by themselves"
    )
