"""Reads stored chunks: few large reads, every chunk authenticated and re-hashed."""

import threading
from collections.abc import Iterable, Iterator

from mooring.backup import blob_index
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, packs
from mooring.domain import errors
from mooring.planning import backup_reads


class BlobReader:
    """Fetches chunks of one kind. Thread-safe."""

    def __init__(self, repository: repositories.Repository, index: blob_index.BlobIndex) -> None:
        self._repository = repository
        self._index = index
        self._id_key = repository.keys.id_key(index.kind)
        self._thread = threading.local()

    def locate(self, idents: Iterable[bytes]) -> list[backup_reads.PackRead]:
        """Plans the reads for a set of chunks.

        Raises:
            DataCorrupt: One is in no index segment.
        """
        wanted = []
        for ident in idents:
            found = self._index.find(ident)
            if found is None:
                where = self._repository.store.location
                raise errors.DataCorrupt(f"chunk {ident.hex()} is in no index segment of {where}")
            wanted.append(found)
        return backup_reads.plan_reads(wanted)

    def read(self, planned: backup_reads.PackRead) -> Iterator[tuple[bytes, bytes]]:
        """Fetches one planned read.

        Yields:
            Id and content of each chunk in it, by its place in the pack.

        Raises:
            DataCorrupt: Pack or chunk is missing, truncated or damaged.
        """
        pack = self._index.pack(planned.pack)
        key = layout.pack_key(pack.name)
        try:
            data = self._repository.store.get_range(key, planned.offset, planned.length)
        except errors.NotFound as error:
            raise errors.DataCorrupt(
                f"pack {key} is missing from {self._repository.store.location}"
            ) from error
        view = memoryview(data)
        cipher = self._index.cipher(planned.pack)
        for chunk in planned.chunks:
            start = chunk.offset - planned.offset
            entry = packs.PackEntry(
                self._index.kind, chunk.ident, chunk.offset, chunk.length, chunk.raw_length
            )
            stored = cipher.unseal(entry, view[start : start + chunk.length])
            yield (
                chunk.ident,
                self._decoder().decode(stored, chunk.raw_length, chunk.ident, self._id_key),
            )

    def _decoder(self) -> chunks.ChunkDecoder:
        decoder: chunks.ChunkDecoder | None = getattr(self._thread, "decoder", None)
        if decoder is None:
            decoder = self._thread.decoder = chunks.ChunkDecoder()
        return decoder
