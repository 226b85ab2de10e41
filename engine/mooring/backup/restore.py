"""Restore: fills a device or file from a backup.

Every chunk is authenticated and re-hashed before it is written, and everything is synced before
success is reported. What is on this machine already is not fetched: so a restore that was killed
goes on where it was, and one beside an older image of the volume fetches what differs.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mooring.backup import blob_index, chunk_hashing, devices, local_content, progress, tree_walk
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, trees
from mooring.domain import backups, errors
from mooring.planning import backup_reads

_WRITE_BYTES = 1 << 20
_LEAST_READS = 8
"""Reads under way together, of 4 MiB at most: a store that is 50 ms away gives 640 MiB/s then."""


@dataclass(frozen=True)
class RestoreOutcome:
    """A restore that is whole and durable.

    Attributes:
        manifest: What was restored.
        bytes_read: Bytes fetched from the repository.
        bytes_written: Bytes of chunks written to the target.
        bytes_reused: Bytes of chunks that this machine had already.
        verified: Whether the target was read back and compared.
        notes: Things worth knowing.
    """

    manifest: backups.BackupManifest
    bytes_read: int
    bytes_written: int
    bytes_reused: int
    verified: bool
    notes: tuple[str, ...] = ()


def restore(
    repository: repositories.Repository,
    backup_id: backups.BackupId,
    open_target: Callable[[backups.BackupManifest], devices.VolumeTarget],
    watch: progress.Watch,
    *,
    verify: bool = False,
    nearby: devices.VolumeSource | None = None,
) -> RestoreOutcome:
    """Restores a backup.

    Args:
        repository: Where from.
        backup_id: Which.
        open_target: Opens what to fill, knowing what will come.
        watch: Told of progress.
        verify: Whether to read the target back afterwards and compare every chunk.
        nearby: A file with similar content, such as an older image of the volume; chunks that it
            has at the same place are copied and not fetched.

    Raises:
        NotFound: There is no such backup.
        DataCorrupt: Something of the backup is missing or damaged, or the target did not keep
            what was written; the target must not be used.
        SizeOutOfRange: The target is too small.
        HostFailure: The target could not be written.
        Cancelled: The watch said so; the target must not be used.
        Unreachable: The store does not answer; the same, and the next restore goes on.
    """
    manifest = repository.manifest(backup_id)
    content = tree_walk.Content(repository, manifest)
    meter = progress.ProgressMeter(watch, manifest.volume.size_bytes, passes=2 if verify else 1)
    with open_target(manifest) as target:
        id_key = repository.keys.id_key(layout.BlobKind.DATA)
        local = local_content.LocalContent(content, target, id_key, nearby)
        filling = _Filling(content, target, local, meter)
        try:
            filling.run()
            target.sync()
            if verify:
                _compare(repository, content, target, meter)
            target.publish()
        except BaseException as error:
            target.abandon(keep=isinstance(error, errors.Unreachable | errors.Cancelled))
            raise
    sums = meter.finish()
    notes = tuple(blob_index.advice(content.lacks()))
    return RestoreOutcome(manifest, sums.read, sums.sent, filling.reused, verify, notes)


class _Filling:
    """One pass over the content, several reads at a time."""

    def __init__(
        self,
        content: tree_walk.Content,
        target: devices.VolumeTarget,
        local: local_content.LocalContent,
        meter: progress.ProgressMeter,
    ) -> None:
        self.reused = 0
        self._local = local
        self._meter = meter
        self._content = content
        self._target = target
        self._chunk_size = content.manifest.chunk_size_bytes
        self._workers = max(_LEAST_READS, 2 * chunk_hashing.worker_count())
        self._pending: deque[Future[tuple[int, int, int]]] = deque()

    def run(self) -> None:
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mooring-fetch")
        try:
            for window in self._content.windows():
                self._begin(pool, window)
            end = self._content.manifest.volume.size_bytes
            if not self._target.zeroed and self._target.size_bytes > end:
                self._submit(pool.submit(self._clear, end, self._target.size_bytes - end, 0))
            while self._pending:
                self._collect()
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, window: tree_walk.Window) -> None:
        for offset, length in window.zeros:
            if self._target.zeroed:
                self._meter.add(done=length)
            else:
                self._submit(pool.submit(self._clear, offset, length, length))
        found = self._local.take(pool, window.places)
        self.reused += found.reused
        self._meter.add(done=found.reused, sent=found.written)
        for planned in self._content.reader.locate(found.missing):
            self._submit(pool.submit(self._fill, planned, found.missing))

    def _submit(self, future: "Future[tuple[int, int, int]]") -> None:
        self._pending.append(future)
        while len(self._pending) > 2 * self._workers:
            self._collect()

    def _collect(self) -> None:
        self._meter.check()
        done, read, written = self._pending.popleft().result()
        self._meter.add(done=done, read=read, sent=written)

    def _clear(self, offset: int, length: int, counted: int) -> tuple[int, int, int]:
        self._target.clear(offset, length)
        return counted, 0, 0

    def _fill(
        self, planned: backup_reads.PackRead, places: dict[bytes, list[int]]
    ) -> tuple[int, int, int]:
        run = _Run(self._target)
        written = 0
        for ident, data in self._content.reader.read(planned):
            for number in places[ident]:
                if len(data) != self._content.chunk_length(number):
                    raise errors.DataCorrupt(f"chunk {ident.hex()} has a wrong length")
                run.add(number * self._chunk_size, data)
                written += len(data)
        run.flush()
        return written, planned.length, written


class _Run:
    """Joins neighbouring chunks to one write."""

    def __init__(self, target: devices.VolumeTarget) -> None:
        self._target = target
        self._parts: list[bytes] = []
        self._start = self._end = 0

    def add(self, offset: int, data: bytes) -> None:
        if offset != self._end or self._end - self._start >= _WRITE_BYTES:
            self.flush()
            self._start = self._end = offset
        self._parts.append(data)
        self._end += len(data)

    def flush(self) -> None:
        if self._parts:
            self._target.write(self._parts, self._start)
            self._parts = []


def _compare(
    repository: repositories.Repository,
    content: tree_walk.Content,
    target: devices.VolumeTarget,
    meter: progress.ProgressMeter,
) -> None:
    """Reads the target back and compares it with the tree, chunk by chunk."""
    comparison = _Comparison(content, target, repository.keys.id_key(layout.BlobKind.DATA))
    workers = chunk_hashing.worker_count()
    pending: deque[Future[int]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-compare")
    try:
        for window in content.windows():
            pending.extend(comparison.tasks(pool, window))
            while len(pending) > 4 * workers:
                meter.check()
                meter.add(done=pending.popleft().result())
        while pending:
            meter.check()
            meter.add(done=pending.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)


class _Comparison:
    def __init__(
        self, content: tree_walk.Content, target: devices.VolumeTarget, id_key: bytes
    ) -> None:
        self._content = content
        self._target = target
        self._id_key = id_key
        self._chunk_size = content.manifest.chunk_size_bytes
        self._zeros = bytes(trees.FANOUT * layout.ID_BYTES)
        self._thread = threading.local()

    def tasks(self, pool: ThreadPoolExecutor, window: tree_walk.Window) -> list["Future[int]"]:
        placed = [(number, ident) for ident, numbers in window.places.items() for number in numbers]
        placed.sort()
        step = max(1, _WRITE_BYTES // self._chunk_size)
        futures = [
            pool.submit(self._chunks, placed[first : first + step])
            for first in range(0, len(placed), step)
        ]
        futures += [pool.submit(self._range, offset, length) for offset, length in window.zeros]
        return futures

    def _chunks(self, placed: list[tuple[int, bytes]]) -> int:
        done = 0
        for number, ident in placed:
            length = self._content.chunk_length(number)
            view = self._buffer(self._chunk_size)[:length]
            self._target.read_into(view, number * self._chunk_size)
            if chunks.chunk_id(self._id_key, view) != ident:
                raise self._differs(number * self._chunk_size)
            done += length
        return done

    def _range(self, offset: int, length: int) -> int:
        for position in range(offset, offset + length, len(self._zeros)):
            size = min(len(self._zeros), offset + length - position)
            view = self._buffer(len(self._zeros))[:size]
            self._target.read_into(view, position)
            if bytes(view) != self._zeros[:size]:
                raise self._differs(position)
        return length

    def _buffer(self, size: int) -> memoryview:
        buffer: bytearray | None = getattr(self._thread, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = self._thread.buffer = bytearray(size)
        return memoryview(buffer)

    def _differs(self, offset: int) -> errors.DataCorrupt:
        return errors.DataCorrupt(
            f"the target did not keep what was written: it differs at byte {offset}. "
            "Do not use it; restore to other hardware"
        )
