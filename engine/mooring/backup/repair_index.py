"""What a repair writes: index segments from the packs' own lists, tombstones, marks of damage."""

from collections.abc import Callable, Iterable

from mooring.backup import pack_census, pack_footers
from mooring.backup import repository as repositories
from mooring.backup.format import layout, manifests, segments
from mooring.domain import backups, errors


def index_packs(
    repository: repositories.Repository,
    found: Iterable[pack_census.ListedPack],
    beat: Callable[[], None],
) -> tuple[backups.SessionId, set[bytes], list[str]]:
    """Writes index segments for packs that none names.

    They are those of a session, so that a collector holds the packs for a while: a writer that is
    under way may have made them, and may not have named them yet.

    Args:
        repository: Which.
        found: The packs.
        beat: Called for each.

    Returns:
        The session, which packs were indexed, and what is wrong with the others.
    """
    session = announce(repository)
    writing = {kind: _Segments(repository, kind, session) for kind in _KINDS}
    problems = []
    indexed = set()
    for name, size_bytes, _ in found:
        beat()
        try:
            salt, entries = pack_footers.read_entries(repository, name, size_bytes)
        except (errors.DataCorrupt, errors.NotFound) as error:
            key = layout.pack_key(name)
            problems.append(f"object {key} is in no index, and cannot be: {error}")
            continue
        pack = segments.PackInfo(name, salt, size_bytes)
        for kind in _KINDS:
            records = [
                segments.ENTRY.pack(one.ident, 0, one.offset, one.length, one.raw_length)
                for one in entries
                if one.kind is kind
            ]
            writing[kind].add(pack, records)
        indexed.add(name)
    for one in writing.values():
        one.flush()
    return session, indexed, problems


def announce(repository: repositories.Repository) -> backups.SessionId:
    """Announces a session for what a repair writes; like every session it is given up in time."""
    session = backups.SessionId(f"{backups.REPAIR}.{repository.surroundings.entropy(8).hex()}")
    announced = backups.BackupSession(
        session_id=session,
        backup_id=backups.REPAIR,
        volume_uid="",
        chunk_size_bytes=repository.config.chunk_size_bytes,
        started_at=repository.surroundings.clock.now(),
    )
    repository.put_sealed(layout.session_key(session), manifests.encode_session(announced))
    return session


def doom(repository: repositories.Repository, pack: bytes, *, there: bool) -> None:
    """Gives a pack its tombstone; a second one is no error.

    Args:
        repository: Which.
        pack: Its name.
        there: Whether it is damaged, and not only out of sight: a folder that is not mounted, or a
            copy that is under way, brings it back.
    """
    repository.put_mark(layout.tombstone_key(pack), _DAMAGED if there else _MISSING)


def given_up(repository: repositories.Repository, pack: bytes) -> bool:
    """Tells whether a repair has doomed a pack, after it had saved what could be read."""
    try:
        why = repository.store.get(layout.tombstone_key(pack), limit_bytes=len(_DAMAGED))
    except (errors.NotFound, errors.DataCorrupt):
        return False
    return why == _DAMAGED.encode()


def mark_damaged(
    repository: repositories.Repository, backup_id: backups.BackupId, why: str
) -> None:
    """Marks a backup of which something is lost; a second time is no error."""
    repository.put_mark(layout.damaged_key(backup_id), why)


_KINDS = (layout.BlobKind.NODE, layout.BlobKind.DATA)
_DAMAGED = "damaged"
_MISSING = "missing"


class _Segments:
    """Segments of one kind, written as they fill."""

    def __init__(
        self,
        repository: repositories.Repository,
        kind: layout.BlobKind,
        session: backups.SessionId,
    ) -> None:
        self._repository = repository
        self._kind = kind
        self._session = session
        self._written = 0
        self._packs: list[segments.PackInfo] = []
        self._records: list[bytes] = []

    def add(self, pack: segments.PackInfo, records: list[bytes]) -> None:
        if not records:
            return
        place = len(self._packs).to_bytes(4, "little")
        start, end = layout.ID_BYTES, layout.ID_BYTES + len(place)
        self._packs.append(pack)
        self._records += [record[:start] + place + record[end:] for record in records]
        if len(self._records) >= segments.MAXIMUM_ENTRIES:
            self.flush()

    def flush(self) -> None:
        if self._records:
            key = layout.segment_key(self._session, self._kind, self._written)
            self._repository.put_sealed(key, segments.encode(self._packs, self._records))
            self._written += 1
            self._packs, self._records = [], []
