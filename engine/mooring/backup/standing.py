"""Does a backup stand: is everything that it needs there, and nothing of it about to be deleted?"""

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mooring.backup import blob_index
from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors

if TYPE_CHECKING:
    from mooring.backup import reachability


def stands(
    repository: repositories.Repository,
    manifest: backups.BackupManifest,
    *,
    unknown: bool | None = None,
) -> bool:
    """Tells whether all that a backup needs lies in packs that are there and not doomed.

    Args:
        repository: Which.
        manifest: Of the backup.
        unknown: What to answer when damage hides the answer; None for an error.

    Raises:
        DataCorrupt: It does.
    """
    try:
        harm = find_harm(repository, manifest)
    except errors.DataCorrupt:
        if unknown is None:
            raise
        return unknown
    return harm.whole and not harm.doomed


def find_harm(
    repository: repositories.Repository, manifest: backups.BackupManifest
) -> "reachability.Harm":
    """Tells what is wrong below a backup.

    It goes down the backup's whole tree and reads no data, so it is asked only when a collector
    was at work meanwhile, or something is lost. A segment that is damaged or gone makes nothing
    lost: what is in no segment is looked for in the packs, as readers do.

    Raises:
        DataCorrupt: Damage hides the answer.
    """
    from mooring.backup import inventory, reachability  # noqa: PLC0415 - seldom asked for

    problems: dict[str, str] = {}
    for asks_packs in (False, True):
        problems = {}
        judge = inventory.judge_by(inventory.packs(repository), repository)
        marker = reachability.Marker(repository, judge, problems=problems, asks_packs=asks_packs)
        harm = marker.mark(manifest.root, manifest.chunk_count)
        if harm.whole:
            return harm
    if not problems:
        return harm
    why = next(iter(problems.values()))
    raise errors.DataCorrupt(
        f"whether backup {manifest.backup_id} stands cannot be told: {why}. Run "
        "`mooring repo repair`, and try again"
    )


def trusted(repository: repositories.Repository, manifest: backups.BackupManifest) -> bool:
    """Tells whether no collector gave up on the session that made a backup.

    Of one that was given up it is not known whether the backup came in time to be seen.
    """
    store = repository.store
    closed = store.head(layout.closed_key(manifest.session)) is not None
    return not closed and store.head(layout.session_key(manifest.session)) is not None


def why_not_parent(
    repository: repositories.Repository, manifest: backups.BackupManifest
) -> str | None:
    """Returns why nothing may be built on a backup, or None when it may be."""
    if repository.store.head(layout.damaged_key(manifest.backup_id)) is not None:
        return f"something of backup {manifest.backup_id} is lost"
    if not trusted(repository, manifest):
        return f"garbage collection gave up on backup {manifest.backup_id} while it was made"
    return None


def sessions_to_reuse(
    repository: repositories.Repository, manifest: backups.BackupManifest
) -> tuple[backups.SessionId, ...]:
    """Returns the sessions in which what is left of a damaged backup may be found."""
    prefix = layout.sessions_of(backups.REPAIR)
    repairs = [
        backups.SessionId(info.key.removeprefix(layout.SESSIONS))
        for info in repository.store.list(prefix)
    ]
    return (*manifest.origins, *repairs)


def sent_by(
    repository: repositories.Repository, sessions: Iterable[backups.SessionId]
) -> tuple[blob_index.BlobIndex, blob_index.BlobIndex]:
    """Returns indexes of the nodes and of the data chunks that sessions have sent.

    They know of each pack whether it is there and not doomed. A segment alone does not tell: a
    collector that stood still for days may write one that names a pack which is gone, and whose
    tombstone has gone since. Tombstones are listed before packs; see `inventory` for why.
    """
    from mooring.backup import inventory  # noqa: PLC0415 - seldom asked for

    @functools.cache
    def listing() -> blob_index.Judge:
        return inventory.judge_by(inventory.packs(repository), repository)

    def judge(pack: segments.PackInfo) -> int:
        return listing()(pack)

    nodes, data = (
        blob_index.for_reading(repository, kind, judge)  # a damaged one is a saving lost
        for kind in (layout.BlobKind.NODE, layout.BlobKind.DATA)
    )
    wanted = tuple(sessions)
    nodes.load(wanted)
    data.load(wanted)
    return nodes, data
