"""Which parts of a snapshot hold data, and which changed since another snapshot of its volume."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mooring.domain import errors, ids, volumes
from mooring.domain.extents import ImageRanges, Range
from mooring.planning import change_lists
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

    @contextmanager
    def since_base(
        self, snapshot_id: ids.SnapshotId
    ) -> Iterator[tuple[change_lists.Head, ImageRanges]]:
        """Finds what changed in a snapshot since what is kept of its volume's last backup.

        Where nothing is kept, or nothing can be told, the head names no backup and no range is
        listed: everything has to be read then.

        Raises:
            NotFound: No such snapshot.
            Busy: One of the two is being worked on, or too many ask at once.
        """
        book, record = self._context.snapshot(snapshot_id)
        unknown = (change_lists.Head(record.size_bytes), ImageRanges(record.size_bytes, False, []))
        kept = [
            one
            for one in book.bases.kept(record.source_volume_id)
            if one.snapshot_id != snapshot_id and one.created_at <= record.created_at
        ]
        with contextlib.ExitStack() as stack:
            found = unknown
            if kept:
                # What is kept may be dropped at any moment, when its room is needed.
                with contextlib.suppress(errors.NotFound, errors.Unsupported, errors.HostFailure):
                    image = stack.enter_context(self.read(snapshot_id, kept[-1].snapshot_id))
                    head = change_lists.Head(record.size_bytes, kept[-1].base, kept[-1].size_bytes)
                    found = (head, image) if image.trusted else unknown
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
