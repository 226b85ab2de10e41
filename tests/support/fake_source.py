"""Another node that a snapshot is copied from: it answers in this process, and always the same."""

from datetime import UTC, datetime, timedelta

from mooring.domain import ids, transfers, volumes
from mooring.ports import transfers as ports
from support.real_storage import MIB, POOL, ShiftedClock

NODE = ids.NodeName("node-b")
SIZE_BYTES = 24 * MIB
_TAKEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
_PIECES = (0, 1, 5, 17, 22)
"""Where there is content, in pieces; the last byte of each differs, and there are holes."""


def _piece(number: int) -> transfers.Piece:
    content = bytes([number + 1]) * (transfers.PIECE_BYTES // 2) + bytes(4096) + b"end"
    return transfers.Piece(number * transfers.PIECE_BYTES, _padded(content))


def _padded(content: bytes) -> bytes:
    return content + bytes(transfers.PIECE_BYTES - len(content))


def content() -> bytes:
    """Returns what a copy that is whole begins with; zeros follow."""
    whole = bytearray(SIZE_BYTES)
    for piece in map(_piece, _PIECES):
        whole[piece.offset_bytes : piece.end_bytes] = piece.content
    return bytes(whole)


class FakeSource:
    """Implements `ports.transfers.RemoteSnapshots` for one raw block snapshot.

    Args:
        clock: Put ahead with each piece, so that the reader records how far it is every time.
    """

    def __init__(self, clock: ShiftedClock) -> None:
        self._clock = clock

    def read(
        self, node: ids.NodeName, snapshot_id: ids.SnapshotId, progress: volumes.PullProgress | None
    ) -> ports.Parts:
        """Yields what the reader has not yet."""
        assert node == NODE
        yield transfers.Opening(_record(snapshot_id))
        done_bytes = progress.done_bytes if progress else 0
        chain = b""
        for piece in map(_piece, _PIECES):
            chain = transfers.extended(chain, piece)
            if piece.offset_bytes >= done_bytes:
                self._clock.ahead += timedelta(seconds=2)
                yield transfers.Sent(piece, chain)
        yield transfers.Ending(chain)


def _record(snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord:
    return volumes.SnapshotRecord(
        snapshot_id=snapshot_id,
        name="far",
        pool=POOL,
        size_bytes=SIZE_BYTES,
        mode=volumes.VolumeMode.BLOCK,
        filesystem=None,
        sector_size_bytes=volumes.DEFAULT_SECTOR_SIZE_BYTES,
        preallocated=False,
        state=volumes.SnapshotState.READY,
        created_at=_TAKEN_AT,
    )
