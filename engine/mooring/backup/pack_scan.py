"""Reads whole packs: every chunk is decrypted and hashed again."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mooring.backup import chunk_hashing, pack_footers
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, packs, segments
from mooring.domain import errors
from mooring.planning import backup_reads


@dataclass(frozen=True)
class ScannedPack:
    """What reading a pack has shown.

    Attributes:
        name: Of the pack.
        good: How many chunks are as they were written.
        bad: Kind and id of those that are not.
        bytes_read: What it cost.
        problem: Why the pack as a whole cannot be read; None when it can.
    """

    name: bytes
    good: int = 0
    bad: tuple[tuple[layout.BlobKind, bytes], ...] = ()
    bytes_read: int = 0
    problem: str | None = None


class PackScanner:
    """Reads packs in several threads."""

    def __init__(self, repository: repositories.Repository) -> None:
        self._repository = repository
        self._thread = threading.local()

    def scan(
        self, wanted: Iterable[segments.PackInfo], beat: Callable[[], None]
    ) -> Iterator[ScannedPack]:
        """Reads some packs.

        Args:
            wanted: Which.
            beat: Called between two packs.

        Raises:
            Unreachable: The store does not answer.
        """
        workers = chunk_hashing.worker_count()
        pending: deque[Future[ScannedPack]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-scan")
        try:
            for pack in wanted:
                beat()
                pending.append(pool.submit(self._scan, pack))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                beat()
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _scan(self, pack: segments.PackInfo) -> ScannedPack:
        try:
            _, entries = pack_footers.read_entries(
                self._repository, pack.name, pack.size_bytes, pack.salt
            )
        except (errors.NotFound, errors.DataCorrupt) as error:
            return ScannedPack(pack.name, problem=str(error))
        cipher = packs.PackCipher(self._repository.keys, pack.name, pack.salt)
        stored = {entry.offset: entry for entry in entries}
        places = [
            backup_reads.StoredChunk(entry.ident, 0, entry.offset, entry.length, entry.raw_length)
            for entry in entries
        ]
        bad: list[tuple[layout.BlobKind, bytes]] = []
        read = 0
        for planned in backup_reads.plan_reads(places):
            read += planned.length
            view = self._bytes(pack, planned)
            for place in planned.chunks:
                entry = stored[place.offset]
                start = place.offset - planned.offset
                if not self._is_good(cipher, entry, view[start : start + entry.length]):
                    bad.append((entry.kind, entry.ident))
        return ScannedPack(pack.name, len(entries) - len(bad), tuple(bad), read)

    def _bytes(self, pack: segments.PackInfo, planned: backup_reads.PackRead) -> memoryview:
        key = layout.pack_key(pack.name)
        try:
            data = self._repository.store.get_range(key, planned.offset, planned.length)
        except (errors.NotFound, errors.DataCorrupt):
            data = b""  # every chunk in it is then too short to be right
        return memoryview(data)

    def _is_good(self, cipher: packs.PackCipher, entry: packs.PackEntry, data: memoryview) -> bool:
        decoder: chunks.ChunkDecoder | None = getattr(self._thread, "decoder", None)
        if decoder is None:
            decoder = self._thread.decoder = chunks.ChunkDecoder()
        id_key = self._repository.keys.id_key(entry.kind)
        try:
            decoder.decode(cipher.unseal(entry, data), entry.raw_length, entry.ident, id_key)
        except errors.DataCorrupt:
            return False
        return True
