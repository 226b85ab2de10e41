"""Snapshots of this node that other nodes read, each because the controller told it to.

An offer is remembered in memory for a while only: a restarted agent, or a node that comes back
late, is told again by the controller, whose calls repeat until the copy is whole.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring.domain import errors, ids, transfers, volumes
from mooring.planning import pacing
from mooring.ports import transfers as ports
from mooring.volumes.local.context import NodeContext, PoolBook, image_of

_OFFER_LASTS = timedelta(minutes=15)
_MOST_STREAMS = 4


@dataclass(frozen=True)
class Transfers:
    """How snapshots come from and go to other nodes.

    Attributes:
        remote_snapshots: Snapshots of other nodes; None where there are none.
        bytes_per_second: How much all readers of this node together get.
    """

    remote_snapshots: ports.RemoteSnapshots | None = None
    bytes_per_second: int = 200 << 20


class Outgoing:
    """What this node gives to others.

    Args:
        context: The node.
        bytes_per_second: How much all readers together get, so that volumes keep their share.
    """

    def __init__(self, context: NodeContext, bytes_per_second: int) -> None:
        self._context = context
        self._pace = _SharedPace(bytes_per_second)
        self._guard = threading.Lock()
        self._offers: dict[tuple[ids.SnapshotId, ids.NodeName], datetime] = {}
        self._streams = 0

    def offer(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        """Lets a node read a snapshot for a while; see `ports.nodes.NodeSnapshots`."""
        self._require(snapshot_id)
        now = self._context.clock.now()
        with self._guard:
            self._offers = {key: end for key, end in self._offers.items() if end > now}
            self._offers[snapshot_id, node] = now + _OFFER_LASTS

    def read(
        self,
        snapshot_id: ids.SnapshotId,
        reader: ids.NodeName,
        progress: volumes.PullProgress | None,
    ) -> ports.Parts:
        """Yields what a reader has not yet; see `ports.transfers.RemoteSnapshots.read`."""
        with self._guard:
            end = self._offers.get((snapshot_id, reader))
        if end is None or end <= self._context.clock.now():
            raise errors.PermissionDenied(
                f"node {reader} may not read snapshot {snapshot_id}: the controller did not say so"
            )
        book, record = self._require(snapshot_id)
        goes_on = progress is not None and progress.taken_at == record.created_at
        start_bytes = progress.done_bytes if progress and goes_on else 0
        if start_bytes > record.size_bytes:
            raise errors.InvalidInput(
                f"snapshot {snapshot_id} has {record.size_bytes} bytes, and not {start_bytes}"
            )
        chain = bytes.fromhex(progress.chain) if progress and goes_on else b""
        with self._stream():
            yield transfers.Opening(record)
            path = book.images.path(image_of(snapshot_id))
            for piece in self._context.host.contents.pieces(path, start_bytes):
                self._pace.take(len(piece.content))
                chain = transfers.extended(chain, piece)
                yield transfers.Sent(piece, chain)
            yield transfers.Ending(chain)

    def _require(self, snapshot_id: ids.SnapshotId) -> tuple[PoolBook, volumes.SnapshotRecord]:
        book, record = self._context.snapshot(snapshot_id)
        if record.state is not volumes.SnapshotState.READY:
            raise errors.Busy(f"snapshot {snapshot_id} is {record.state.value}")
        return book, record

    @contextmanager
    def _stream(self) -> Iterator[None]:
        with self._guard:
            if self._streams >= _MOST_STREAMS:
                raise errors.Busy(
                    f"node {self._context.node} gives {_MOST_STREAMS} snapshots to others already"
                )
            self._streams += 1
        try:
            yield
        finally:
            with self._guard:
                self._streams -= 1


class _SharedPace:
    """The pace of all readers together."""

    def __init__(self, bytes_per_second: int) -> None:
        self._guard = threading.Lock()
        self._pace = pacing.Pace(bytes_per_second)

    def take(self, size_bytes: int) -> None:
        """Waits for the turn of so many bytes."""
        with self._guard:
            wait_seconds = self._pace.wait_seconds(time.monotonic(), size_bytes)
        if wait_seconds > 0:
            time.sleep(wait_seconds)
