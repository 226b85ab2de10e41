"""Where chunks lie: all index segments that matter, in one flat hash table.

The table is fixed-size records in a memory map, not a dictionary: 48 bytes an entry instead of
several hundred, and beyond a few MiB it lies in an unlinked temporary file, so that the memory of
a backup or restore does not grow with the repository.
"""

import contextlib
import mmap
import tempfile
import threading
from collections.abc import Iterable

from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs, sealed, segments
from mooring.domain import backups, errors
from mooring.planning import backup_reads

_SMALL_BYTES = 8 << 20
_FREE = bytes(layout.ID_BYTES)


class _Table:
    """Open addressing over a map; ids are uniform, so their first bytes are the hash."""

    def __init__(self, expected: int) -> None:
        self._slots = expected + expected // 3 + 8
        self._room = expected
        self._size = segments.ENTRY.size
        size_bytes = self._slots * self._size
        self._map = _map(size_bytes)

    def find(self, ident: bytes) -> int:
        """Returns the position of the entry, or of the free slot where it belongs."""
        slot = int.from_bytes(ident[:8], "little") % self._slots
        while True:
            position = slot * self._size
            there = self._map[position : position + layout.ID_BYTES]
            if there in (ident, _FREE):
                return position
            slot = (slot + 1) % self._slots

    def get(self, position: int) -> bytes:
        return self._map[position : position + self._size]

    def put(self, position: int, record: bytes) -> None:
        if self._map[position : position + layout.ID_BYTES] == _FREE:
            if not self._room:  # never full, so that a search always ends
                raise errors.DataCorrupt("an index segment is longer than the store had said")
            self._room -= 1
        self._map[position : position + self._size] = record


def _map(size_bytes: int) -> mmap.mmap:
    if size_bytes > _SMALL_BYTES:
        # Without a folder for temporary files there is still memory.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix="mooring-index-") as file:
            file.truncate(size_bytes)
            return mmap.mmap(file.fileno(), size_bytes)
    return mmap.mmap(-1, size_bytes)


class BlobIndex:
    """Finds chunks of one kind by id. Lookups are thread-safe."""

    def __init__(self, repository: repositories.Repository, kind: layout.BlobKind) -> None:
        self.kind = kind
        self._repository = repository
        self._tables: list[_Table] = []
        self._packs: list[segments.PackInfo] = []
        self._numbers: dict[bytes, int] = {}
        self._loaded: set[str] = set()
        self._whole = False
        self._lock = threading.Lock()
        self._tombstones = _tombstones(repository)
        self._ciphers: dict[int, packs.PackCipher] = {}

    def load(self, sessions: Iterable[backups.SessionId]) -> None:
        """Loads what these sessions wrote; the rest follows when something is not found."""
        wanted = set(sessions)
        if not wanted:
            return
        with self._lock:
            self._load(wanted)

    def find(self, ident: bytes) -> backup_reads.StoredChunk | None:
        """Returns where a chunk lies, or None if no index segment knows it.

        Raises:
            DataCorrupt: A segment is damaged.
        """
        found = self._find(ident)
        if (found is None or self._doomed(found.pack)) and not self._whole:
            with self._lock:
                if not self._whole:
                    self._load(None)
                    self._whole = True
            found = self._find(ident)
        return found

    def known(self, ident: bytes) -> bool:
        """Tells whether a chunk is in what was loaded; loads nothing more."""
        return self._find(ident) is not None

    def pack(self, number: int) -> segments.PackInfo:
        """Returns the pack of that number."""
        return self._packs[number]

    def pack_list(self) -> list[segments.PackInfo]:
        """Returns all packs seen so far."""
        return list(self._packs)

    def cipher(self, number: int) -> packs.PackCipher:
        """Returns the cipher of the pack of that number."""
        cipher = self._ciphers.get(number)
        if cipher is None:
            pack = self._packs[number]
            cipher = packs.PackCipher(self._repository.keys, pack.name, pack.salt)
            if len(self._ciphers) > 256:
                self._ciphers.clear()
            self._ciphers[number] = cipher
        return cipher

    def _find(self, ident: bytes) -> backup_reads.StoredChunk | None:
        found = None
        for table in self._tables:
            record = table.get(table.find(ident))
            if record.startswith(ident):
                found = backup_reads.StoredChunk(*segments.ENTRY.unpack(record))
                if not self._doomed(found.pack):
                    return found
        return found

    def _load(self, sessions: set[backups.SessionId] | None) -> None:
        found = []
        expected = 0
        for info in self._repository.store.list(layout.INDEX):
            parts = layout.segment_parts(info.key)
            if parts is None or parts[1] is not self.kind or info.key in self._loaded:
                continue
            if sessions is None or parts[0] in sessions:
                found.append(info.key)
                expected += max(0, info.size_bytes - sealed.OVERHEAD_BYTES) // segments.ENTRY.size
        if not found:
            return
        table = _Table(expected)
        for key in found:
            self._add(table, key)
            self._loaded.add(key)
        self._tables.append(table)

    def _add(self, table: _Table, key: str) -> None:
        try:
            content = self._repository.get_sealed(key, layout.MAXIMUM_SEGMENT_BYTES)
        except errors.NotFound:
            return  # merged into another segment meanwhile
        listed, entries = segments.decode(content, key)
        numbers = [self._number(pack) for pack in listed]
        for ident, pack, offset, length, raw_length in segments.iterate(entries):
            if pack >= len(numbers) or ident == _FREE:
                raise errors.DataCorrupt(f"index segment {key} cannot be right")
            position = table.find(ident)
            there = table.get(position)
            if there.startswith(ident) and not self._doomed(segments.ENTRY.unpack(there)[1]):
                continue
            record = segments.ENTRY.pack(ident, numbers[pack], offset, length, raw_length)
            table.put(position, record)

    def _doomed(self, pack: int) -> bool:
        """A chunk that was sent again is read from its new pack: the old one may go any moment."""
        return bool(self._tombstones) and self._packs[pack].name in self._tombstones

    def _number(self, pack: segments.PackInfo) -> int:
        number = self._numbers.get(pack.name)
        if number is None:
            number = self._numbers[pack.name] = len(self._packs)
            self._packs.append(pack)
        return number


def _tombstones(repository: repositories.Repository) -> set[bytes]:
    return {
        bytes.fromhex(name)
        for info in repository.store.list(layout.TOMBSTONES)
        if len(name := info.key.removeprefix(layout.TOMBSTONES)) == 2 * layout.PACK_NAME_BYTES
    }
