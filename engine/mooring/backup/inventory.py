"""What a garbage collection sees of a repository, looked at in the one order that is safe.

Tombstones before packs: a pack without a tombstone in the list cannot have been deleted on the
strength of one. Packs before everything else: what is written later is no candidate. Sessions are
closed before manifests are listed: either the collection sees the backup, or its writer sees the
mark. Manifests before sessions: a writer whose session is missed looked for its parent later than
the manifests were listed. Why this is enough is told in docs/explanation/garbage-collection.md.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mooring.backup import blob_index, pack_census
from mooring.backup import repository as repositories
from mooring.backup.format import layout, manifests, segments
from mooring.domain import backups, errors
from mooring.planning import collection
from mooring.ports import blobstores


@dataclass(frozen=True)
class KnownBackup:
    """What is remembered of a manifest; its documents may be large.

    Attributes:
        backup_id: Its id.
        volume_uid: Of which volume.
        point_in_time: What it stands for.
        session: That wrote it.
        root: Of its tree.
        chunk_count: Of its volume.
        holds: The backups that it names as good where it is suspect.
        parent: The backup that it builds on.
    """

    backup_id: backups.BackupId
    volume_uid: str
    point_in_time: datetime
    session: backups.SessionId
    root: bytes
    chunk_count: int
    holds: tuple[backups.BackupId, ...] = ()
    parent: backups.BackupId | None = None


@dataclass(frozen=True)
class KnownSession:
    """A session's object, and what it says; `announced` is None when it cannot be read."""

    info: blobstores.BlobInfo
    session_id: backups.SessionId
    announced: backups.BackupSession | None


def store_now(repository: repositories.Repository) -> datetime:
    """Returns the present by the store's own clock: when it says that a new object was written.

    On a store that takes no writes it is the time of its newest object, which is at most too early.
    """
    store = repository.store
    key = layout.PROBES + repository.surroundings.entropy(8).hex()
    try:
        store.put(key, b"")  # so that it fits where nothing else does
        info = store.head(key)
        if info is not None:
            return info.modified_at
    except (errors.SpaceExhausted, errors.PermissionDenied):
        pass
    finally:
        with contextlib.suppress(errors.PermissionDenied):
            store.delete(key)
    times = [info.modified_at for info in store.list("")]
    return max(times, default=repository.surroundings.clock.now())


def packs(repository: repositories.Repository) -> pack_census.PackCensus:
    """Lists the packs, by name."""
    return pack_census.PackCensus(
        pack_census.ListedPack(name, info.size_bytes, info.modified_at)
        for info in repository.store.list(layout.PACKS)
        if (name := layout.pack_name(info.key)) is not None
    )


def judge_by(
    listed: pack_census.PackCensus, repository: repositories.Repository
) -> blob_index.Judge:
    """Returns a judge that knows packs from a listing, and asks the store about newer ones."""

    def judge(pack: segments.PackInfo) -> int:
        known = listed.get(pack.name)
        info = known or repository.store.head(layout.pack_key(pack.name))
        good = info is not None and info.size_bytes == pack.size_bytes
        return blob_index.GOOD if good else blob_index.GONE

    return judge


def known_backups(repository: repositories.Repository) -> list[KnownBackup]:
    """Reads all manifests.

    Raises:
        DataCorrupt: One cannot be read, so that nobody knows what it needs.
        Unsupported: One is of a newer Mooring.
    """
    found = []
    for backup_id, manifest in repository.catalogue():
        if isinstance(manifest, errors.Unsupported):
            raise manifest
        if isinstance(manifest, errors.MooringError):
            raise errors.DataCorrupt(
                f"nothing is collected, because nobody knows what backup {backup_id} needs: "
                f"{manifest}"
            )
        found.append(
            KnownBackup(
                backup_id=backup_id,
                volume_uid=manifest.volume.uid,
                point_in_time=manifest.point_in_time,
                session=manifest.session,
                root=manifest.root,
                chunk_count=manifest.chunk_count,
                holds=manifest.scrub.holds,
                parent=manifest.parent,
            )
        )
    return found


def known_sessions(repository: repositories.Repository) -> Iterator[KnownSession]:
    """Reads all sessions.

    Raises:
        Unsupported: One is of a newer Mooring, so that nobody knows what it needs.
    """
    for info in repository.store.list(layout.SESSIONS):
        try:
            session_id = backups.parse_session_id(info.key.removeprefix(layout.SESSIONS))
        except errors.InvalidInput:
            continue  # somebody else's file
        try:
            content = repository.get_sealed(info.key, layout.MAXIMUM_SESSION_BYTES)
            announced = manifests.decode_session(content, info.key)
        except errors.NotFound:
            continue
        except errors.DataCorrupt:
            announced = None
        yield KnownSession(info, session_id, announced)


def closed(repository: repositories.Repository) -> dict[backups.SessionId, datetime]:
    """Lists the sessions that are closed, with the time at which each was."""
    found = {}
    for info in repository.store.list(layout.CLOSED):
        with contextlib.suppress(errors.InvalidInput):
            session = backups.parse_session_id(info.key.removeprefix(layout.CLOSED))
            found[session] = info.modified_at
    return found


def judge_sessions(
    repository: repositories.Repository,
    backups_before: list[KnownBackup],
    dropped: set[backups.SessionId],
    now: datetime,
) -> list[collection.SessionStep]:
    """Decides on each session that there is.

    Args:
        repository: Which.
        backups_before: Its backups, listed before.
        dropped: Sessions of backups that are being dropped; they count as closed.
        now: By the store's clock.
    """
    committed = {backup.session for backup in backups_before}
    made = {backup.backup_id for backup in backups_before}
    marks = dict.fromkeys(dropped, now) | closed(repository)
    found = list(known_sessions(repository))
    alive = _signs_of_life(repository, found, committed | marks.keys())
    steps = []
    for session in found:
        name = session.session_id
        facts = collection.SessionFacts(
            session_id=name,
            committed=name in committed,
            superseded=name.rpartition(".")[0] in made,
            readable=session.announced is not None,
            idle_for=now - alive[name],
            closed_for=now - marks[name] if name in marks else None,
        )
        steps.append(collection.plan_session(facts))
    return steps


def session_packs(repository: repositories.Repository, session: backups.SessionId) -> set[bytes]:
    """Returns the packs that the segments of a session name.

    Raises:
        Busy: Another collector takes them away, so what the session holds cannot be told.
        DataCorrupt: A segment is damaged.
    """
    names: set[bytes] = set()
    for info in repository.store.list(f"{layout.INDEX}{session}/"):
        if layout.segment_parts(info.key) is None:
            continue
        try:
            content = repository.get_sealed(info.key, layout.MAXIMUM_SEGMENT_BYTES)
        except errors.NotFound as error:
            raise errors.Busy(
                "another garbage collection of this repository is at work: try again later"
            ) from error
        names.update(pack.name for pack in segments.decode(content, info.key)[0])
    return names


def _signs_of_life(
    repository: repositories.Repository,
    found: list[KnownSession],
    ended: set[backups.SessionId],
) -> dict[backups.SessionId, datetime]:
    """Returns when each session was last heard of: itself, or of a writer that builds on it.

    Closing what a writer builds on would make it fail, so its signs of life count for that too.
    """
    last = {session.session_id: session.info.modified_at for session in found}
    for info in repository.store.list(layout.INDEX):
        parts = layout.segment_parts(info.key)
        if parts is not None and parts[0] in last:
            last[parts[0]] = max(info.modified_at, last[parts[0]])
    # Who builds on others came after them, so what it passes on is complete by then.
    for session in sorted(found, key=lambda one: one.info.modified_at, reverse=True):
        if session.announced is not None and session.session_id not in ended:
            for pinned in session.announced.sessions:
                if pinned in last:
                    last[pinned] = max(last[pinned], last[session.session_id])
    return last
