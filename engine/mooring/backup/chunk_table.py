"""A flat hash table of index entries, for repositories that do not fit in memory.

The table is fixed-size records in a memory map, not a dictionary: 48 bytes an entry instead of
several hundred, and beyond a few MiB it lies in an unlinked temporary file, whose pages are let go
again and again, so that the memory of a process does not grow with the repository.
"""

import contextlib
import mmap
import tempfile
from collections.abc import Iterator

from mooring.backup.format import layout, segments
from mooring.domain import errors

FREE = bytes(layout.ID_BYTES)
_SMALL_BYTES = 8 << 20
_TOUCHES = 1 << 8
"""Look-ups before the process lets go of the pages: each may bring in 64 KiB."""


class ChunkTable:
    """Open addressing over a map; ids are uniform, so their first bytes are the hash.

    Lookups are thread-safe; writes and marks are for one thread.
    """

    def __init__(self, expected: int) -> None:
        self._slots = expected + expected // 3 + 8
        self._room = expected
        self._size = segments.ENTRY.size
        self._map, self._in_file = _map(self._slots * self._size)
        self._marks = bytearray()
        self._touched = 0

    def find(self, ident: bytes) -> int:
        """Returns the position of the entry, or of the free slot where it belongs."""
        slot = int.from_bytes(ident[:8], "little") % self._slots
        self._touch()
        while True:
            position = slot * self._size
            there = self._map[position : position + layout.ID_BYTES]
            if there in (ident, FREE):
                return position
            slot = (slot + 1) % self._slots

    def get(self, position: int) -> bytes:
        """Returns the record at a position; its id is zeros when the slot is free."""
        return self._map[position : position + self._size]

    def put(self, position: int, record: bytes) -> None:
        """Writes a record where `find` said.

        Raises:
            DataCorrupt: More entries come than were expected.
        """
        if self._map[position : position + layout.ID_BYTES] == FREE:
            if not self._room:  # never full, so that a search always ends
                raise errors.DataCorrupt("an index segment is longer than the store had said")
            self._room -= 1
        self._map[position : position + self._size] = record

    def mark(self, position: int) -> bool:
        """Marks the entry at a position; tells whether it was not marked before."""
        if not self._marks:
            self._marks = bytearray(-(-self._slots // 8))
        byte, bit = divmod(position // self._size, 8)
        fresh = not self._marks[byte] >> bit & 1
        self._marks[byte] |= 1 << bit
        return fresh

    def is_marked(self, position: int) -> bool:
        """Tells whether the entry at a position is marked."""
        byte, bit = divmod(position // self._size, 8)
        return bool(self._marks) and bool(self._marks[byte] >> bit & 1)

    def marked_count(self) -> int:
        """Returns how many entries are marked."""
        return sum(byte.bit_count() for byte in self._marks)

    def marked(self) -> Iterator[bytes]:
        """Yields the records that are marked."""
        for byte, bits in enumerate(self._marks):
            for bit in range(8) if bits else ():
                if bits >> bit & 1:
                    self._touch()
                    yield self.get((8 * byte + bit) * self._size)

    def _touch(self) -> None:
        self._touched += 1
        if self._in_file and self._touched >= _TOUCHES:
            self._touched = 0
            # What was written stays in the file; only this process's mapping of it goes.
            self._map.madvise(mmap.MADV_DONTNEED)


def _map(size_bytes: int) -> tuple[mmap.mmap, bool]:
    if size_bytes > _SMALL_BYTES:
        # Without a folder for temporary files there is still memory.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix="mooring-index-") as file:
            file.truncate(size_bytes)
            return mmap.mmap(file.fileno(), size_bytes), True
    return mmap.mmap(-1, size_bytes), False
