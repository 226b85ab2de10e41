"""The backups of a volume whose findings a new one takes over, whatever it is compared with."""

from datetime import timedelta

from mooring.backup import repository as repositories
from mooring.backup.format import layout
from mooring.domain import backups, errors
from mooring.planning import backup_parents, backup_succession

_TOLERANCE = timedelta(minutes=1)
"""A store tells times to the second, and its machines differ a little."""


def newest(repository: repositories.Repository, volume_uid: str) -> backups.BackupManifest | None:
    """Returns the newest backup of a volume, by all manifests; None when it has none."""
    found = (one for _, one in repository.catalogue() if isinstance(one, backups.BackupManifest))
    return backup_parents.newest_of(found, volume_uid, repository.surroundings.clock.now())


def last_ones(
    repository: repositories.Repository,
    known: backups.BackupManifest,
    session: backups.SessionId,
) -> tuple[backups.BackupManifest, ...]:
    """Returns the backups of a volume that no later one has looked at.

    Only what was written since a known one began is read: that one has looked at all before. Where
    something was written later than now, the store's clock has jumped, and all is read.

    Args:
        repository: Where they are.
        known: Any backup of the volume; the newer it is, the less is read.
        session: The one that was just begun; the store says when that was.
    """
    store = repository.store
    began = {info.key: info.modified_at for info in store.list(layout.SESSIONS)}
    listed = list(store.list(layout.MANIFESTS))
    since, now = (began.get(layout.session_key(one)) for one in (known.session, session))
    stamps = [*began.values(), *(info.modified_at for info in listed)]
    believed = since is not None and now is not None and max(stamps) <= now + _TOLERANCE
    makings = []
    for info in listed:
        if since is not None and believed and info.modified_at < since - _TOLERANCE:
            continue
        name = info.key.removeprefix(layout.MANIFESTS)
        try:
            manifest = repository.manifest(backups.parse_backup_id(name))
        except (errors.NotFound, errors.DataCorrupt, errors.Unsupported, errors.InvalidInput):
            continue  # forgotten, damaged, or somebody else's file
        if manifest.volume.uid == known.volume.uid:
            began_at = began.get(layout.session_key(manifest.session))
            makings.append(backup_succession.Making(manifest, began_at, info.modified_at))
    return backup_succession.last_ones(makings)
