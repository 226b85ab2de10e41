"""What a backup's worker threads do: read, tell zero, hash, compare, compress."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from mooring.backup import devices
from mooring.backup.format import chunks, layout, trees

_BATCH_BYTES = 2 << 20
_MAXIMUM_WORKERS = 8
_BUCKETS = 1 << 15
_BUCKET_BYTES = 4 * layout.ID_BYTES


def worker_count() -> int:
    """Returns how many threads this process may sensibly use."""
    return max(1, min(_MAXIMUM_WORKERS, len(os.sched_getaffinity(0))))


@dataclass(frozen=True)
class Batch:
    """What a worker made of some neighbouring chunks: all ids, and the chunks to send."""

    ids: bytes
    fresh: list[tuple[bytes, bytes, int]]
    length: int
    read: int


class RecentIds:
    """Remembers ids in constant memory; forgetting one only means that it is sent again."""

    def __init__(self) -> None:
        self._slots = bytearray(_BUCKETS * _BUCKET_BYTES)

    def seen(self, ident: bytes) -> bool:
        """Tells whether an id is remembered, and remembers it."""
        start = int.from_bytes(ident[:4], "little") % _BUCKETS * _BUCKET_BYTES
        bucket = self._slots[start : start + _BUCKET_BYTES]
        found = bucket.find(ident)
        if found >= 0 and found % layout.ID_BYTES == 0:
            return True
        self._slots[start : start + _BUCKET_BYTES] = ident + bucket[: -layout.ID_BYTES]
        return False


class ChunkHasher:
    """What worker threads do: read, tell zero, hash, compare with the parent, compress."""

    def __init__(
        self,
        source: devices.VolumeSource,
        id_key: bytes,
        chunk_size_bytes: int,
        known: Callable[[bytes], bool],
    ) -> None:
        self.batch_chunks = max(1, min(trees.FANOUT, _BATCH_BYTES // chunk_size_bytes))
        self._source = source
        self._id_key = id_key
        self._chunk_size = chunk_size_bytes
        self._known = known
        self._zeros = bytes(self.batch_chunks * chunk_size_bytes)
        tail = source.size_bytes % chunk_size_bytes
        self._zero_ids = {
            chunks.chunk_id(id_key, self._zeros[:length]) for length in (chunk_size_bytes, tail)
        }
        self._thread = threading.local()

    def work(self, first_chunk: int, parent_ids: bytes) -> Batch:
        """Handles the batch that begins at a chunk; `parent_ids` may be shorter than it."""
        offset = first_chunk * self._chunk_size
        length = min(len(self._zeros), self._source.size_bytes - offset)
        count = -(-length // self._chunk_size)
        if self._source.is_hole(offset, length):
            return Batch(bytes(count * layout.ID_BYTES), [], length, 0)
        buffer, encoder = self._tools()
        self._source.read_into(memoryview(buffer)[:length], offset)
        if self._is_zero(buffer, length):
            return Batch(bytes(count * layout.ID_BYTES), [], length, length)
        return self._hash(memoryview(buffer)[:length], encoder, parent_ids)

    def _hash(self, data: memoryview, encoder: chunks.ChunkEncoder, parent_ids: bytes) -> Batch:
        ids = bytearray()
        fresh = []
        for start in range(0, len(data), self._chunk_size):
            chunk = data[start : start + self._chunk_size]
            ident = chunks.chunk_id(self._id_key, chunk)
            if ident in self._zero_ids:
                ids += layout.ZERO_ID
                continue
            same = parent_ids[len(ids) : len(ids) + layout.ID_BYTES] == ident
            ids += ident
            if not same and not self._known(ident):
                fresh.append((ident, encoder.encode(chunk), len(chunk)))
        return Batch(bytes(ids), fresh, len(data), len(data))

    def _is_zero(self, buffer: bytearray, length: int) -> bool:
        if length == len(buffer):
            return buffer == self._zeros
        return buffer[:length] == self._zeros[:length]

    def _tools(self) -> tuple[bytearray, chunks.ChunkEncoder]:
        if not hasattr(self._thread, "tools"):
            self._thread.tools = (bytearray(len(self._zeros)), chunks.ChunkEncoder())
        tools: tuple[bytearray, chunks.ChunkEncoder] = self._thread.tools
        return tools
