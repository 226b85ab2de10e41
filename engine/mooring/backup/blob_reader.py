"""Reads stored chunks: few large reads, every chunk authenticated and re-hashed."""

import threading
from collections.abc import Iterable, Iterator

from mooring.backup import blob_index
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, packs
from mooring.domain import errors
from mooring.planning import backup_reads

_NAMED_LACKS = 2


class BlobReader:
    """Fetches chunks of one kind. Thread-safe."""

    def __init__(
        self,
        repository: repositories.Repository,
        index: blob_index.BlobIndex,
        *,
        follow: bool = True,
    ) -> None:
        """Reads nothing yet.

        Args:
            repository: Which.
            index: Knows where the chunks are.
            follow: Whether to look for other copies when a pack is gone; the index is then loaded
                anew, and its marks are lost.
        """
        self._repository = repository
        self._follow = follow
        self._index = index
        self._id_key = repository.keys.id_key(index.kind)
        self._thread = threading.local()

    def lacks(self) -> list[str]:
        """Returns what of the index was found to be damaged or missing so far; in words."""
        return self._index.lacks()

    def locate(self, idents: Iterable[bytes]) -> list[backup_reads.PackRead]:
        """Plans the reads for a set of chunks.

        Raises:
            DataCorrupt: One is in no index segment.
        """
        wanted = []
        for ident in idents:
            found = self._index.find(ident)
            if found is None:
                raise self._missing(ident)
            wanted.append(found)
        return backup_reads.plan_reads(wanted)

    def _missing(self, ident: bytes) -> errors.DataCorrupt:
        where = self._repository.store.location
        why = "".join(f"; {lack}" for lack in self._index.lacks()[:_NAMED_LACKS])
        return errors.DataCorrupt(
            f"chunk {ident.hex()} is in no index segment of {where}{why}: "
            "`mooring repo repair` saves what is left, and says what is lost"
        )

    def read(self, planned: backup_reads.PackRead) -> Iterator[tuple[bytes, bytes]]:
        """Fetches one planned read.

        Yields:
            Id and content of each chunk in it, by its place in the pack.

        Raises:
            DataCorrupt: Pack or chunk is missing, truncated or damaged.
        """
        for chunk, _, data in self.read_stored(planned):
            yield chunk.ident, data

    def read_stored(
        self, planned: backup_reads.PackRead
    ) -> Iterator[tuple[backup_reads.StoredChunk, bytes, bytes]]:
        """The same as `read`, with the chunk's stored form beside its content."""
        pack = self._index.pack(planned.pack)
        key = layout.pack_key(pack.name)
        try:
            data = self._repository.store.get_range(key, planned.offset, planned.length)
        except errors.NotFound:
            for other in self._elsewhere(planned):
                yield from self.read_stored(other)
            return
        view = memoryview(data)
        cipher = self._index.cipher(planned.pack)
        for chunk in planned.chunks:
            start = chunk.offset - planned.offset
            entry = packs.PackEntry(
                self._index.kind, chunk.ident, chunk.offset, chunk.length, chunk.raw_length
            )
            stored = cipher.unseal(entry, view[start : start + chunk.length])
            content = self._decoder().decode(stored, chunk.raw_length, chunk.ident, self._id_key)
            yield chunk, stored, content

    def _elsewhere(self, planned: backup_reads.PackRead) -> list[backup_reads.PackRead]:
        """A collector may have copied the chunks to another pack since the index was loaded."""
        if self._follow:
            self._index.lose(planned.pack)
            again = self.locate(chunk.ident for chunk in planned.chunks)
            if not any(self._index.gone(other.pack) for other in again):
                return again
        key = layout.pack_key(self._index.pack(planned.pack).name)
        raise errors.DataCorrupt(f"pack {key} is missing from {self._repository.store.location}")

    def _decoder(self) -> chunks.ChunkDecoder:
        decoder: chunks.ChunkDecoder | None = getattr(self._thread, "decoder", None)
        if decoder is None:
            decoder = self._thread.decoder = chunks.ChunkDecoder()
        return decoder
