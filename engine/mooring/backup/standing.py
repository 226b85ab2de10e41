"""Does a backup stand: is everything that it needs there, and nothing of it about to be deleted?"""

from mooring.backup import blob_index, inventory, reachability
from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors


def stands(repository: repositories.Repository, manifest: backups.BackupManifest) -> bool:
    """Tells whether all that a backup needs lies in packs that are there and not doomed.

    It goes down the backup's whole tree and reads no data, so it is asked only when a collector
    was at work meanwhile.
    """
    there = inventory.packs(repository)

    def judge(pack: segments.PackInfo) -> int:
        info = there.get(pack.name) or repository.store.head(layout.pack_key(pack.name))
        good = info is not None and info.size_bytes == pack.size_bytes
        return blob_index.GOOD if good else blob_index.GONE

    try:
        marker = reachability.Marker(repository, judge)
    except errors.DataCorrupt:
        return False
    return marker.mark(manifest.root, manifest.chunk_count) == reachability.NO_HARM


def trusted(repository: repositories.Repository, manifest: backups.BackupManifest) -> bool:
    """Tells whether no collector gave up on the session that made a backup.

    Of one that was given up it is not known whether the backup came in time to be seen.
    """
    store = repository.store
    closed = store.head(layout.closed_key(manifest.session)) is not None
    return not closed and store.head(layout.session_key(manifest.session)) is not None
