"""The pipeline of one backup, from a source to packs, index segments and tree.

Worker threads read, hash and compress batches of chunks; one thread takes their results in order,
encrypts and streams them. What is held in memory is a few batches, whatever the volume's size.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from mooring.backup import (
    blob_index,
    blob_reader,
    chunk_hashing,
    devices,
    pack_writer,
    progress,
    tree_reader,
)
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, trees
from mooring.domain import backups, errors


class Capture:
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
        self._recent = chunk_hashing.RecentIds()
        self._node_encoder = chunks.ChunkEncoder()
        self._node_id_key = repository.keys.id_key(layout.BlobKind.NODE)
        self._parent = self._parent_tree(parent)
        self._earlier_nodes = self._earlier(session, layout.BlobKind.NODE)
        earlier = self._earlier(session, layout.BlobKind.DATA)
        self._hasher = chunk_hashing.ChunkHasher(
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
        workers = chunk_hashing.worker_count()
        pending: deque[Future[chunk_hashing.Batch]] = deque()
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

    def _take(self, batch: chunk_hashing.Batch) -> None:
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
