"""Pages of what a repository holds of one namespace, for a cluster that does not know it yet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mooring.backup import mover
from mooring.backup import repository as repositories
from mooring.domain import backups, errors
from mooring.planning import listed_backups

EVENT = listed_backups.EVENT
_CLAIM = "persistentVolumeClaim"
_MAXIMUM_PAGE_BYTES = 512 << 10  # a kubelet keeps megabytes of a log


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        entries: Backups, by id; see `_entry`.
        skipped: Backups that were looked at and are not in it.
        next_after: Where the next page begins; None after the last.
    """

    entries: list[dict[str, Any]]
    skipped: int
    next_after: str | None

    def summary(self) -> dict[str, Any]:
        """Returns what the mover's result says of it."""
        return {
            "listed": len(self.entries),
            "skipped": self.skipped,
            "digest": listed_backups.digest(self.entries),
            "nextAfter": self.next_after,
        }


def read_page(
    repository: repositories.Repository, namespace: str, after: str | None, limit: int
) -> Page:
    """Reads one page; two of the same `after` differ only by what came and went meanwhile.

    Args:
        repository: Where.
        namespace: Backups whose claim was in another one, or that have none, are left out.
        after: The backup behind which it begins.
        limit: Most manifests to read.
    """
    ids = [backup_id for backup_id in repository.backup_ids() if backup_id > (after or "")]
    entries: list[dict[str, Any]] = []
    skipped = size_bytes = looked_at = 0
    for backup_id in ids[:limit]:
        looked_at += 1
        entry = _read(repository, backup_id, namespace)
        if entry is None:
            skipped += 1
            continue
        entries.append(entry)
        size_bytes += len(json.dumps(entry))
        if size_bytes >= _MAXIMUM_PAGE_BYTES:
            break
    more = looked_at < len(ids)
    return Page(entries, skipped, ids[looked_at - 1] if more else None)


def _read(
    repository: repositories.Repository, backup_id: backups.BackupId, namespace: str
) -> dict[str, Any] | None:
    try:
        manifest = repository.manifest(backup_id)
    except (errors.NotFound, errors.DataCorrupt, errors.Unsupported):
        return None
    claim = manifest.documents.get(_CLAIM)
    metadata = claim.get("metadata") if isinstance(claim, Mapping) else None
    if not isinstance(metadata, Mapping) or metadata.get("namespace") != namespace:
        return None
    return _entry(manifest, metadata)


def _entry(manifest: backups.BackupManifest, claim: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `mover.describe` says of a backup, with its claim and its manifests."""
    documents = {name: value for name, value in manifest.documents.items() if value}
    too_large = len(json.dumps(documents)) > listed_backups.LARGEST_MANIFESTS_BYTES
    spec = manifest.documents[_CLAIM].get("spec") or {}
    return {
        **mover.describe(manifest),
        "sectorSizeBytes": manifest.volume.sector_size_bytes,
        "claimName": claim.get("name"),
        "namespace": claim.get("namespace"),
        "volumeMode": spec.get("volumeMode", "Filesystem"),
        "storageClassName": spec.get("storageClassName"),
        "manifests": {} if too_large else documents,
    }
