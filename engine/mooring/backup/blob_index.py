"""Where chunks lie: all index segments that matter, in flat tables.

Segments come and go while a reader works: a collector writes what it merges anew before it takes
the old ones away. So nothing is said to be missing before a listing has brought nothing new, and a
reader that meets a pack which is gone looks again. A segment that is damaged stops a collector; a
reader goes on without it, and asks the packs for what it misses.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mooring.backup import chunk_table, pack_census, unlisted_packs
from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs, sealed, segments
from mooring.domain import backups, errors
from mooring.planning import backup_reads

GOOD, DOOMED, GONE = range(3)
_LISTINGS = 8

Judge = Callable[[segments.PackInfo], int]
"""Tells what a pack is: GOOD, DOOMED or GONE, as far as is known."""


def _trust(_: segments.PackInfo) -> int:
    return GOOD


@dataclass(frozen=True)
class Marked:
    """A chunk that was marked.

    Attributes:
        fresh: Whether it had no mark before.
        rank: What its preferred copy is: GOOD, DOOMED or GONE.
    """

    fresh: bool
    rank: int


class BlobIndex:
    """Finds chunks of one kind by id. Lookups are thread-safe.

    Of several copies of a chunk one in a pack without a tombstone is preferred, and one in a pack
    that is gone comes last.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        kind: layout.BlobKind,
        judge: Judge = _trust,
        problems: dict[str, str] | None = None,
        *,
        mapped: bool = True,
        asks_packs: bool = False,
    ) -> None:
        """Loads nothing yet.

        Args:
            repository: Which.
            kind: Of which chunks.
            judge: Asked once for each pack that a segment names.
            problems: Where to say, by key, which segments cannot be read, and why; without it that
                is an error.
            mapped: See `ChunkTable`.
            asks_packs: Whether packs that no readable segment names are asked for what is in none.
        """
        self._mapped = mapped
        self.kind = kind
        self._repository = repository
        self._judge_pack = judge
        self._problems = problems
        self._asks_packs = asks_packs
        self._asked = False
        self._spare: list[chunk_table.ChunkTable] = []
        self._tables: list[chunk_table.ChunkTable] = []
        self._packs = pack_census.PackList()
        self._ranks = bytearray()
        self._loaded: set[str] = set()
        self._whole = False
        self._lock = threading.Lock()
        self._tombstones = tombstones(repository)
        self._ciphers: dict[int, packs.PackCipher] = {}

    def load(self, sessions: Iterable[backups.SessionId]) -> None:
        """Loads what these sessions wrote; the rest follows when something is not found."""
        wanted = set(sessions)
        if not wanted:
            return
        with self._lock:
            self._load(wanted)

    def load_all(self) -> None:
        """Loads every segment.

        Raises:
            DataCorrupt: A segment is damaged.
        """
        with self._lock:
            if not self._whole:
                self._load(None)
                self._whole = True

    def find(self, ident: bytes) -> backup_reads.StoredChunk | None:
        """Returns where a chunk lies, or None if no index segment knows it.

        Raises:
            DataCorrupt: A segment is damaged.
        """
        found = self._find(ident)
        if (found is None or self._ranks[found.pack] != GOOD) and not self._whole:
            self.load_all()
            found = self._find(ident)
        if self._asks_packs and (found is None or self._ranks[found.pack] == GONE):
            self.ask_packs()
            found = self._find(ident)
        return found

    def lacks(self) -> list[str]:
        """Returns what of the index was found to be damaged or missing so far; in words."""
        lacks = list(dict.fromkeys((self._problems or {}).values()))
        if self._spare:
            lacks.append("index segments are missing, so packs were asked what is in them")
        return lacks

    def known(self, ident: bytes) -> bool:
        """Tells whether a chunk is in what was loaded and is there to stay; loads nothing more."""
        where = self._where(ident)
        return where is not None and self._rank(where[0].get(where[1])) == GOOD

    def lose(self, number: int) -> None:
        """Takes note that a pack is gone, and looks for other copies of what was in it.

        Raises:
            DataCorrupt: A segment is damaged.
        """
        with self._lock:
            if self._ranks[number] != GONE:
                self._ranks[number] = GONE
                self._load_anew()

    def mark(self, ident: bytes) -> Marked | None:
        """Marks a chunk of an index that is loaded whole; None when it is not there."""
        where = self._where(ident)
        if where is None:
            return None
        table, position = where
        return Marked(table.mark(position), self._rank(table.get(position)))

    def marked(self) -> Iterator[backup_reads.StoredChunk]:
        """Yields the chunks that are marked, each in its preferred copy."""
        for table in self._tables:
            for record in table.marked():
                yield backup_reads.StoredChunk(*segments.ENTRY.unpack(record))

    def marked_count(self) -> int:
        """Returns how many chunks are marked."""
        return sum(table.marked_count() for table in self._tables)

    def find_marked(self, ident: bytes) -> backup_reads.StoredChunk | None:
        """Returns the preferred copy of a chunk if it is marked."""
        where = self._where(ident)
        if where is None or not where[0].is_marked(where[1]):
            return None
        return self._find(ident)

    def pack(self, number: int) -> segments.PackInfo:
        """Returns the pack of that number."""
        return self._packs[number]

    def pack_list(self) -> pack_census.PackList:
        """Returns all packs seen so far."""
        return self._packs

    def usable(self, number: int) -> bool:
        """Tells whether a pack is there, and not doomed."""
        return self._ranks[number] == GOOD

    def gone(self, number: int) -> bool:
        """Tells whether a pack is known not to be there."""
        return self._ranks[number] == GONE

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
        where = self._where(ident)
        if where is None:
            return None
        return backup_reads.StoredChunk(*segments.ENTRY.unpack(where[0].get(where[1])))

    def _where(self, ident: bytes) -> tuple[chunk_table.ChunkTable, int] | None:
        found = None
        best = GONE + 1
        for table in self._tables:
            position = table.find(ident)
            record = table.get(position)
            if record.startswith(ident):
                rank = self._rank(record)
                if rank == GOOD:
                    return table, position
                if rank < best:
                    found, best = (table, position), rank
        return found

    def _load_anew(self) -> None:
        self._tombstones = tombstones(self._repository)
        for number, pack in enumerate(self._packs):
            if self._ranks[number] != GONE:
                self._ranks[number] = self._judge(pack)
        before = self._tables
        self._loaded.clear()
        self._load(None)
        self._tables = [*self._tables[len(before) :], *self._spare]
        self._asked = False
        self._whole = True

    def ask_packs(self) -> None:
        """Adds what packs say that no readable segment names; all segments are loaded before."""
        with self._lock:
            if self._asked:
                return
            problems = {} if self._problems is None else self._problems
            for listed in unlisted_packs.read(self._repository, self.kind, self._knows, problems):
                table = chunk_table.ChunkTable(sum(len(found) for _, found in listed))
                for pack, found in listed:
                    known = (one for one in found if one.ident != chunk_table.FREE)
                    entries = ((one.ident, 0, *one[2:]) for one in known)
                    self._put(table, [self._number(pack)], entries)
                self._spare.append(table)
                self._tables = [*self._tables, table]
            self._asked = True

    def _knows(self, pack: bytes) -> bool:
        return self._packs.number(pack) is not None

    def _load(self, sessions: set[backups.SessionId] | None) -> None:
        """Loads segments until a listing brings nothing new: they may be merged meanwhile."""
        for _ in range(_LISTINGS):
            found = []
            expected = 0
            for info in self._repository.store.list(layout.INDEX):
                parts = layout.segment_parts(info.key)
                if parts is None or parts[1] is not self.kind or info.key in self._loaded:
                    continue
                if sessions is None or parts[0] in sessions:
                    found.append(info.key)
                    content_bytes = max(0, info.size_bytes - sealed.OVERHEAD_BYTES)
                    expected += content_bytes // segments.ENTRY.size
            if not found:
                return
            self._add_table(found, expected)
            if sessions is not None:
                return  # what is missing makes the rest be loaded
        raise errors.Busy("the index is being rewritten again and again: try again")

    def _add_table(self, found: list[str], expected: int) -> None:
        table = chunk_table.ChunkTable(expected, mapped=self._mapped)
        for key in found:
            try:
                self._add(table, key)
            except unlisted_packs.UNREADABLE as error:
                if self._problems is None or not self._tolerates(error):
                    raise
                self._problems[key] = str(error)
            self._loaded.add(key)
        self._tables = [*self._tables, table]

    def _add(self, table: chunk_table.ChunkTable, key: str) -> None:
        try:
            content = self._repository.get_sealed(key, layout.MAXIMUM_SEGMENT_BYTES)
        except errors.NotFound:
            return  # merged into another segment meanwhile
        listed, entries = segments.decode(content, key)
        segments.check(listed, entries, key)  # first: a pack that is known is not asked
        numbers = [self._number(pack) for pack in listed]
        self._put(table, numbers, segments.iterate(entries))

    def _tolerates(self, error: errors.MooringError) -> bool:
        """What a newer Mooring wrote is nothing that a repair may take for damage."""
        return self._asks_packs or isinstance(error, errors.DataCorrupt)

    def _put(
        self,
        table: chunk_table.ChunkTable,
        numbers: list[int],
        entries: Iterable[tuple[bytes, int, int, int, int]],
    ) -> None:
        for ident, pack, offset, length, raw_length in entries:
            position = table.find(ident)
            there = table.get(position)
            if there.startswith(ident) and self._rank(there) <= self._ranks[numbers[pack]]:
                continue
            record = segments.ENTRY.pack(ident, numbers[pack], offset, length, raw_length)
            table.put(position, record)

    def _rank(self, record: bytes) -> int:
        """A chunk that was sent again is read from its new pack: the old one may go any moment."""
        pack: int = segments.ENTRY.unpack(record)[1]
        return self._ranks[pack]

    def _judge(self, pack: segments.PackInfo) -> int:
        doomed = DOOMED if pack.name in self._tombstones else GOOD
        return max(doomed, self._judge_pack(pack))

    def _number(self, pack: segments.PackInfo) -> int:
        number = self._packs.number(pack.name)
        if number is None:
            self._ranks.append(self._judge(pack))
            number = self._packs.add(pack)
        return number


def for_reading(
    repository: repositories.Repository, kind: layout.BlobKind, judge: Judge = _trust
) -> BlobIndex:
    """Returns an index that a damaged segment does not stop; see `BlobIndex.lacks`."""
    return BlobIndex(repository, kind, judge, problems={}, asks_packs=True)


def advice(lacks: Iterable[str]) -> list[str]:
    """Returns notes for whoever met what `BlobIndex.lacks` says and could do without."""
    return [f"{lack}: `mooring repo repair` makes the index whole again" for lack in lacks]


def tombstones(repository: repositories.Repository) -> pack_census.PackCensus:
    """Lists the tombstones, by the names of the doomed packs."""
    return pack_census.PackCensus(
        pack_census.ListedPack(name, info.size_bytes, info.modified_at)
        for info in repository.store.list(layout.TOMBSTONES)
        if (name := layout.tombstone_name(info.key)) is not None
    )
