"""Backup: reads a volume, sends the chunks that the repository does not have, writes the manifest.

Worker threads read, hash and compress batches of chunks; one thread takes their results in order,
encrypts and streams them. What is held in memory is a few batches, whatever the volume's size.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mooring.backup import (
    blob_index,
    blob_reader,
    devices,
    pack_writer,
    progress,
    sessions,
    tree_reader,
)
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, trees
from mooring.domain import backups, errors
from mooring.planning import backup_parents

_BATCH_BYTES = 2 << 20
_MAXIMUM_WORKERS = 8
_WINDOW_SLOTS = 1 << 17


@dataclass(frozen=True)
class BackupRequest:
    """What shall be backed up, and as what.

    Attributes:
        backup_id: Chosen by the caller, so that a retry finds what an earlier attempt made.
        volume: Facts; the size is checked against the source.
        point_in_time: The moment that the content stands for, UTC.
        consistency: One of `Consistency`.
        parent: A backup's id, `latest`, or None to compare with nothing.
        chunk_size_bytes: None for the parent's, or the repository's default.
        documents: Kubernetes objects to keep with the backup.
        tool_version: For the manifest.
    """

    backup_id: backups.BackupId
    volume: backups.VolumeFacts
    point_in_time: datetime
    consistency: str = backups.Consistency.CRASH
    parent: str | None = backup_parents.LATEST
    chunk_size_bytes: int | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)
    tool_version: str = ""


@dataclass(frozen=True)
class BackupOutcome:
    """A backup that exists.

    Attributes:
        manifest: What the repository says of it.
        existed: True when an earlier attempt had made it already.
        notes: Things worth knowing, for a log.
    """

    manifest: backups.BackupManifest
    existed: bool
    notes: tuple[str, ...] = ()


def worker_count() -> int:
    """Returns how many threads this process may sensibly use."""
    return max(1, min(_MAXIMUM_WORKERS, len(os.sched_getaffinity(0))))


def back_up(
    repository: repositories.Repository,
    source: devices.VolumeSource,
    request: BackupRequest,
    watch: progress.Watch,
) -> BackupOutcome:
    """Makes a backup, or finds that it exists.

    Args:
        repository: Where to.
        source: What to read; nobody writes to it meanwhile.
        request: As what.
        watch: Told of progress.

    Raises:
        PreconditionFailed: The source has another size than the request says, or the parent named
            does not fit.
        NotFound: The parent named is not there.
        AlreadyExists: The id is taken by a backup of another volume.
        HostFailure: The source could not be read.
        Busy: Garbage collection took something back meanwhile; try again.
        Cancelled: The watch said so. No backup exists.
    """
    try:
        existing = sessions.accept_existing(repository, request.backup_id, request.volume.uid)
        return BackupOutcome(existing, existed=True)
    except errors.NotFound:
        pass
    if source.size_bytes != request.volume.size_bytes:
        raise errors.PreconditionFailed(
            f"the volume should have {request.volume.size_bytes} bytes, but the device has "
            f"{source.size_bytes}"
        )
    notes: list[str] = []
    choice = backup_parents.choose_parent(
        _candidates(repository, request, notes),
        request.volume,
        request.chunk_size_bytes,
        request.parent,
    )
    notes.append(choice.reason)
    opened = sessions.announce(
        repository, _draft(repository, request, choice.parent), choice.parent
    )
    capture = _Capture(repository, source, opened.session, choice.parent, watch)
    root = capture.run()
    manifest = _manifest(repository, request, opened.session, choice.parent, capture.stats(), root)
    made = sessions.commit(repository, opened, manifest)
    notes.extend(capture.notes)
    return BackupOutcome(made, existed=made.session != manifest.session, notes=tuple(notes))


def _candidates(
    repository: repositories.Repository, request: BackupRequest, notes: list[str]
) -> Iterator[backups.BackupManifest]:
    if request.parent is None:
        return
    if request.parent != backup_parents.LATEST:
        with contextlib.suppress(errors.NotFound):
            yield repository.manifest(backups.parse_backup_id(request.parent))
        return
    for backup_id, found in repository.catalogue():
        if isinstance(found, backups.BackupManifest):
            yield found
        else:
            notes.append(f"backup {backup_id} cannot be a parent: {found}")


def _draft(
    repository: repositories.Repository,
    request: BackupRequest,
    parent: backups.BackupManifest | None,
) -> backups.BackupSession:
    chunk_size_bytes = request.chunk_size_bytes or (
        parent.chunk_size_bytes if parent else repository.config.chunk_size_bytes
    )
    suffix = repository.surroundings.entropy(8).hex()
    return backups.BackupSession(
        session_id=backups.SessionId(f"{request.backup_id}.{suffix}"),
        backup_id=request.backup_id,
        volume_uid=request.volume.uid,
        chunk_size_bytes=backups.check_chunk_size(chunk_size_bytes),
        started_at=repository.surroundings.clock.now(),
        tool_version=request.tool_version,
    )


def _manifest(
    repository: repositories.Repository,
    request: BackupRequest,
    session: backups.BackupSession,
    parent: backups.BackupManifest | None,
    stats: backups.BackupStats,
    root: bytes,
) -> backups.BackupManifest:
    finished_at = repository.surroundings.clock.now()
    earlier = (*session.sessions, *(parent.origins if parent else ()))
    return backups.BackupManifest(
        backup_id=request.backup_id,
        volume=request.volume,
        chunk_size_bytes=session.chunk_size_bytes,
        consistency=request.consistency,
        point_in_time=request.point_in_time,
        finished_at=finished_at,
        parent=parent.backup_id if parent else None,
        session=session.session_id,
        root=root,
        origins=tuple(dict.fromkeys((session.session_id, *earlier))),
        documents=request.documents,
        tool_version=request.tool_version,
        stats=replace(stats, duration_seconds=(finished_at - session.started_at).total_seconds()),
    )


@dataclass(frozen=True)
class _Batch:
    """What a worker made of some neighbouring chunks: all ids, and the chunks to send."""

    ids: bytes
    fresh: list[tuple[bytes, bytes, int]]
    length: int
    read: int


class _RecentIds:
    """Remembers ids in constant memory; forgetting one only means that it is sent again."""

    def __init__(self) -> None:
        self._slots = bytearray(_WINDOW_SLOTS * layout.ID_BYTES)

    def seen(self, ident: bytes) -> bool:
        start = int.from_bytes(ident[:4], "little") % _WINDOW_SLOTS * layout.ID_BYTES
        if self._slots[start : start + layout.ID_BYTES] == ident:
            return True
        self._slots[start : start + layout.ID_BYTES] = ident
        return False


class _Hasher:
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

    def work(self, first_chunk: int, parent_ids: bytes) -> _Batch:
        """Handles the batch that begins at a chunk; `parent_ids` may be shorter than it."""
        offset = first_chunk * self._chunk_size
        length = min(len(self._zeros), self._source.size_bytes - offset)
        count = -(-length // self._chunk_size)
        if self._source.is_hole(offset, length):
            return _Batch(bytes(count * layout.ID_BYTES), [], length, 0)
        buffer, encoder = self._tools()
        self._source.read_into(memoryview(buffer)[:length], offset)
        if self._is_zero(buffer, length):
            return _Batch(bytes(count * layout.ID_BYTES), [], length, length)
        return self._hash(memoryview(buffer)[:length], encoder, parent_ids)

    def _hash(self, data: memoryview, encoder: chunks.ChunkEncoder, parent_ids: bytes) -> _Batch:
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
        return _Batch(bytes(ids), fresh, len(data), len(data))

    def _is_zero(self, buffer: bytearray, length: int) -> bool:
        if length == len(buffer):
            return buffer == self._zeros
        return buffer[:length] == self._zeros[:length]

    def _tools(self) -> tuple[bytearray, chunks.ChunkEncoder]:
        if not hasattr(self._thread, "tools"):
            self._thread.tools = (bytearray(len(self._zeros)), chunks.ChunkEncoder())
        tools: tuple[bytearray, chunks.ChunkEncoder] = self._thread.tools
        return tools


class _Capture:
    """One run: the pipeline from source to packs, index segments and tree."""

    def __init__(
        self,
        repository: repositories.Repository,
        source: devices.VolumeSource,
        session: backups.BackupSession,
        parent: backups.BackupManifest | None,
        watch: progress.Watch,
    ) -> None:
        self.notes: list[str] = []
        chunk_size = session.chunk_size_bytes
        self._repository = repository
        self._meter = progress.ProgressMeter(watch, source.size_bytes)
        self._chunk_count = -(-source.size_bytes // chunk_size)
        self._data = pack_writer.PackWriter(
            repository, session.session_id, layout.BlobKind.DATA, chunk_size
        )
        self._nodes = pack_writer.PackWriter(
            repository, session.session_id, layout.BlobKind.NODE, trees.NODE_BYTES
        )
        self._recent = _RecentIds()
        self._node_encoder = chunks.ChunkEncoder()
        self._node_id_key = repository.keys.id_key(layout.BlobKind.NODE)
        self._parent = self._parent_tree(parent)
        self._earlier_nodes = self._earlier(session, layout.BlobKind.NODE)
        earlier = self._earlier(session, layout.BlobKind.DATA)
        self._hasher = _Hasher(
            source, repository.keys.id_key(layout.BlobKind.DATA), chunk_size, earlier
        )
        self._tree = trees.TreeBuilder(self._chunk_count, self._emit)
        self._leaf = bytearray()
        self._leaf_index = 0

    def run(self) -> bytes:
        """Reads everything and returns the root's id."""
        try:
            self._pump()
            root = self._tree.finish()
            self._data.finish()
            self._nodes.finish()
        except BaseException:
            self._data.abandon()
            self._nodes.abandon()
            raise
        self._meter.finish()
        return root

    def stats(self) -> backups.BackupStats:
        """What it cost so far."""
        sums = self._meter.progress
        return backups.BackupStats(
            bytes_read=sums.read,
            bytes_sent=sums.sent,
            bytes_stored=self._data.bytes_stored + self._nodes.bytes_stored,
            chunks_sent=self._data.chunks_stored,
        )

    def _pump(self) -> None:
        workers = worker_count()
        pending: deque[Future[_Batch]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-hash")
        try:
            for first in range(0, self._chunk_count, self._hasher.batch_chunks):
                pending.append(pool.submit(self._hasher.work, first, self._parent_ids(first)))
                if len(pending) > 2 * workers:
                    self._take(pending.popleft().result())
            while pending:
                self._take(pending.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _take(self, batch: _Batch) -> None:
        self._meter.check()
        before = self._data.bytes_stored + self._nodes.bytes_stored
        sent = 0
        for ident, stored, raw_length in batch.fresh:
            if not self._recent.seen(ident):
                self._data.add(ident, stored, raw_length)
                sent += raw_length
        self._leaf += batch.ids
        if len(self._leaf) == trees.NODE_BYTES:
            self._end_leaf()
        stored_bytes = self._data.bytes_stored + self._nodes.bytes_stored - before
        self._meter.add(done=batch.length, read=batch.read, sent=sent, stored=stored_bytes)
        if self._meter.progress.done == self._meter.progress.total and self._leaf:
            self._end_leaf()

    def _end_leaf(self) -> None:
        self._tree.add_leaf(bytes(self._leaf))
        self._leaf.clear()
        self._leaf_index += 1

    def _emit(self, level: int, index: int, node: bytes) -> bytes:
        ident = chunks.chunk_id(self._node_id_key, node)
        same = self._parent_node(level, index) == ident
        if not same and not self._earlier_nodes(ident) and not self._recent.seen(ident):
            self._nodes.add(ident, self._node_encoder.encode(memoryview(node)), len(node))
        return ident

    def _earlier(
        self, session: backups.BackupSession, kind: layout.BlobKind
    ) -> Callable[[bytes], bool]:
        """What attempts that were killed have sent already."""
        index = blob_index.BlobIndex(self._repository, kind)
        index.load(session.sessions)
        return index.known

    def _parent_tree(self, parent: backups.BackupManifest | None) -> tree_reader.TreeReader | None:
        if parent is None:
            return None
        index = blob_index.BlobIndex(self._repository, layout.BlobKind.NODE)
        index.load(parent.origins)
        reader = blob_reader.BlobReader(self._repository, index)
        return tree_reader.TreeReader(reader, parent.root, parent.chunk_count)

    def _parent_ids(self, first_chunk: int) -> bytes:
        if self._parent is None:
            return b""
        start = first_chunk % trees.FANOUT * layout.ID_BYTES
        length = self._hasher.batch_chunks * layout.ID_BYTES
        try:
            leaf = self._parent.leaf(first_chunk // trees.FANOUT)
        except errors.DataCorrupt as error:
            self._lose_parent(error)
            return b""
        return leaf[start : start + length]

    def _parent_node(self, level: int, index: int) -> bytes:
        if self._parent is None:
            return layout.ZERO_ID
        try:
            return self._parent.node_id(level, index)
        except errors.DataCorrupt as error:
            self._lose_parent(error)
            return layout.ZERO_ID

    def _lose_parent(self, error: errors.DataCorrupt) -> None:
        """A damaged parent costs the saving, never the backup."""
        self._parent = None
        self.notes.append(f"the parent cannot be read, so everything after it is sent: {error}")
