"""The port of a node's own records: one durable document per volume and per snapshot."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mooring.domain import ids, volumes

Record = TypeVar("Record")


@dataclass(frozen=True)
class Listing(Generic[Record]):
    """Every record of one kind.

    Attributes:
        records: The readable ones, by id.
        faults: One message for each record that cannot be read; it names the file.
    """

    records: tuple[Record, ...]
    faults: tuple[str, ...]


class VolumeRecords(Protocol):
    """Records of one pool. A write is atomic and durable before it returns."""

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        """Returns the record, or None.

        Raises:
            DataCorrupt: There is one, but it cannot be read; the message names the file.
        """

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        """Writes or replaces a record."""

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        """Removes a record; an absent one is no error."""

    def list_volumes(self) -> Listing[volumes.VolumeRecord]:
        """Returns all records; an unreadable one is named among the faults and left alone."""

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        """Returns the record, or None.

        Raises:
            DataCorrupt: There is one, but it cannot be read; the message names the file.
        """

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        """Writes or replaces a record."""

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Removes a record; an absent one is no error."""

    def list_snapshots(self) -> Listing[volumes.SnapshotRecord]:
        """Returns all records; an unreadable one is named among the faults and left alone."""
