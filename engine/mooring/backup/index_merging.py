"""Writes index segments anew without the packs that are gone, and joins small ones.

What is written anew is durable before what it replaces is taken away, so that a reader finds every
chunk in one or the other.
"""

from collections.abc import Callable, Iterable

from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors
from mooring.ports import blobstores

_SMALL_BYTES = segments.MAXIMUM_ENTRIES * segments.ENTRY.size // 8
_SMALL_SEGMENTS = 64
"""So many small segments of a kind are left alone: joining them would cost more than they do."""
_AGAIN = 50_000_000
"""Numbers from here on are of segments that were written anew; writers never come so far."""


class IndexMerge:
    """One pass over the segments of one kind."""

    def __init__(
        self,
        repository: repositories.Repository,
        kind: layout.BlobKind,
        found: Iterable[blobstores.BlobInfo],
        drop: set[bytes],
    ) -> None:
        """Prepares a pass.

        Args:
            repository: Which.
            kind: Of which chunks.
            found: Segments that may be taken away: none of a writer that is under way.
            drop: Packs that are gone and that nothing needs.
        """
        self._repository = repository
        self._kind = kind
        self._found = [info for info in found if _kind_of(info.key) is kind]
        self._drop = drop
        suffix = repository.surroundings.entropy(8).hex()
        self._session = backups.SessionId(f"{backups.COLLECTOR}.{suffix}")
        self._written = self._joined = 0
        self._packs: dict[bytes, segments.PackInfo] = {}
        self._records: dict[bytes, set[bytes]] = {}
        self._count = 0
        self._sources: list[str] = []

    def run(self, beat: Callable[[], bool]) -> tuple[int, int]:
        """Does it.

        Args:
            beat: Called for each segment; False ends the pass early.

        Returns:
            How many segments were taken away, and how many written.
        """
        removed = 0
        for key in self._naming_dropped(beat):
            if not beat():
                break
            self._rewrite(key)
            removed += 1
        for key in self._small():
            if not beat():
                break
            self._take(key)
            if self._count >= segments.MAXIMUM_ENTRIES:
                removed += self._flush()
        removed += self._flush()
        return removed, self._written

    def _naming_dropped(self, beat: Callable[[], bool]) -> list[str]:
        found = []
        for info in self._found if self._drop else ():
            if not beat():
                break
            content = self._read(info.key)
            if content is not None and any(pack.name in self._drop for pack in content[0]):
                found.append(info.key)
        return found

    def _small(self) -> list[str]:
        small = [info.key for info in self._found if info.size_bytes < _SMALL_BYTES]
        return small if len(small) > _SMALL_SEGMENTS else []

    def _rewrite(self, key: str) -> None:
        """Stays with its session, where readers look first."""
        parts = layout.segment_parts(key)
        self._take(key)
        if parts is not None and self._count:
            number = int.from_bytes(self._repository.surroundings.entropy(8), "little")
            self._put(layout.segment_key(parts[0], self._kind, _AGAIN + number % _AGAIN))
        self._clear()

    def _read(self, key: str) -> tuple[list[segments.PackInfo], memoryview] | None:
        try:
            content = self._repository.get_sealed(key, layout.MAXIMUM_SEGMENT_BYTES)
        except errors.NotFound:
            return None  # another collector was here
        return segments.decode(content, key)

    def _take(self, key: str) -> None:
        content = self._read(key)
        if content is None:
            return
        packs, entries = content
        for ident, pack, offset, length, raw_length in segments.iterate(entries):
            if pack >= len(packs):
                raise errors.DataCorrupt(f"index segment {key} cannot be right")
            info = packs[pack]
            if info.name not in self._drop:
                self._packs[info.name] = info
                kept = self._records.setdefault(info.name, set())
                kept.add(segments.ENTRY.pack(ident, 0, offset, length, raw_length))
        self._count = sum(map(len, self._records.values()))
        self._sources.append(key)

    def _flush(self) -> int:
        if self._count:
            self._put(layout.segment_key(self._session, self._kind, self._joined))
            self._joined += 1
        return self._clear()

    def _put(self, key: str) -> None:
        names = sorted(self._records)
        records = []
        for number, name in enumerate(names):
            place = number.to_bytes(4, "little")
            start, end = layout.ID_BYTES, layout.ID_BYTES + len(place)
            records += [record[:start] + place + record[end:] for record in self._records[name]]
        content = segments.encode([self._packs[name] for name in names], records)
        self._repository.put_sealed(key, content)
        self._written += 1

    def _clear(self) -> int:
        for source in self._sources:
            self._repository.store.delete(source)
        removed = len(self._sources)
        self._packs, self._records, self._sources, self._count = {}, {}, [], 0
        return removed


def _kind_of(key: str) -> layout.BlobKind | None:
    parts = layout.segment_parts(key)
    return None if parts is None else parts[1]
