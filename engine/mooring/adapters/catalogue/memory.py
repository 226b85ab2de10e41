"""The catalogue in memory: for tests, and for one process that serves one node.

A standalone node needs no second memory: its own records are reported into this one at start.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace

from mooring.adapters.catalogue import projection
from mooring.domain import ids, volumes
from mooring.ports import catalogue as catalogue_port


class MemoryCatalogue:
    """Entries of one process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._entries: dict[ids.VolumeId, catalogue_port.CatalogueEntry] = {}

    def reserve(
        self, spec: volumes.VolumeSpec, node: ids.NodeName
    ) -> catalogue_port.CatalogueEntry:
        """Records the intent to create a volume, or returns the entry that is there."""
        with self._guard:
            return self._entries.setdefault(
                spec.volume_id, catalogue_port.CatalogueEntry(spec, node)
            )

    def drop(self, volume_id: ids.VolumeId) -> None:
        """Forgets a volume; an absent one is no error."""
        with self._guard:
            self._entries.pop(volume_id, None)

    def entry(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry | None:
        """Returns one entry, or None."""
        with self._guard:
            return self._entries.get(volume_id)

    def entries(self) -> Sequence[catalogue_port.CatalogueEntry]:
        """Returns all entries, by volume id."""
        with self._guard:
            return [entry for _, entry in sorted(self._entries.items())]

    def request_deletion(self, volume_id: ids.VolumeId) -> None:
        """Records a tombstone; repeating it or an absent entry is no error."""
        with self._guard:
            entry = self._entries.get(volume_id)
            if entry is not None:
                self._entries[volume_id] = replace(entry, deletion_requested=True)

    def request_undelete(self, volume_id: ids.VolumeId) -> None:
        """Records the wish to have a volume back; an absent entry is no error."""
        with self._guard:
            entry = self._entries.get(volume_id)
            if entry is not None:
                wished = replace(entry, deletion_requested=False, undelete_requested=True)
                self._entries[volume_id] = wished

    def forget(self, volume_id: ids.VolumeId) -> None:
        """Records that a volume's node is gone for good; an absent entry is no error."""
        with self._guard:
            entry = self._entries.get(volume_id)
            if entry is not None:
                self._entries[volume_id] = replace(entry, forgotten=True)

    def request_snapshot_deletion(self, snapshot_id: ids.SnapshotId) -> None:
        """Records a snapshot's tombstone; an absent entry is no error."""
        volume_id = ids.source_volume_id(snapshot_id)
        with self._guard:
            entry = self._entries.get(volume_id)
            if entry is not None and snapshot_id not in entry.snapshot_deletions:
                deletions = (*entry.snapshot_deletions, snapshot_id)
                self._entries[volume_id] = replace(entry, snapshot_deletions=deletions)

    def record_size(self, volume_id: ids.VolumeId, size_bytes: int) -> None:
        """Records the size that an expansion reached; an absent entry is no error."""
        with self._guard:
            entry = self._entries.get(volume_id)
            if entry is not None:
                spec = replace(entry.spec, size_bytes=size_bytes)
                self._entries[volume_id] = replace(entry, spec=spec)

    def report(self, node: ids.NodeName, report: catalogue_port.NodeReport) -> None:
        """Projects a node's records."""
        with self._guard:
            for entry in projection.changed_entries(self._entries, node, report):
                self._entries[entry.spec.volume_id] = entry
