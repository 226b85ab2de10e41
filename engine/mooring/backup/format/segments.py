"""Index segments: where chunks lie. Sorted by id, immutable, and rebuildable from pack footers.

4 bytes number of packs, 4 bytes number of entries
packs     each 16 bytes name, 32 bytes salt, 8 bytes size
entries   each 32 bytes id, 4 bytes pack (position in the list above), 4 bytes offset,
          4 bytes length in the pack, 4 bytes length of the chunk; sorted by id
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mooring.backup.format import layout
from mooring.domain import errors

MAXIMUM_ENTRIES = 1 << 15
_COUNTS = struct.Struct("<II")
PACK = struct.Struct("<16s32sQ")
ENTRY = struct.Struct("<32sIIII")
_PLACE = struct.Struct("<32sI12x")


@dataclass(frozen=True)
class PackInfo:
    """A pack as a segment names it; with the salt, its blobs can be read without its header."""

    name: bytes
    salt: bytes
    size_bytes: int


def encode(packs: Sequence[PackInfo], entries: Sequence[bytes]) -> bytes:
    """Writes a segment.

    Args:
        packs: The packs that entries refer to.
        entries: Packed with `ENTRY`, in any order.
    """
    head = _COUNTS.pack(len(packs), len(entries))
    table = b"".join(PACK.pack(pack.name, pack.salt, pack.size_bytes) for pack in packs)
    return head + table + b"".join(sorted(entries))


def decode(content: bytes, key: str) -> tuple[list[PackInfo], memoryview]:
    """Reads a segment.

    Args:
        content: The decrypted object.
        key: Its name, for messages.

    Returns:
        The packs, and the packed entries.

    Raises:
        DataCorrupt: Its numbers contradict each other.
    """
    damaged = errors.DataCorrupt(f"index segment {key} cannot be right")
    if len(content) < _COUNTS.size:
        raise damaged
    pack_count, entry_count = _COUNTS.unpack_from(content)
    table_end = _COUNTS.size + pack_count * PACK.size
    if len(content) != table_end + entry_count * ENTRY.size:
        raise damaged
    packs = [PackInfo(*values) for values in PACK.iter_unpack(content[_COUNTS.size : table_end])]
    if any(pack.size_bytes > layout.MAXIMUM_PACK_BYTES for pack in packs):
        raise damaged
    return packs, memoryview(content)[table_end:]


def check(packs: Sequence[PackInfo], entries: memoryview, key: str) -> None:
    """Looks whether each entry can be right.

    Raises:
        DataCorrupt: One names a pack that is not in the list, or has the id of zeros.
    """
    for ident, pack in _PLACE.iter_unpack(entries):
        if pack >= len(packs) or ident == layout.ZERO_ID:
            raise errors.DataCorrupt(f"the list of chunks in {key} cannot be right")


def iterate(entries: memoryview) -> Iterator[tuple[bytes, int, int, int, int]]:
    """Yields id, pack, offset, length and raw length of each entry."""
    return ENTRY.iter_unpack(entries)
