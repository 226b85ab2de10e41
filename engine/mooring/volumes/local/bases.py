"""Snapshots of one pool that are kept after a backup, so that the next reads only what changed.

There is one for each volume, and two for a while when a new volume is copied from one. They are
nobody's data: a base goes when the next one stands, when its volume is deleted, and, the oldest
first, when its room is promised to somebody.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mooring.domain import errors, ids, volumes
from mooring.ports import pools as pool_ports
from mooring.volumes.local.ledger import Ledger


class Bases:
    """Kept bases of one pool.

    Args:
        images: The pool's images.
        records: Its records.
    """

    def __init__(self, images: pool_ports.ImagePool, records: Ledger) -> None:
        self._images = images
        self._records = records
        self._changing = threading.Lock()
        self._spared: list[ids.SnapshotId] = []

    @contextmanager
    def spared(self, snapshot_id: ids.SnapshotId | None) -> Iterator[None]:
        """Keeps one for the time of a `with` block, because something is copied from it.

        Another that takes its place does not drop it either; the one after that does. It goes with
        its volume all the same.
        """
        with self._changing:
            self._spared += [snapshot_id] if snapshot_id else []
        try:
            yield
        finally:
            with self._changing:
                if snapshot_id:
                    self._spared.remove(snapshot_id)

    def kept(self, volume_id: ids.VolumeId | None = None) -> list[volumes.SnapshotRecord]:
        """Returns all bases, or those of one volume, the oldest first."""
        found = [
            record
            for record in self._records.list_snapshots().records
            if record.base is not None and volume_id in (None, record.source_volume_id)
        ]
        return sorted(found, key=lambda one: (one.created_at, one.snapshot_id))

    def keep(self, record: volumes.SnapshotRecord, base: volumes.BackupBase) -> None:
        """Keeps a snapshot in place of the bases that its volume had before; or a newer one."""
        with self._changing:
            others = [
                one
                for one in self.kept(record.source_volume_id)
                if one.snapshot_id != record.snapshot_id
            ]
            if any(one.created_at > record.created_at for one in others):
                return self._drop(record)
            if record.base != base:
                self._records.put_snapshot(replace(record, base=base))
            for other in others:
                if other.snapshot_id not in self._spared:
                    self._drop(other)
        return None

    def drop_all_of(self, volume_id: ids.VolumeId) -> None:
        """Drops what is kept of a volume."""
        with self._changing:
            for record in self.kept(volume_id):
                self._drop(record)

    def free_oldest(self) -> bool:
        """Drops the oldest base that nothing is copied from; False when there is none."""
        with self._changing:
            for record in self.kept():
                if record.snapshot_id not in self._spared:
                    self._drop(record)
                    return True
        return False

    def _drop(self, record: volumes.SnapshotRecord) -> None:
        # As for every deletion, a full pool has no room for the intent: see `reclaim`.
        with contextlib.suppress(errors.SpaceExhausted):
            self._records.put_snapshot(replace(record, state=volumes.SnapshotState.DELETING))
        self._images.remove(ids.ImageId(record.snapshot_id))
        self._records.remove_snapshot(record.snapshot_id)
