"""Streams chunks into packs, and says in index segments where they went.

A pack is committed (durable) before a segment names it, and segments are written as work goes
on, so that what a killed backup had sent can be used by the next attempt.
"""

import contextlib
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, packs, segments
from mooring.domain import backups
from mooring.ports import blobstores

SEGMENT_INTERVAL_SECONDS = 60.0
_BUFFER_BYTES = 1 << 20


class _OpenPack:
    """The pack that is being filled."""

    def __init__(self, repository: repositories.Repository) -> None:
        name = repository.surroundings.entropy(layout.PACK_NAME_BYTES)
        salt = repository.surroundings.entropy(layout.SALT_BYTES)
        self.cipher = packs.PackCipher(repository.keys, name, salt)
        self.upload: blobstores.Upload = repository.store.upload(layout.pack_key(name))
        self.upload.write(self.cipher.header())
        self.entries: list[packs.PackEntry] = []
        self.end = packs.HEADER_BYTES
        self._line = ThreadPoolExecutor(1, thread_name_prefix="mooring-pack")
        self._written: list[Future[None]] = []

    def write(self, data: memoryview) -> Future[None]:
        """Begins to write; the memory may be used again when that is done."""
        self._written = [one for one in self._written if not one.done() or one.exception()]
        self._written.append(self._line.submit(self.upload.write, data))
        return self._written[-1]

    def commit(self, ending: bytes) -> Future[segments.PackInfo]:
        """Begins to commit, after all that is being written."""
        committed = self._line.submit(self._commit, ending)
        self._line.shutdown(wait=False)
        return committed

    def abandon(self) -> None:
        """Throws it away."""
        self._line.shutdown(cancel_futures=True)
        self.upload.abandon()

    def _commit(self, ending: bytes) -> segments.PackInfo:
        try:
            for written in self._written:
                written.result()
            self.upload.write(ending)
            self.upload.commit()
        finally:
            self.upload.abandon()
        return self.info(self.end + len(ending))

    def info(self, size_bytes: int) -> segments.PackInfo:
        return segments.PackInfo(self.cipher.name, self.cipher.salt, size_bytes)


class PackWriter:
    """Writes chunks of one kind for one session. For one thread.

    Attributes:
        bytes_stored: Bytes of packs and segments so far.
        chunks_stored: Number of chunks so far.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        session: backups.SessionId,
        kind: layout.BlobKind,
        maximum_chunk_bytes: int,
    ) -> None:
        self.bytes_stored = 0
        self.chunks_stored = 0
        self._repository = repository
        self._session = session
        self._kind = kind
        room = max(_BUFFER_BYTES, maximum_chunk_bytes + layout.TAG_BYTES)
        self._buffer, self._other = memoryview(bytearray(room)), memoryview(bytearray(room))
        self._used = 0
        self._draining: Future[None] | None = None
        self._pack: _OpenPack | None = None
        self._committing: deque[Future[segments.PackInfo]] = deque()
        self._waiting: deque[list[packs.PackEntry]] = deque()
        self._packs: list[segments.PackInfo] = []
        self._records: list[bytes] = []
        self._segments = 0
        self._segment_due = time.monotonic() + SEGMENT_INTERVAL_SECONDS

    def add(self, ident: bytes, stored: chunks.Buffer, raw_length: int) -> None:
        """Appends a chunk.

        Args:
            ident: Its id.
            stored: As `ChunkEncoder` made it.
            raw_length: Bytes of the chunk itself.
        """
        pack = self._pack
        if pack is None:
            pack = self._pack = _OpenPack(self._repository)
            self.bytes_stored += pack.end
        length = len(stored) + layout.TAG_BYTES
        if self._used + length > len(self._buffer):
            self._drain(pack)
        entry = packs.PackEntry(self._kind, ident, pack.end, length, raw_length)
        pack.cipher.seal_into(entry, stored, self._buffer[self._used : self._used + length])
        self._used += length
        pack.entries.append(entry)
        pack.end += length
        self.bytes_stored += length
        self.chunks_stored += 1
        if pack.end >= packs.TARGET_BYTES or len(pack.entries) >= packs.MAXIMUM_BLOBS:
            self._close(pack)

    def finish(self) -> None:
        """Commits what is open and writes the last segment."""
        if self._pack is not None:
            self._close(self._pack)
        while self._committing:
            self._collect()
        if self._records:
            self._write_segment()

    def abandon(self) -> None:
        """Throws away the open pack; packs that are whole stay for the next attempt."""
        if self._pack is not None:
            self._pack.abandon()
            self._pack = None
        for committed in self._committing:
            with contextlib.suppress(Exception):
                committed.result()

    def _drain(self, pack: _OpenPack) -> None:
        """Writes what was gathered in the background, and gathers in the other buffer meanwhile."""
        if self._draining is not None:
            self._draining.result()
        self._draining = pack.write(self._buffer[: self._used])
        self._buffer, self._other = self._other, self._buffer
        self._used = 0

    def _close(self, pack: _OpenPack) -> None:
        self._drain(pack)
        ending = pack.cipher.seal_footer(pack.entries, pack.end)
        self.bytes_stored += len(ending)
        self._pack = None
        while len(self._committing) >= blobstores.UPLOADS_AT_ONCE:
            self._collect()
        self._committing.append(pack.commit(ending))
        self._waiting.append(pack.entries)
        due = time.monotonic() >= self._segment_due
        if self._records and (due or len(self._records) >= segments.MAXIMUM_ENTRIES):
            self._write_segment()

    def _collect(self) -> None:
        self._packs.append(self._committing.popleft().result())
        number = len(self._packs) - 1
        self._records.extend(
            segments.ENTRY.pack(entry.ident, number, entry.offset, entry.length, entry.raw_length)
            for entry in self._waiting.popleft()
        )

    def _write_segment(self) -> None:
        key = layout.segment_key(self._session, self._kind, self._segments)
        content = segments.encode(self._packs, self._records)
        self.bytes_stored += self._repository.put_sealed(key, content)
        self._segments += 1
        self._packs, self._records = [], []
        self._segment_due = time.monotonic() + SEGMENT_INTERVAL_SECONDS
