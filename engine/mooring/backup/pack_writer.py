"""Streams chunks into packs, and says in index segments where they went.

A pack is committed (durable) before a segment names it, and segments are written as work goes
on, so that what a killed backup had sent can be used by the next attempt.
"""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout, packs, segments
from mooring.domain import backups
from mooring.ports import blobstores

SEGMENT_INTERVAL_SECONDS = 60.0
_BUFFER_BYTES = 1 << 20
_PACKS_BEHIND = 2


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
        self._buffer = bytearray(max(_BUFFER_BYTES, maximum_chunk_bytes + layout.TAG_BYTES))
        self._view = memoryview(self._buffer)
        self._used = 0
        self._pack: _OpenPack | None = None
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="mooring-pack")
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
        pack.cipher.seal_into(entry, stored, self._view[self._used : self._used + length])
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
        self._committer.shutdown()

    def abandon(self) -> None:
        """Throws away the open pack; packs that are whole stay for the next attempt."""
        self._committer.shutdown(cancel_futures=True)
        if self._pack is not None:
            self._pack.upload.abandon()
            self._pack = None

    def _drain(self, pack: _OpenPack) -> None:
        pack.upload.write(self._view[: self._used])
        self._used = 0

    def _close(self, pack: _OpenPack) -> None:
        self._drain(pack)
        ending = pack.cipher.seal_footer(pack.entries, pack.end)
        self.bytes_stored += len(ending)
        self._pack = None
        self._committing.append(self._committer.submit(_commit, pack, ending))
        self._waiting.append(pack.entries)
        while len(self._committing) > _PACKS_BEHIND:
            self._collect()
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


def _commit(pack: _OpenPack, ending: bytes) -> segments.PackInfo:
    try:
        pack.upload.write(ending)
        pack.upload.commit()
    finally:
        pack.upload.abandon()
    return pack.info(pack.end + len(ending))
