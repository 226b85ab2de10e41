"""Decides which earlier backup a new one is compared with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mooring.domain import backups, errors
from mooring.planning import backup_order

LATEST = "latest"
"""Asks for the newest backup of the same volume that fits; having none is no error."""


@dataclass(frozen=True)
class ParentChoice:
    """The parent, or None for a full backup, and why."""

    parent: backups.BackupManifest | None
    reason: str


def choose_parent(
    candidates: Iterable[backups.BackupManifest],
    volume: backups.VolumeFacts,
    chunk_size_bytes: int | None,
    wanted: str | None,
    at: datetime,
    now: datetime,
) -> ParentChoice:
    """Chooses a parent.

    A parent is only ever a saving: each backup is whole by itself, whatever it is compared with.
    One of the future, by a clock that was wrong, is the last choice, or it would stay the newest.
    The last but one are those of later moments: a backup that comes late is of an older snapshot.

    Args:
        candidates: Backups that the repository has.
        volume: What is backed up now.
        chunk_size_bytes: The size asked for, or None to keep the parent's.
        wanted: A backup's id, `latest`, or None for no parent.
        at: The moment that is backed up now.
        now: The present, by this machine's clock.

    Raises:
        NotFound: The backup that was named is not there.
        PreconditionFailed: It is of another volume, or has another chunk size.
    """
    if wanted is None:
        return ParentChoice(None, "a full backup was asked for")
    if wanted != LATEST:
        for manifest in candidates:
            if manifest.backup_id == wanted:
                _check(manifest, volume, chunk_size_bytes)
                return ParentChoice(manifest, f"backup {wanted} was named as the parent")
        raise errors.NotFound(f"the parent backup {wanted} is not in the repository")
    fitting = [
        manifest
        for manifest in candidates
        if manifest.volume.uid == volume.uid
        and chunk_size_bytes in (None, manifest.chunk_size_bytes)
    ]
    if not fitting:
        return ParentChoice(None, "the repository has no earlier backup of this volume")
    newest = _newest(fitting, at, now)
    return ParentChoice(newest, f"backup {newest.backup_id} is the newest of this volume")


def newest_of(
    candidates: Iterable[backups.BackupManifest], volume_uid: str, now: datetime
) -> backups.BackupManifest | None:
    """Returns the newest backup of a volume, whether it can be a parent or not."""
    of_volume = [manifest for manifest in candidates if manifest.volume.uid == volume_uid]
    return _newest(of_volume, now, now) if of_volume else None


def came_before(parent: backups.BackupManifest, at: datetime, now: datetime) -> bool:
    """Tells whether what builds on a backup stands for a later moment, as far as clocks are right.

    A late backup may be compared with one of a later moment, and that says nothing against its
    own. One of the future was made before all the same, and a clock was wrong.

    Args:
        parent: What it builds on.
        at: The moment that it stands for.
        now: The present, by this machine's clock.
    """
    tolerance = backup_order.TOLERANCE
    return parent.point_in_time <= at + tolerance or parent.point_in_time > now + tolerance


def _newest(
    fitting: list[backups.BackupManifest], at: datetime, now: datetime
) -> backups.BackupManifest:
    placed = backup_order.places(
        (
            backup_order.Occasion(manifest.backup_id, manifest.point_in_time, manifest.parent)
            for manifest in fitting
        ),
        now,
    )

    def rank(manifest: backups.BackupManifest) -> tuple[bool, bool, backup_order.Place]:
        place = placed[manifest.backup_id]
        latest = (one + backup_order.TOLERANCE for one in (at, now))
        earlier, present = (place.moment <= moment for moment in latest)
        return present, earlier, place

    return max(fitting, key=rank)


def why_untracked(
    changes: backups.Changes,
    repository_id: backups.RepositoryId,
    parent: backups.BackupManifest | None,
    request: tuple[backups.VolumeFacts, int | None],
) -> str:
    """Says why what is known to have changed is of no use for a backup; empty when it is.

    Args:
        changes: What is known.
        repository_id: Where the backup goes.
        parent: The backup since which it is known; None when the repository has it no more.
        request: The volume as it is now, and the chunk size asked for; None keeps the parent's.
    """
    volume, chunk_size_bytes = request
    if changes.repository_id != repository_id:
        return f"what changed is known since a backup in repository {changes.repository_id}"
    if parent is None:
        return f"backup {changes.since}, since which the changes are known, is there no more"
    try:
        _check(parent, volume, chunk_size_bytes)
    except errors.PreconditionFailed as error:
        return str(error)
    if parent.volume.size_bytes != changes.size_bytes:
        return (
            f"backup {changes.since} is of {parent.volume.size_bytes} bytes, and the changes are "
            f"known since {changes.size_bytes}"
        )
    if parent.volume.size_bytes > volume.size_bytes:
        return f"the volume is smaller than in backup {changes.since}"
    return ""


def _check(
    manifest: backups.BackupManifest, volume: backups.VolumeFacts, chunk_size_bytes: int | None
) -> None:
    if manifest.volume.uid != volume.uid:
        raise errors.PreconditionFailed(
            f"backup {manifest.backup_id} is of another volume ({manifest.volume.uid}, not "
            f"{volume.uid}) and cannot be the parent"
        )
    if chunk_size_bytes not in (None, manifest.chunk_size_bytes):
        raise errors.PreconditionFailed(
            f"backup {manifest.backup_id} has chunks of {manifest.chunk_size_bytes} bytes, not "
            f"{chunk_size_bytes}, and cannot be the parent"
        )
