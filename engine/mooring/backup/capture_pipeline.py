"""The pipeline of one backup, from a source to packs, index segments and tree.

Worker threads read, hash and compress batches of chunks; one thread takes their results in order,
encrypts and streams them. What is held in memory is a few batches, whatever the volume's size.
Where it is known what has changed since the parent, nothing else is read, neither of the source
nor of the parent's tree.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from mooring.backup import (
    blob_index,
    blob_reader,
    capture_jobs,
    chunk_hashing,
    devices,
    pack_writer,
    progress,
    standing,
    tree_reader,
)
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, trees
from mooring.domain import backups, errors, extents


@dataclass(frozen=True)
class Basis:
    """What a backup builds on.

    Attributes:
        parent: The backup that it is compared with, or None.
        changed: What may differ from the parent; None when everything may.
        why_everything: Why everything is read, if it is.
        tree: The parent's, if somebody has it open already.
    """

    parent: backups.BackupManifest | None
    changed: Iterable[extents.Range] | None = None
    why_everything: str = ""
    tree: tree_reader.TreeReader | None = None


class _ParentLost(errors.DataCorrupt):
    """The parent is damaged where a backup that reads only what changed cannot do without it."""


def open_tree(
    repository: repositories.Repository, parent: backups.BackupManifest, *, walks: bool
) -> tree_reader.TreeReader:
    """Opens the content tree of a backup; see `TreeReader`."""
    index = blob_index.for_reading(repository, layout.BlobKind.NODE)
    index.load(parent.origins)
    reader = blob_reader.BlobReader(repository, index)
    return tree_reader.TreeReader(reader, parent.root, parent.chunk_count, walks=walks)


def _parent_tree(
    repository: repositories.Repository, basis: Basis
) -> tree_reader.TreeReader | None:
    if basis.tree is not None or basis.parent is None:
        return basis.tree
    return open_tree(repository, basis.parent, walks=basis.changed is None)


class Capture:
    """One run: the pipeline from source to packs, index segments and tree.

    Attributes:
        notes: Things worth knowing, for a log.
        reading: How much is read.
        parent_lost: Whether the parent turned out to be damaged.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        source: devices.VolumeSource,
        session: backups.BackupSession,
        basis: Basis,
        watch: progress.Watch,
    ) -> None:
        self.notes: list[str] = []
        self.parent_lost = False
        self._chunk_size = chunk_size = session.chunk_size_bytes
        self._repository = repository
        self._watch = watch
        self._source = source
        self._chunk_count = -(-source.size_bytes // chunk_size)
        self._data = pack_writer.PackWriter(
            repository, session.session_id, layout.BlobKind.DATA, chunk_size
        )
        self._nodes = pack_writer.PackWriter(
            repository, session.session_id, layout.BlobKind.NODE, trees.NODE_BYTES
        )
        self._recent = chunk_hashing.RecentIds()
        self._node_encoder = chunks.ChunkEncoder()
        self._node_id_key = repository.keys.id_key(layout.BlobKind.NODE)
        self._changed = basis.changed if basis.parent is not None else None
        self.reading = backups.Reading(backups.Scope.CHANGED)
        if self._changed is None or basis.why_everything:
            self.reading = backups.Reading(backups.Scope.EVERYTHING, basis.why_everything)
        self._parent = self._opened = _parent_tree(repository, basis)
        self._parent_root = basis.parent.root if basis.parent else layout.ZERO_ID
        # What attempts that were killed have sent already.
        self._earlier_nodes, earlier = standing.sent_by(repository, session.sessions)
        self._hasher = chunk_hashing.ChunkHasher(
            source,
            repository.keys.id_key(layout.BlobKind.DATA),
            chunk_size,
            lambda ident: earlier.known(ident) or self._recent.has(ident),
        )
        self._begin()

    def _begin(self) -> None:
        self._meter = progress.ProgressMeter(self._watch, self._source.size_bytes)
        self._leaf: tuple[int, bytearray] | None = None
        if self._changed is None:
            self._tree = trees.TreeBuilder(self._chunk_count, self._emit)
        else:
            self._tree = trees.TreeBuilder(
                self._chunk_count, self._emit, self._node_before, self._parent_root
            )

    def run(self) -> bytes:
        """Reads everything, or everything that changed, and returns the root's id."""
        try:
            try:
                root = self._run()
            except _ParentLost as error:
                self._changed = None
                self._watch = progress.afterwards(self._watch, self._meter.progress)
                self.reading = backups.Reading(
                    backups.Scope.EVERYTHING, f"the backup before it cannot be read: {error}"
                )
                self._begin()
                root = self._run()
            self._data.finish()
            self._nodes.finish()
        except BaseException:
            for writer in (self._data, self._nodes):
                with contextlib.suppress(Exception):  # the error before is the one to tell
                    writer.abandon()
            raise
        self._meter.finish()
        if self._opened is not None:
            self.notes += blob_index.advice(self._opened.lacks())
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

    def _run(self) -> bytes:
        workers = chunk_hashing.reader_count()
        pending: deque[tuple[capture_jobs.Job, bytes, Future[chunk_hashing.Batch]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-hash")
        try:
            for job in self._jobs():
                before = self._leaf_before(job.leaf)
                pending.append((job, before, pool.submit(self._hasher.work, job, before)))
                if len(pending) > 2 * workers:
                    self._take(*pending.popleft())
            while pending:
                self._take(*pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
        self._end_leaf()
        root = self._tree.finish()
        self._meter.add(done=self._source.size_bytes - self._meter.progress.done)
        return root

    def _jobs(self) -> Iterator[capture_jobs.Job]:
        most = self._hasher.batch_chunks
        ranges = self._source.data_ranges() if self._changed is None else self._changed
        jobs = capture_jobs.touched(ranges, self._chunk_size, self._source.size_bytes, most)
        if self._changed is None:  # its tree begins as zeros, and holes are left so
            yield from jobs
            return
        while some := list(islice(jobs, tree_reader.AHEAD)):
            self._want({job.leaf for job in some})
            yield from some

    def _take(
        self, job: capture_jobs.Job, before: bytes, work: Future[chunk_hashing.Batch]
    ) -> None:
        batch = work.result()
        self._meter.check()
        self._meter.hold_back(batch.read)
        stored_before = self._data.bytes_stored + self._nodes.bytes_stored
        sent = 0
        for ident, stored, raw_length in batch.fresh:
            if not self._recent.seen(ident):
                self._data.add(ident, stored, raw_length)
                sent += raw_length
        if self._leaf is None or self._leaf[0] != job.leaf:
            self._end_leaf()
            self._leaf = (job.leaf, bytearray(self._start_of(before)))
        for (first, _), ids in zip(job.runs, batch.ids, strict=True):
            start = first % trees.FANOUT * layout.ID_BYTES
            self._leaf[1][start : start + len(ids)] = ids
        done = min(job.end * self._chunk_size, self._source.size_bytes) - self._meter.progress.done
        stored_bytes = self._data.bytes_stored + self._nodes.bytes_stored - stored_before
        self._meter.add(done=done, read=batch.read, sent=sent, stored=stored_bytes)

    def _start_of(self, before: bytes) -> bytes:
        """What of a leaf is there until its chunks are read."""
        return trees.ZERO_NODE if self._changed is None else before

    def _end_leaf(self) -> None:
        if self._leaf is not None:
            self._tree.put_leaf(self._leaf[0], bytes(self._leaf[1]))
            self._leaf = None

    def _emit(self, level: int, index: int, node: bytes) -> bytes:
        ident = chunks.chunk_id(self._node_id_key, node)
        same = self._parent_node(level, index) == ident
        if not same and not self._earlier_nodes.known(ident) and not self._recent.seen(ident):
            self._nodes.add(ident, self._node_encoder.encode(memoryview(node)), len(node))
        return ident

    def _want(self, leaves: set[int]) -> None:
        if self._parent is not None:
            try:
                self._parent.want(leaves)
            except errors.DataCorrupt as error:
                self._lose_parent(error)

    def _leaf_before(self, leaf: int) -> bytes:
        return self._node_before(0, leaf) if self._parent is not None else b""

    def _node_before(self, level: int, index: int) -> bytes:
        if self._parent is None:
            return b""
        try:
            return self._parent.node(level, index)
        except errors.DataCorrupt as error:
            self._lose_parent(error)
            return b""

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
        self.parent_lost = True
        self.notes.append(f"the parent cannot be read, so everything after it is sent: {error}")
        if self._changed is not None:
            raise _ParentLost(str(error)) from error
