"""What a backup's worker threads do: read, tell zero, hash, compare, compress."""

import mmap
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mooring.backup import capture_jobs, devices
from mooring.backup.format import chunks, layout, trees

_BATCH_BYTES = 1 << 20
_MAXIMUM_WORKERS = 8
_READERS_EACH = 2
_BUCKETS = 1 << 15
_BUCKET_BYTES = 4 * layout.ID_BYTES


def worker_count() -> int:
    """Returns how many threads this process may sensibly use."""
    return max(1, min(_MAXIMUM_WORKERS, len(os.sched_getaffinity(0))))


def reader_count() -> int:
    """Returns how many threads shall read and hash: while one waits for the disk, another works."""
    return min(_MAXIMUM_WORKERS, _READERS_EACH * worker_count())


@dataclass
class Batch:
    """What a worker made of some chunks of one leaf.

    Attributes:
        ids: For each run of neighbouring chunks their ids, one after the other.
        fresh: The chunks to send: id, encoded content, length.
        read: Bytes that were read.
    """

    ids: list[bytes] = field(default_factory=list)
    fresh: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    read: int = 0


class RecentIds:
    """Remembers ids in constant memory; forgetting one only means that it is sent again."""

    def __init__(self) -> None:
        self._slots = bytearray(_BUCKETS * _BUCKET_BYTES)

    def has(self, ident: bytes) -> bool:
        """Tells whether an id is remembered. For any thread."""
        start = int.from_bytes(ident[:4], "little") % _BUCKETS * _BUCKET_BYTES
        found = self._slots[start : start + _BUCKET_BYTES].find(ident)
        return found >= 0 and found % layout.ID_BYTES == 0

    def seen(self, ident: bytes) -> bool:
        """Tells whether an id is remembered, and remembers it. For one thread."""
        if self.has(ident):
            return True
        start = int.from_bytes(ident[:4], "little") % _BUCKETS * _BUCKET_BYTES
        before = self._slots[start : start + _BUCKET_BYTES - layout.ID_BYTES]
        self._slots[start : start + _BUCKET_BYTES] = ident + before
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

    def work(self, job: capture_jobs.Job, before: bytes) -> Batch:
        """Handles the runs of a job; `before` are the ids of its leaf in the parent, or empty."""
        batch = Batch()
        for first, count in job.runs:
            start = first % trees.FANOUT * layout.ID_BYTES
            batch.ids.append(
                self._run(first, count, before[start : start + count * layout.ID_BYTES], batch)
            )
        return batch

    def _run(self, first: int, count: int, before: bytes, batch: Batch) -> bytes:
        offset = first * self._chunk_size
        length = min(count * self._chunk_size, self._source.size_bytes - offset)
        buffer, encoder = self._tools()
        data = memoryview(buffer)[:length]
        self._source.read_into(data, offset)
        batch.read += length
        if self._zeros.startswith(data):
            return bytes(count * layout.ID_BYTES)
        return self._hash(data, encoder, before, batch)

    def _hash(
        self, data: memoryview, encoder: chunks.ChunkEncoder, before: bytes, batch: Batch
    ) -> bytes:
        ids = bytearray()
        for start in range(0, len(data), self._chunk_size):
            chunk = data[start : start + self._chunk_size]
            ident = chunks.chunk_id(self._id_key, chunk)
            if ident in self._zero_ids:
                ids += layout.ZERO_ID
                continue
            same = before[len(ids) : len(ids) + layout.ID_BYTES] == ident
            ids += ident
            if not same and not self._known(ident):
                batch.fresh.append((ident, encoder.encode(chunk), len(chunk)))
        return bytes(ids)

    def _tools(self) -> tuple[mmap.mmap, chunks.ChunkEncoder]:
        if not hasattr(self._thread, "tools"):
            # Whole pages, so that the disk can write into them; see `VolumeSource.read_into`.
            self._thread.tools = (mmap.mmap(-1, len(self._zeros)), chunks.ChunkEncoder())
        tools: tuple[mmap.mmap, chunks.ChunkEncoder] = self._thread.tools
        return tools
