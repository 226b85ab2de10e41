"""Filling a new volume with a snapshot of another node, in the background, across kills.

The image has its own name and size from the start, and the record says how far its content is
whole and on the disk. So what a kill leaves is taken up there: a piece is written in its place
twice at worst, and there is never a second file. Until the record says Ready, nothing but this and
a deletion touches the image.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mooring.domain import errors, ids, quantities, transfers, volumes
from mooring.ports import transfers as ports
from mooring.volumes.local.context import NodeContext, PoolBook, image_of

_ANSWER_SECONDS = 3.0
"""A call waits so long for the end: a small volume is there with the first one."""
_CHECKPOINT_BYTES = 64 << 20
_CHECKPOINT_EVERY = timedelta(seconds=1)
_TRIES_WITHOUT_PROGRESS = 5
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 8.0
_FOR_GOOD = (errors.NotFound, errors.InvalidInput, errors.DataCorrupt, errors.SpaceExhausted)
"""What no further try of the same copy mends: nothing of the volume is kept."""


Discard = Callable[[PoolBook, ids.VolumeId], None]


def is_pulled(context: NodeContext, spec: volumes.VolumeSpec) -> bool:
    """Whether a volume's content comes from another node."""
    return spec.source is not None and spec.source.node not in (None, context.node)


def require_source_in_reach(context: NodeContext, spec: volumes.VolumeSpec) -> None:
    """Refuses a source on another node where no other nodes are known.

    Raises:
        Unsupported: It is on another node.
    """
    if is_pulled(context, spec):
        _remote_snapshots(context)


def _remote_snapshots(context: NodeContext) -> ports.RemoteSnapshots:
    if context.remote_snapshots is None:
        raise errors.Unsupported(f"node {context.node} knows no other nodes to copy from")
    return context.remote_snapshots


def advance(
    context: NodeContext, book: PoolBook, record: volumes.VolumeRecord, discard: Discard
) -> volumes.VolumeRecord:
    """Begins or goes on with a copy; returns the whole volume. The caller holds its lock.

    Args:
        context: The node.
        book: The volume's pool.
        record: The recorded intent.
        discard: Takes back a creation.

    Raises:
        Busy: It is not whole yet; the message says how far it is.
        Unreachable: The source's node does not answer; what has come is kept.
        NotFound: The source is gone; nothing of the volume is kept.
    """
    volume_id = record.spec.volume_id
    pull = _Pull(context, book, volume_id, discard)
    try:
        done = context.background.run(volume_id, pull.carry_out, wait_seconds=_ANSWER_SECONDS)
    except errors.NeverReached as error:
        raise errors.Unreachable(str(error)) from error  # this node has acted
    except (errors.PermissionDenied, errors.Cancelled) as error:
        raise errors.Busy(f"{volume_id} will be copied further: {error}") from error
    present = book.records.volume(volume_id)
    if present is None:
        raise errors.Busy(f"the copy {volume_id} was taken back; try again")
    if not done:
        raise errors.Busy(progress_of(present))
    return present


def progress_of(record: volumes.VolumeRecord) -> str:
    """Says for people how far a copy from another node is."""
    node = record.spec.source.node if record.spec.source else None
    begun = f"volume {record.spec.volume_id} is being copied from node {node}"
    if record.pull is None:
        return begun
    done = quantities.show_bytes(record.pull.done_bytes)
    return f"{begun}: {done} of {quantities.show_bytes(record.pull.source_size_bytes)}"


class _Damaged(errors.Unreachable):
    """A piece arrived other than it was sent; it is asked for again."""


@dataclass
class _Pull:
    """The copy of one volume."""

    context: NodeContext
    book: PoolBook
    volume_id: ids.VolumeId
    discard: Discard

    def carry_out(self, stopping: threading.Event) -> None:
        """Copies until the volume is whole, or until tries in a row brought nothing."""
        failures = 0
        while True:
            before = self._done_bytes()
            try:
                return self._try(stopping)
            except (errors.Unreachable, errors.Busy):
                failures = 1 if self._done_bytes() > before else failures + 1
                if failures >= _TRIES_WITHOUT_PROGRESS:
                    raise
            except _FOR_GOOD:
                self.discard(self.book, self.volume_id)
                raise
            if stopping.wait(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**failures)):
                raise errors.Cancelled(f"the copy {self.volume_id} is not wanted any more")

    def _done_bytes(self) -> int:
        pull = self._record().pull
        return pull.done_bytes if pull else 0

    def _record(self) -> volumes.VolumeRecord:
        record = self.book.records.volume(self.volume_id)
        if record is None:
            raise errors.Cancelled(f"the volume {self.volume_id} is gone")
        return record

    def _try(self, stopping: threading.Event) -> None:
        record = self._record()
        node, snapshot_id = _origin(record.spec)
        stream = _remote_snapshots(self.context).read(node, snapshot_id, record.pull)
        with closing(stream):
            opening = next(stream, None)
            if not isinstance(opening, transfers.Opening):
                raise errors.Unreachable(f"node {node} sent nothing of {snapshot_id}")
            record = self._begin(record, opening)
            path = self.book.images.path(image_of(self.volume_id))
            with self.context.host.contents.writer(path) as writer:
                filling = _Filling(self.context, self.book, record, writer)
                ending = filling.take(stream, stopping)
        self._verify(ending, stopping)
        formatted = opening.snapshot.formatted
        self.book.records.put_volume(
            replace(record, state=volumes.VolumeState.READY, formatted=formatted, pull=None)
        )

    def _begin(
        self, record: volumes.VolumeRecord, opening: transfers.Opening
    ) -> volumes.VolumeRecord:
        """Makes the image, or anew when what had come is of another point in time."""
        sent, spec = opening.snapshot, record.spec
        _require_fitting(sent, spec)
        image = image_of(self.volume_id)
        if record.pull is not None and record.pull.taken_at != sent.created_at:
            record = replace(record, pull=None)
            self.book.records.put_volume(record)
        if record.pull is None:
            self.book.images.remove(image)
            progress = volumes.PullProgress(sent.created_at, sent.size_bytes)
            record = replace(record, pull=progress)
            self.book.records.put_volume(record)
        self.book.images.allocate(image, spec.size_bytes, preallocate=spec.preallocated)
        return record

    def _verify(self, ending: transfers.Ending, stopping: threading.Event) -> None:
        """Reads the whole copy from the disk and compares it with what was sent."""
        chain = b""
        path = self.book.images.path(image_of(self.volume_id))
        for piece in self.context.host.contents.pieces(path, 0):
            chain = transfers.extended(chain, piece)
            _go_on(stopping, self.volume_id)
        if chain != ending.chain:
            raise errors.DataCorrupt(
                f"the copy {self.volume_id} does not read back as it was sent, so it was taken "
                f"back; check the disk of pool {self.book.name} on node {self.context.node}"
            )


class _Filling:
    """One stream into one image, and how far it is."""

    def __init__(
        self,
        context: NodeContext,
        book: PoolBook,
        record: volumes.VolumeRecord,
        writer: ports.ImageWriter,
    ) -> None:
        if record.pull is None:
            raise errors.Cancelled("no copy is under way")
        self._context, self._book, self._record, self._writer = context, book, record, writer
        self._recorded = self._progress = record.pull
        self._recorded_at: datetime = context.clock.now()

    def take(self, stream: ports.Parts, stopping: threading.Event) -> transfers.Ending:
        """Writes what arrives; what has come is recorded also when it breaks off."""
        try:
            return self._take(stream, stopping)
        finally:
            self._record_progress()

    def _take(self, stream: ports.Parts, stopping: threading.Event) -> transfers.Ending:
        for part in stream:
            _go_on(stopping, self._record.spec.volume_id)
            if isinstance(part, transfers.Sent):
                self._write(part)
            elif isinstance(part, transfers.Ending):
                if part.chain.hex() != self._progress.chain:
                    raise _Damaged("the other node sent more than has arrived")
                return part
        raise errors.Unreachable("the other node broke off")

    def _write(self, sent: transfers.Sent) -> None:
        piece = sent.piece
        chain = transfers.extended(bytes.fromhex(self._progress.chain), piece)
        ends_inside = piece.end_bytes <= self._progress.source_size_bytes
        if piece.offset_bytes < self._progress.done_bytes or not ends_inside or chain != sent.chain:
            raise _Damaged(f"a piece at {piece.offset_bytes} arrived damaged or out of order")
        self._writer.write(piece)
        self._progress = replace(self._progress, done_bytes=piece.end_bytes, chain=chain.hex())
        new_bytes = self._progress.done_bytes - self._recorded.done_bytes
        late = self._context.clock.now() - self._recorded_at >= _CHECKPOINT_EVERY
        if new_bytes >= _CHECKPOINT_BYTES or late:
            self._record_progress()

    def _record_progress(self) -> None:
        if self._progress != self._recorded:
            self._writer.sync()
            self._book.records.put_volume(replace(self._record, pull=self._progress))
            self._recorded, self._recorded_at = self._progress, self._context.clock.now()


def _origin(spec: volumes.VolumeSpec) -> tuple[ids.NodeName, ids.SnapshotId]:
    source = spec.source
    snapshot_id = transfers.snapshot_of(source, spec.volume_id) if source else None
    if source is None or source.node is None or snapshot_id is None:
        raise errors.InvalidInput(f"volume {spec.volume_id} has no source on another node")
    return source.node, snapshot_id


def _require_fitting(sent: volumes.SnapshotRecord, spec: volumes.VolumeSpec) -> None:
    """Refuses a source that is not what the volume was asked to be a copy of.

    Raises:
        InvalidInput: It has another mode, filesystem or sector size.
        SizeOutOfRange: It is larger.
    """
    kind = (sent.mode, sent.filesystem, sent.sector_size_bytes)
    if kind != (spec.mode, spec.filesystem, spec.sector_size_bytes):
        inside = sent.filesystem.value if sent.filesystem else "raw block"
        raise errors.InvalidInput(
            f"the source is a {sent.mode.value} volume with {inside} and sectors of "
            f"{sent.sector_size_bytes} bytes"
        )
    if sent.size_bytes > spec.size_bytes:
        raise errors.SizeOutOfRange(
            f"{quantities.show_bytes(spec.size_bytes)} is smaller than the source, which has "
            f"{quantities.show_bytes(sent.size_bytes)}"
        )


def _go_on(stopping: threading.Event, volume_id: ids.VolumeId) -> None:
    if stopping.is_set():
        raise errors.Cancelled(f"the copy {volume_id} is not wanted any more")
