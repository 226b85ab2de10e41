"""Sessions: how writers without locks and a garbage collector stay out of each other's way.

A session is announced before anything is written or reused, and names what it builds on, so that
a collector that looks later holds all of it. A collector that gives up on a session closes it
first; the writer looks for that mark before and after it writes the manifest. The full protocol
is in docs/explanation/repository-format.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mooring.backup import repository as repositories
from mooring.backup import standing
from mooring.backup.format import layout, manifests
from mooring.domain import backups, errors

_MOST_ATTEMPTS = 100
"""So many broken-off backups of a volume are built on; nobody breaks off as many in a week."""


@dataclass(frozen=True)
class OpenSession:
    """A session under way.

    Attributes:
        session: As announced.
        tombstones: Names of doomed packs when it began.
    """

    session: backups.BackupSession
    tombstones: frozenset[str]


def announce(
    repository: repositories.Repository,
    draft: backups.BackupSession,
    parent: backups.BackupManifest | None,
) -> OpenSession:
    """Writes the session object, with the parent and earlier attempts pinned.

    Args:
        repository: Where.
        draft: The session, but for what it pins; its `sessions` are reused if they still stand.
        parent: What the backup is compared with.

    Raises:
        Busy: The parent or an earlier attempt was given up at the same moment; try again.
    """
    pins: tuple[backups.SessionPin, ...] = ()
    if parent is not None:
        pins = (backups.SessionPin(parent.backup_id, parent.root, parent.volume.size_bytes),)
    session = backups.BackupSession(
        session_id=draft.session_id,
        backup_id=draft.backup_id,
        volume_uid=draft.volume_uid,
        chunk_size_bytes=draft.chunk_size_bytes,
        started_at=draft.started_at,
        parents=pins,
        sessions=(*_reusable(repository, draft), *_earlier_attempts(repository, draft, parent)),
        tool_version=draft.tool_version,
    )
    tombstones = _tombstones(repository)
    repository.put_sealed(layout.session_key(session.session_id), manifests.encode_session(session))
    opened = OpenSession(session, tombstones)
    if parent is not None and not _exists(repository, layout.manifest_key(parent.backup_id)):
        raise errors.Busy(f"the parent backup {parent.backup_id} was just forgotten: try again")
    _check_open(repository, opened)
    return opened


def commit(
    repository: repositories.Repository, opened: OpenSession, manifest: backups.BackupManifest
) -> backups.BackupManifest:
    """Makes the backup exist, unless a collector has taken back something that it needs.

    Args:
        repository: Where.
        opened: The session; all its packs and index segments are written.
        manifest: The backup.

    Returns:
        The manifest that is in the repository: another attempt's, if that was first.

    Raises:
        Busy: The session was closed, or packs were doomed meanwhile; the backup does not exist.
        AlreadyExists: The id is taken by a backup of another volume.
    """
    tombstones = _check_before(repository, opened, manifest)
    key = layout.manifest_key(manifest.backup_id)
    try:
        repository.put_sealed(key, manifests.encode_manifest(manifest))
    except errors.AlreadyExists:
        return accept_existing(repository, manifest.backup_id, manifest.volume.uid)
    disturbed = not _is_open(repository, opened) or _tombstones(repository) - tombstones
    if disturbed and not standing.stands(repository, manifest, unknown=False):
        repository.store.delete(key)
        raise errors.Busy("garbage collection took back what this backup needs: try again")
    return manifest


def accept_existing(
    repository: repositories.Repository, backup_id: backups.BackupId, volume_uid: str
) -> backups.BackupManifest:
    """Returns the backup that has this id already.

    Raises:
        NotFound: There is none.
        AlreadyExists: It is of another volume.
        Busy: It is withdrawn, because a collector took back what it needs; try again.
        DataCorrupt: Something of it is lost, or it cannot be told; it stays.
    """
    existing = repository.manifest(backup_id)
    if existing.volume.uid != volume_uid:
        raise errors.AlreadyExists(
            f"backup {backup_id} exists and is of another volume ({existing.volume.uid}): "
            "choose another id"
        )
    if standing.why_not_parent(repository, existing) is not None:
        _accept_doubtful(repository, existing)
    return existing


def _accept_doubtful(repository: repositories.Repository, existing: backups.BackupManifest) -> None:
    """Accepts a backup that is marked or came late, if it stands.

    What is missing may be out of sight only. So a backup is withdrawn only when a collector is seen
    to have given up on it, and it is not marked; else it stays, and somebody is told.
    """
    backup_id = existing.backup_id
    late = not standing.trusted(repository, existing)
    harm = standing.find_harm(repository, existing)
    if harm.whole and not harm.doomed:
        return
    given_up = harm.doomed or _exists(repository, layout.closed_key(existing.session))
    marked = _exists(repository, layout.damaged_key(backup_id))
    if late and given_up and not marked:
        repository.store.delete(layout.manifest_key(backup_id))
        raise errors.Busy(
            f"backup {backup_id} came too late: garbage collection had given up on it and taken "
            "back what it needs. It is withdrawn: try again"
        )
    lost = harm.words or f"{harm.doomed} chunks lie in packs that are given up"
    raise errors.DataCorrupt(
        f"backup {backup_id} exists, but something of it is lost ({lost}): put back what is "
        "missing and run `mooring repo repair`, or choose another id; `mooring repo repair "
        "--drop-damaged` drops it"
    )


def _reusable(
    repository: repositories.Repository, draft: backups.BackupSession
) -> list[backups.SessionId]:
    return [
        session
        for session in draft.sessions
        if _exists(repository, layout.session_key(session))
        and not _exists(repository, layout.closed_key(session))
    ]


def _earlier_attempts(
    repository: repositories.Repository,
    draft: backups.BackupSession,
    parent: backups.BackupManifest | None,
) -> list[backups.SessionId]:
    """Returns the sessions of the volume that made no backup and sent something, newest first.

    One of them may be under way still: what its segments name is in packs that are whole. What the
    parent was made with is left out, since the parent has what is of use there.
    """
    done = {*(parent.origins if parent is not None else ()), *draft.sessions}
    attempts: list[backups.SessionId] = []
    for key, session in _unfinished(repository):
        if session in done or len(attempts) == _MOST_ATTEMPTS:
            continue
        try:
            content = repository.get_sealed(key, layout.MAXIMUM_SESSION_BYTES)
            found = manifests.decode_session(content, key)
        except (errors.NotFound, errors.DataCorrupt, errors.Unsupported):
            continue  # a saving that is lost, no more
        wanted = (draft.volume_uid, draft.chunk_size_bytes)
        sent = repository.store.list(f"{layout.INDEX}{session}/")
        if (found.volume_uid, found.chunk_size_bytes) == wanted and any(sent):
            attempts.append(session)
    return attempts


def _unfinished(
    repository: repositories.Repository,
) -> Iterator[tuple[str, backups.SessionId]]:
    """Yields the sessions of backups that do not exist and were not given up, newest first."""
    store = repository.store
    closed = {info.key.removeprefix(layout.CLOSED) for info in store.list(layout.CLOSED)}
    made = {info.key.removeprefix(layout.MANIFESTS) for info in store.list(layout.MANIFESTS)}
    listed = sorted(store.list(layout.SESSIONS), key=lambda info: info.modified_at, reverse=True)
    for info in listed:
        name = info.key.removeprefix(layout.SESSIONS)
        if name in closed or name.rpartition(".")[0] in made:
            continue
        try:
            yield info.key, backups.parse_session_id(name)
        except errors.InvalidInput:
            continue  # somebody else's file


def _check_open(repository: repositories.Repository, opened: OpenSession) -> None:
    for session in (opened.session.session_id, *opened.session.sessions):
        if _exists(repository, layout.closed_key(session)):
            raise errors.Busy(f"garbage collection has closed session {session}: try again")


def _check_before(
    repository: repositories.Repository, opened: OpenSession, manifest: backups.BackupManifest
) -> frozenset[str]:
    """Looks whether a collector was at work before the backup is made; returns the tombstones."""
    _check_open(repository, opened)
    tombstones = _tombstones(repository)
    # Of a collection that is long over neither the tombstones nor the closing are left.
    gone = not _exists(repository, layout.session_key(opened.session.session_id))
    if (gone or tombstones - opened.tombstones) and not standing.stands(repository, manifest):
        raise errors.Busy("garbage collection has doomed what this backup needs: try again")
    return tombstones


def _is_open(repository: repositories.Repository, opened: OpenSession) -> bool:
    try:
        _check_open(repository, opened)
    except errors.Busy:
        return False
    return _exists(repository, layout.session_key(opened.session.session_id))


def _tombstones(repository: repositories.Repository) -> frozenset[str]:
    return frozenset(info.key for info in repository.store.list(layout.TOMBSTONES))


def _exists(repository: repositories.Repository, key: str) -> bool:
    return repository.store.head(key) is not None
