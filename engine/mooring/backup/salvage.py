"""Saves what can still be read of damaged packs."""

from collections.abc import Callable

from mooring.backup import blob_index, blob_reader, pack_writer, reachability
from mooring.backup import repository as repositories
from mooring.backup.format import layout, trees
from mooring.domain import backups, errors
from mooring.planning import backup_reads


def save(
    repository: repositories.Repository,
    marker: reachability.Marker,
    session: backups.SessionId,
    damaged: set[bytes],
    beat: Callable[[], None],
) -> int:
    """Copies what backups need of damaged packs, chunk by chunk, to new packs.

    Args:
        repository: Which.
        marker: What is needed.
        session: Announced, so that it is held until backups build on it.
        damaged: Names of the packs.
        beat: Called often.

    Returns:
        How many chunks were saved.
    """
    indexes = (marker.nodes, marker.data)
    return sum(_save(repository, index, session, damaged, beat) for index in indexes)


def _save(
    repository: repositories.Repository,
    index: blob_index.BlobIndex,
    session: backups.SessionId,
    damaged: set[bytes],
    beat: Callable[[], None],
) -> int:
    node = index.kind is layout.BlobKind.NODE
    longest = trees.NODE_BYTES if node else backups.MAXIMUM_CHUNK_SIZE_BYTES
    writer = pack_writer.PackWriter(repository, session, index.kind, longest)
    reader = blob_reader.BlobReader(repository, index, follow=False)
    saved = 0
    try:
        for chunk in index.marked():
            if index.pack(chunk.pack).name in damaged:
                beat()
                stored = _read(reader, chunk)
                if stored is not None:
                    writer.add(chunk.ident, stored, chunk.raw_length)
                    saved += 1
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return saved


def _read(reader: blob_reader.BlobReader, chunk: backup_reads.StoredChunk) -> bytes | None:
    single = backup_reads.PackRead(chunk.pack, chunk.offset, chunk.length, (chunk,))
    try:
        for _, stored, _ in reader.read_stored(single):
            return stored
    except errors.DataCorrupt:
        return None
    return None
