"""How a snapshot's content goes from one node to another: in pieces, under a chain of checksums.

Only pieces that hold more than zeros are sent, in order, cut at fixed offsets. Both ends therefore
derive the same chain from the same content, wherever a copy was broken off and however its holes
were made.
"""

from dataclasses import dataclass

import blake3

from mooring.domain import ids, volumes

PIECE_BYTES = 1 << 20
"""Pieces begin at multiples of this; a volume's size is one too."""
CHAIN_BYTES = 32
"""What a chain takes once a piece is in it."""
_OFFSET_BYTES = 8
_NAME_PREFIX = "mooring-transfer-"


@dataclass(frozen=True)
class Opening:
    """What a copy begins with: the snapshot that is sent.

    If it is of another point in time than the reader had, it is sent from its first byte on.
    """

    snapshot: volumes.SnapshotRecord


@dataclass(frozen=True)
class Piece:
    """A part of the content that holds more than zeros."""

    offset_bytes: int
    content: bytes

    @property
    def end_bytes(self) -> int:
        """Where the piece ends."""
        return self.offset_bytes + len(self.content)


@dataclass(frozen=True)
class Sent:
    """A piece, and the chain over it and everything before it."""

    piece: Piece
    chain: bytes


@dataclass(frozen=True)
class Ending:
    """What a copy ends with: the chain over every piece from the first byte on."""

    chain: bytes


Part = Opening | Sent | Ending


def extended(chain: bytes, piece: Piece) -> bytes:
    """Returns the chain after one more piece; it begins as no bytes."""
    content = blake3.blake3(piece.content).digest()
    place = piece.offset_bytes.to_bytes(_OFFSET_BYTES, "big")
    return blake3.blake3(chain + place + content).digest()


def snapshot_name(target: ids.VolumeId) -> str:
    """Returns the name of the snapshot that a clone's source is cut into for a copy."""
    return f"{_NAME_PREFIX}{target}"


def target_of(snapshot_name: str) -> ids.VolumeId | None:
    """Returns the volume that a snapshot was cut for; None for a snapshot of a user's."""
    if not snapshot_name.startswith(_NAME_PREFIX):
        return None
    return ids.VolumeId(snapshot_name.removeprefix(_NAME_PREFIX))


def snapshot_of(source: volumes.Source, target: ids.VolumeId) -> ids.SnapshotId | None:
    """Returns what is read to copy a source: the snapshot, or the one that a volume is cut into."""
    if source.volume_id is not None:
        return ids.snapshot_id_for(snapshot_name(target), source.volume_id)
    return source.snapshot_id
