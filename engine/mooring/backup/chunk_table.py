"""A flat hash table of index entries, for repositories that do not fit in memory.

The table is fixed-size records, not a dictionary: 48 bytes an entry instead of several hundred, and
beyond a few MiB it lies in an unlinked temporary file. Readers and writers map that file, which is
fastest. A collector looks at all of it in no order, so it reads and writes the file: its own
memory then does not grow with the repository.
"""

import contextlib
import errno
import mmap
import os
import tempfile
from collections.abc import Iterator

from mooring.backup.format import layout, segments
from mooring.domain import errors

FREE = bytes(layout.ID_BYTES)
_SMALL_BYTES = 8 << 20


class ChunkTable:
    """Open addressing over a map; ids are uniform, so their first bytes are the hash.

    Lookups are thread-safe; writes and marks are for one thread.
    """

    def __init__(self, expected: int, *, mapped: bool = True) -> None:
        """Makes an empty table.

        Args:
            expected: How many entries will come at most.
            mapped: Whether a table that is too large for memory is mapped into it all the same.

        Raises:
            SpaceExhausted: The folder for temporary files has no room for it.
        """
        self._slots = expected + expected // 3 + 8
        self._room = expected
        self._size = segments.ENTRY.size
        self._map = _room(self._slots * self._size, mapped=mapped)
        self._marks = bytearray()

    def find(self, ident: bytes) -> int:
        """Returns the position of the entry, or of the free slot where it belongs."""
        slot = int.from_bytes(ident[:8], "little") % self._slots
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
                    yield self.get((8 * byte + bit) * self._size)


class _FileRoom:
    """Bytes of a file, by slices; the last page is remembered. For one thread."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._page = (-1, b"")

    def __del__(self) -> None:
        os.close(self._file)

    def __getitem__(self, place: slice) -> bytes:
        number, start = divmod(place.start, mmap.PAGESIZE)
        end = start + place.stop - place.start
        if end > mmap.PAGESIZE:
            return os.pread(self._file, place.stop - place.start, place.start)
        known, page = self._page
        if known != number:
            page = os.pread(self._file, mmap.PAGESIZE, number * mmap.PAGESIZE)
            self._page = (number, page)
        return page[start:end]

    def __setitem__(self, place: slice, data: bytes) -> None:
        self._page = (-1, b"")
        os.pwrite(self._file, data, place.start)


def _room(size_bytes: int, *, mapped: bool) -> mmap.mmap | _FileRoom:
    if size_bytes > _SMALL_BYTES:
        # Without a folder for temporary files there is still memory.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix="mooring-index-") as file:
            _take(file.fileno(), size_bytes)
            if mapped:
                return mmap.mmap(file.fileno(), size_bytes)
            return _FileRoom(os.dup(file.fileno()))
    return mmap.mmap(-1, size_bytes)


def _take(file: int, size_bytes: int) -> None:
    """Takes all room at once: a mapped page that finds none later ends the process.

    Raises:
        SpaceExhausted: There is not so much.
    """
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise errors.SpaceExhausted(
            f"a table of the index needs {-(-size_bytes >> 20)} MiB in {tempfile.gettempdir()}, "
            "which has less: make room there, or name another folder in TMPDIR"
        ) from error
