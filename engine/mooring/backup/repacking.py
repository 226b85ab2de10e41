"""Copies what is still needed out of packs that shall go."""

from collections.abc import Callable

from mooring.backup import blob_index, blob_reader, pack_footers, pack_writer, reachability
from mooring.backup import repository as repositories
from mooring.backup.format import layout
from mooring.domain import backups, errors
from mooring.planning import backup_reads


def copy_live(
    repository: repositories.Repository,
    marker: reachability.Marker,
    sources: set[bytes],
    beat: Callable[[], bool],
) -> list[str]:
    """Copies the marked chunks of some packs to new packs, which are durable and indexed after.

    The packs that are copied from are left alone. Killed between, it leaves packs that nothing
    needs, which the next collection dooms.

    Args:
        repository: Which.
        marker: What is needed.
        sources: Names of the packs to copy from; those are left of which not all is copied.
        beat: Called after each read; False ends the copying early.

    Returns:
        What is wrong with packs that could not be copied.
    """
    problems: list[str] = []
    for index in (marker.nodes, marker.data):
        problems += _Copying(repository, index).run(sources, beat)
    return problems


class _Copying:
    """The packs of one kind."""

    def __init__(self, repository: repositories.Repository, index: blob_index.BlobIndex) -> None:
        self._repository = repository
        self._index = index
        self._reader = blob_reader.BlobReader(repository, index, follow=False)
        session = backups.SessionId(f"collector.{repository.surroundings.entropy(8).hex()}")
        maximum = (
            backups.MAXIMUM_CHUNK_SIZE_BYTES if index.kind is layout.BlobKind.DATA else 1 << 16
        )
        self._writer = pack_writer.PackWriter(repository, session, index.kind, maximum)
        self._problems: list[str] = []

    def run(self, left: set[bytes], beat: Callable[[], bool]) -> list[str]:
        try:
            for number, pack in enumerate(self._index.pack_list()):
                if pack.name not in left:
                    continue
                if not beat():
                    break
                if self._copy(number):
                    left.remove(pack.name)
            self._writer.finish()
        except BaseException:
            self._writer.abandon()
            raise
        return self._problems

    def _copy(self, number: int) -> bool:
        """Goes by the pack's own list, so that only one pack's chunks are in memory."""
        pack = self._index.pack(number)
        try:
            _, entries = pack_footers.read_entries(
                self._repository, pack.name, pack.size_bytes, pack.salt
            )
            found = (self._index.find_marked(entry.ident) for entry in entries)
            wanted = {one.offset: one for one in found if one and one.pack == number}
            for planned in backup_reads.plan_reads(wanted.values()):
                for chunk, stored, _ in self._reader.read_stored(planned):
                    self._writer.add(chunk.ident, stored, chunk.raw_length)
        except (errors.DataCorrupt, errors.NotFound) as error:
            self._problems.append(f"pack {pack.name.hex()} is not copied: {error}")
            return False
        return True
