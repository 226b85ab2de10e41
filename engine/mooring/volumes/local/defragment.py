"""Joining the pieces of fragmented images while they are in use.

The volume's lock is held for one piece of work at a time, never longer, and any operation on the
volume goes first: a round that meets one leaves the volume for the next round.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from mooring.domain import errors, ids, volumes
from mooring.planning import fragmentation, space_marks
from mooring.ports import extents as extents_port
from mooring.volumes.local import attachments
from mooring.volumes.local.context import NodeContext, PoolBook, image_of
from mooring.volumes.local.side_by_side import SideBySide

_ROUND_SECONDS = 600.0
Pause = Callable[[float], bool]
"""Waits so many seconds; returns True when the work shall end."""


@dataclass(frozen=True)
class Outcome:
    """What a round did to one volume.

    Attributes:
        volume_id: The volume.
        before: Its extents before; None if they could not be counted.
        after: Its extents afterwards; None if it was not brought to the end.
        written_to: Pieces that were left as they are because they were written to meanwhile.
        ended_by: Why the rest of the volume was left for the next round; empty if it was not.
    """

    volume_id: ids.VolumeId
    before: int | None
    after: int | None
    written_to: int
    ended_by: str


class Defragmentation:
    """The work of one node on its fragmented images.

    Args:
        context: The node.
        policy: When and how quickly.
    """

    def __init__(self, context: NodeContext, policy: fragmentation.Policy) -> None:
        self._context = context
        self._policy = policy
        self._at_work = SideBySide[None]("defragmentation", alone=True)
        self._outcomes: deque[Outcome] = deque()

    def run_once(self, pause: Pause) -> Iterator[Outcome]:
        """Counts the extents of all volumes, and yields what it did to those with too many.

        One pool after the other, so that all of them together keep the pace; one that takes very
        long is not waited for, since its disk may be dead.
        """
        for book in list(self._context.pools.values()):
            if book.layout.extents is None:
                continue
            self._at_work.ask({book.name: partial(self._go_through, book, pause)}, _ROUND_SECONDS)
            while self._outcomes:
                yield self._outcomes.popleft()
            if pause(0):
                return

    def _go_through(self, book: PoolBook, pause: Pause) -> None:
        carried = attachments.by_image(self._context.host)
        records = book.records.list_volumes().records
        book.layout.keep_only({image_of(record.spec.volume_id) for record in records})
        for record in records:
            if record.state is not volumes.VolumeState.READY:
                continue
            path = book.image_path(image_of(record.spec.volume_id))
            used = path is not None and self._context.host.paths.identity(path) in carried
            outcome = self._look_after(book, record, pause, used=used)
            if outcome is not None:
                self._outcomes.append(outcome)
            if pause(0):
                return

    def _look_after(
        self, book: PoolBook, record: volumes.VolumeRecord, pause: Pause, *, used: bool
    ) -> Outcome | None:
        """Counts what may have changed, and joins what is in too many pieces."""
        volume_id, image = record.spec.volume_id, image_of(record.spec.volume_id)
        pieces = _Pieces(self._context, book, volume_id, self._policy, pause)
        before = book.layout.known(image)
        try:
            if before is None or used:
                before = book.layout.count(image)
            if before <= self._policy.above_extents:
                return None
            pieces.join(record.spec.size_bytes)
            after, ended_by = book.layout.count(image), ""
        except errors.MooringError as error:
            after, ended_by = None, str(error)
        return Outcome(volume_id, before, after, pieces.written_to, ended_by)


class _Pieces:
    """The pieces of one volume in one round."""

    def __init__(
        self,
        context: NodeContext,
        book: PoolBook,
        volume_id: ids.VolumeId,
        policy: fragmentation.Policy,
        pause: Pause,
    ) -> None:
        self._context = context
        self._book = book
        self._volume_id = volume_id
        self._policy = policy
        self._pause = pause
        self._due = time.monotonic()
        self.written_to = 0

    def join(self, size_bytes: int) -> None:
        """Goes through the volume once.

        Raises:
            Busy: An operation on the volume goes first.
            Cancelled: The work shall end.
            SpaceExhausted: The pool has no room.
            HostFailure: A system call failed; the volume has the same bytes all the same.
        """
        extents = self._book.layout.extents
        if extents is None:
            return
        image = image_of(self._volume_id)
        for offset_bytes in range(0, size_bytes, fragmentation.WINDOW_BYTES):
            window = extents.window(image, offset_bytes, fragmentation.WINDOW_BYTES)
            for run in fragmentation.runs(window):
                room_bytes = space_marks.above_low_bytes(self._book.images.capacity())
                if fragmentation.is_worth_it(run, room_bytes):
                    with extents.relayout(image, run.offset_bytes, run.length_bytes) as place:
                        self._lay_out(place, run)

    def _lay_out(self, place: extents_port.Relayout, run: fragmentation.Run) -> None:
        for batch in run.batches():
            for piece in fragmentation.pieces(*batch):
                with self._context.locks.hold_for_a_moment(self._volume_id):
                    place.copy(*piece)
            place.settle()
            for piece in fragmentation.pieces(*batch):
                self._take_over(place, *piece)
            place.let_go(*batch)
            self._wait_for(batch[1])

    def _take_over(
        self, place: extents_port.Relayout, offset_bytes: int, length_bytes: int
    ) -> None:
        with self._context.locks.hold_for_a_moment(self._volume_id):
            taken = place.take_over(offset_bytes, length_bytes)
        if taken:
            return
        if length_bytes <= fragmentation.SMALLEST_PIECE_BYTES:
            self.written_to += 1
            return
        half_bytes = length_bytes // 2 // fragmentation.BLOCK_BYTES * fragmentation.BLOCK_BYTES
        self._take_over(place, offset_bytes, half_bytes)
        self._take_over(place, offset_bytes + half_bytes, length_bytes - half_bytes)

    def _wait_for(self, length_bytes: int) -> None:
        """Keeps to the pace: what was late is not made up for."""
        self._due = max(self._due, time.monotonic()) + length_bytes / self._policy.bytes_per_second
        if self._pause(self._due - time.monotonic()):
            raise errors.Cancelled("the agent ends")
