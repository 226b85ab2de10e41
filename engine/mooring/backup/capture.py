"""Backup: what is asked for, what it builds on, and the manifest that makes it exist."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mooring.backup import (
    capture_pipeline,
    config_trust,
    devices,
    predecessors,
    progress,
    scrub,
    sessions,
    standing,
)
from mooring.backup import repository as repositories
from mooring.domain import backups, errors
from mooring.planning import backup_parents, scrubbing

_MAXIMUM_ORIGINS = 1000  # a hint for readers; what is left out is found all the same
_MAXIMUM_DOCUMENT_BYTES = 4 << 20


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
        changes: What is known to have changed; only that is read, if the parent may be the backup
            since which it is known. None to read everything.
        scrub: How much of what did not change is read again, to find what the disk has lost.
        doubt_tracking: Whether everything is read, and compared where tracking says that it did not
            change, because the disk lost something elsewhere.
        read_everything: The same, because somebody asks for it.
        accept_suspect: Somebody looked at what is suspect since earlier backups, and takes it as it
            is now.
    """

    backup_id: backups.BackupId
    volume: backups.VolumeFacts
    point_in_time: datetime
    consistency: str = backups.Consistency.CRASH
    parent: str | None = backup_parents.LATEST
    chunk_size_bytes: int | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)
    tool_version: str = ""
    changes: backups.Changes | None = None
    scrub: scrubbing.ScrubPolicy = scrubbing.NEVER
    doubt_tracking: bool = False
    read_everything: bool = False
    accept_suspect: bool = False


@dataclass(frozen=True)
class BackupOutcome:
    """A backup that exists.

    Attributes:
        manifest: What the repository says of it.
        existed: True when an earlier attempt had made it already.
        notes: Things worth knowing, for a log.
        reading: How much was read; None when an earlier attempt did it.
    """

    manifest: backups.BackupManifest
    existed: bool
    notes: tuple[str, ...] = ()
    reading: backups.Reading | None = None


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
        InvalidInput: The documents are too large, or the id is kept for something else.
        PreconditionFailed: The source has another size than the request says, or the parent named
            does not fit.
        AnotherRepository: `config` is not of this repository.
        NotFound: The parent named is not there.
        AlreadyExists: The id is taken by a backup of another volume.
        HostFailure: The source could not be read.
        Busy: Garbage collection took something back meanwhile; try again.
        Cancelled: The watch said so. No backup exists.
    """
    config_trust.refuse_foreign(repository)
    try:
        existing = sessions.accept_existing(repository, request.backup_id, request.volume.uid)
        return BackupOutcome(existing, existed=True)
    except errors.NotFound:
        pass
    _check(request, source)
    notes: list[str] = []
    basis, left = _basis(repository, request, notes)
    parent = basis.parent
    draft = _draft(repository, request, parent or left)
    if left is not None:
        draft = replace(draft, sessions=standing.sessions_to_reuse(repository, left))
    opened = sessions.announce(repository, draft, parent)
    scrubbed, basis = _scrub(
        repository, source, request, (basis, left, opened.session.session_id), watch
    )
    if scrubbed.shown is not None:
        watch = progress.afterwards(watch, scrubbed.shown)
    capture = capture_pipeline.Capture(repository, source, opened.session, basis, watch)
    root = capture.run()
    manifest = _manifest(repository, request, opened.session, parent, capture.stats(), root)
    manifest = replace(manifest, scrub=scrubbed.record)
    if capture.parent_lost:  # readers shall find what was sent again, and not what is damaged
        own = (opened.session.session_id, *opened.session.sessions)
        manifest = replace(manifest, origins=own)
    made = sessions.commit(repository, opened, manifest)
    existed = made.session != manifest.session
    notes += [*scrubbed.notes, *capture.notes]
    reading = None if existed else capture.reading
    return BackupOutcome(made, existed=existed, notes=tuple(notes), reading=reading)


def _check(request: BackupRequest, source: devices.VolumeSource) -> None:
    backups.check_new_backup_id(request.backup_id)
    if len(json.dumps(dict(request.documents))) > _MAXIMUM_DOCUMENT_BYTES:
        raise errors.InvalidInput(
            f"the documents to keep with the backup exceed {_MAXIMUM_DOCUMENT_BYTES} bytes"
        )
    if source.size_bytes != request.volume.size_bytes:
        raise errors.PreconditionFailed(
            f"the volume should have {request.volume.size_bytes} bytes, but the device has "
            f"{source.size_bytes}"
        )


def _basis(
    repository: repositories.Repository, request: BackupRequest, notes: list[str]
) -> tuple[capture_pipeline.Basis, backups.BackupManifest | None]:
    """Chooses the parent, and whether all is read or only what changed since.

    Returns:
        What it builds on; and, where that is nothing because something of the parent is lost or
        was given up, that parent: what is left of it is not sent again.
    """
    changes, why_everything = request.changes, "nothing tells what changed"
    if changes is not None and request.parent in (backup_parents.LATEST, changes.since):
        parent = None
        with contextlib.suppress(errors.NotFound, errors.DataCorrupt, errors.Unsupported):
            parent = repository.manifest(changes.since)
        why_not: str | None = backup_parents.why_untracked(
            changes,
            repository.config.repository_id,
            parent,
            (request.volume, request.chunk_size_bytes),
        )
        if not why_not and parent is not None:
            why_not = standing.why_not_parent(repository, parent)
        if not why_not:
            notes.append(f"only what changed since backup {changes.since} is read")
            return capture_pipeline.Basis(parent, changes.ranges), None
        notes.append(f"everything is read, because {why_not}")
        why_everything = why_not
    choice = backup_parents.choose_parent(
        _candidates(repository, request, notes),
        request.volume,
        request.chunk_size_bytes,
        request.parent,
        request.point_in_time,
        repository.surroundings.clock.now(),
    )
    if choice.parent is not None and (why := standing.why_not_parent(repository, choice.parent)):
        notes.append(f"{why}, so it is not the parent")
        return capture_pipeline.Basis(None, why_everything=why_everything), choice.parent
    notes.append(choice.reason)
    return capture_pipeline.Basis(choice.parent, why_everything=why_everything), None


def _scrub(
    repository: repositories.Repository,
    source: devices.VolumeSource,
    request: BackupRequest,
    built_on: tuple[capture_pipeline.Basis, backups.BackupManifest | None, backups.SessionId],
    watch: progress.Watch,
) -> tuple[scrub.Scrubbed, capture_pipeline.Basis]:
    """Looks at what did not change; returns what came of it, and the basis with what to read."""
    basis, left, session = built_on
    parent = basis.parent or left
    if basis.changed is None and _is_apart(request):
        # What it is compared with may be another backup, or none, but doubt does not end by that.
        parent = predecessors.newest(repository, request.volume.uid) or parent
    latest = () if parent is None else predecessors.last_ones(repository, parent, session)
    known = any(one.scrub.suspect for one in latest)
    if parent is None or (basis.changed is None and not known):
        return scrub.Scrubbed(backups.ScrubRecord(whole=True)), basis
    looked_at = () if request.accept_suspect else latest
    wanted = scrub.ScrubRequest(parent, looked_at)
    if basis.changed is not None:
        basis = replace(basis, tree=capture_pipeline.open_tree(repository, parent, walks=False))
        why_all = scrubbing.why_whole(
            (parent, *latest), elsewhere=request.doubt_tracking, asked=request.read_everything
        )
        elapsed = request.point_in_time - parent.point_in_time
        turn = scrubbing.plan_turn(parent, source.size_bytes, elapsed, request.scrub)
        if why_all:
            turn = scrubbing.whole_turn(parent, source.size_bytes)
        wanted = scrub.ScrubRequest(
            parent, looked_at, basis.tree, basis.changed or (), turn, why_all
        )
    found = scrub.scrub(repository, source, wanted, watch)
    if basis.changed is not None and found.record.whole:
        why = wanted.why_all or "it could not be compared with the backup before"
        basis = replace(basis, why_everything=why)
    if basis.changed is not None and found.ranges:
        basis = replace(basis, changed=scrub.Together(basis.changed, found.ranges))
    return found, basis


def _is_apart(request: BackupRequest) -> bool:
    """Tells whether the backup before may be another than the parent."""
    return request.parent != backup_parents.LATEST or request.chunk_size_bytes is not None


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

    def is_before(one: backups.BackupManifest) -> bool:
        return backup_parents.came_before(one, request.point_in_time, finished_at)

    earlier = (*session.sessions, *(parent.origins if parent else ()))
    return backups.BackupManifest(
        backup_id=request.backup_id,
        volume=request.volume,
        chunk_size_bytes=session.chunk_size_bytes,
        consistency=request.consistency,
        point_in_time=request.point_in_time,
        finished_at=finished_at,
        parent=parent.backup_id if parent and is_before(parent) else None,
        session=session.session_id,
        root=root,
        origins=tuple(dict.fromkeys((session.session_id, *earlier)))[:_MAXIMUM_ORIGINS],
        documents=request.documents,
        tool_version=request.tool_version,
        stats=replace(stats, duration_seconds=(finished_at - session.started_at).total_seconds()),
    )
