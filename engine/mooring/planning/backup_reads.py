"""Plans how stored chunks are fetched: few large reads instead of many small ones."""

import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MAXIMUM_GAP_BYTES = 64 << 10
"""Bytes that may be read for nothing between two chunks: cheaper than another request."""

MAXIMUM_READ_BYTES = 4 << 20


class StoredChunk(NamedTuple):
    """Where a chunk lies.

    Attributes:
        ident: Its id.
        pack: Number of its pack.
        offset: In the pack.
        length: In the pack.
        raw_length: Of the chunk itself.
    """

    ident: bytes
    pack: int
    offset: int
    length: int
    raw_length: int


class PackRead(NamedTuple):
    """One ranged read and the chunks that are inside it, by offset."""

    pack: int
    offset: int
    length: int
    chunks: tuple[StoredChunk, ...]


_place = operator.attrgetter("pack", "offset")


def plan_reads(
    wanted: Iterable[StoredChunk],
    maximum_gap_bytes: int = MAXIMUM_GAP_BYTES,
    maximum_read_bytes: int = MAXIMUM_READ_BYTES,
) -> list[PackRead]:
    """Groups chunks by pack and joins neighbours.

    Args:
        wanted: Chunks, in any order, each once.
        maximum_gap_bytes: See `MAXIMUM_GAP_BYTES`.
        maximum_read_bytes: Limit of one read; a chunk that is longer gets a read of its own.

    Returns:
        Reads by pack and offset, which together cover every chunk once.
    """
    reads: list[PackRead] = []
    run: list[StoredChunk] = []
    for chunk in sorted(wanted, key=_place):
        if run:
            end = run[-1].offset + run[-1].length
            joins = (
                chunk.pack == run[0].pack
                and chunk.offset - end <= maximum_gap_bytes
                and chunk.offset + chunk.length - run[0].offset <= maximum_read_bytes
            )
            if not joins:
                reads.append(_read(run))
                run = []
        run.append(chunk)
    if run:
        reads.append(_read(run))
    return reads


def _read(run: Sequence[StoredChunk]) -> PackRead:
    first, last = run[0], run[-1]
    return PackRead(first.pack, first.offset, last.offset + last.length - first.offset, tuple(run))
