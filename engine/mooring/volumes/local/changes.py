"""Which parts of a snapshot hold data, and which changed since another snapshot of its volume."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mooring.domain import errors, ids, volumes
from mooring.domain.extents import ImageRanges, Range
from mooring.volumes.local.context import NodeContext, PoolBook, image_of

_MOST_READERS = 4


class SnapshotChanges:
    """Ranges of the snapshots of one node.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._readers = threading.BoundedSemaphore(_MOST_READERS)

    @contextmanager
    def read(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> Iterator[ImageRanges]:
        """Finds ranges of a snapshot; see `ports.nodes.NodeSnapshots.read_ranges`.

        All of them are found before the first is given, and memory does not grow with them.
        """
        require_same_volume(snapshot_id, base_id)
        if not self._readers.acquire(blocking=False):
            raise errors.Busy(
                f"node {self._context.node} tells the ranges of {_MOST_READERS} snapshots already"
            )
        with contextlib.ExitStack() as stack:
            stack.callback(self._readers.release)
            keys = [snapshot_id, *([base_id] if base_id else [])]
            with self._context.locks.hold(*keys):  # neither is deleted while it is looked at
                found = self._found(snapshot_id, base_id, stack)
            yield found

    def _found(
        self,
        snapshot_id: ids.SnapshotId,
        base_id: ids.SnapshotId | None,
        stack: contextlib.ExitStack,
    ) -> ImageRanges:
        book, record = self._ready(snapshot_id)
        image = image_of(snapshot_id)
        if base_id is None:
            if book.tracking is None:
                return ImageRanges(record.size_bytes, False, [Range(0, record.size_bytes)])
            ranges = stack.enter_context(book.tracking.allocated(image))
            return ImageRanges(record.size_bytes, True, ranges)
        base_book, _ = self._ready(base_id)
        if book.tracking is None or base_book is not book:
            raise errors.Unsupported(
                f"pool {book.name} cannot tell what changed in snapshot {snapshot_id}: read "
                "everything"
            )
        ranges = stack.enter_context(book.tracking.changed(image_of(base_id), image))
        return ImageRanges(record.size_bytes, ranges.trusted, ranges)

    def _ready(self, snapshot_id: ids.SnapshotId) -> tuple[PoolBook, volumes.SnapshotRecord]:
        book, record = self._context.snapshot(snapshot_id)
        if record.state is not volumes.SnapshotState.READY:
            raise errors.Busy(f"snapshot {snapshot_id} is {record.state.value}")
        return book, record


def require_same_volume(snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None) -> None:
    """Refuses to compare snapshots of different volumes.

    Raises:
        InvalidInput: They are.
    """
    if base_id is None:
        return
    ours, other = ids.source_volume_id(snapshot_id), ids.source_volume_id(base_id)
    if ours != other:
        raise errors.InvalidInput(
            f"snapshot {base_id} is of volume {other} and cannot be the base of {snapshot_id}, "
            f"which is of volume {ours}"
        )
