"""The port of a node's own records: one durable document per volume and per snapshot."""

from collections.abc import Sequence
from typing import Protocol

from mooring.domain import ids, volumes


class VolumeRecords(Protocol):
    """Records of one pool. A write is atomic and durable before it returns."""

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        """Returns the record, or None."""

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        """Writes or replaces a record."""

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        """Removes a record; an absent one is no error."""

    def list_volumes(self) -> Sequence[volumes.VolumeRecord]:
        """Returns all records, by id.

        Raises:
            DataCorrupt: A record cannot be read; it is named, and nothing is changed.
        """

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        """Returns the record, or None."""

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        """Writes or replaces a record."""

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Removes a record; an absent one is no error."""

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns all records, by id.

        Raises:
            DataCorrupt: A record cannot be read; it is named, and nothing is changed.
        """
