"""What a pool has promised, kept up to date without looking at every image for every promise.

A full count reads the use of all images. Between two counts only the promises of volumes are
followed, and each new one counts as if nothing of it were written yet: that is never too
generous, because free space is always read afresh. A promise is refused only after a full count.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mooring.domain import ids, pools, volumes
from mooring.planning import admission
from mooring.ports import pools as pool_ports
from mooring.ports.clock import Clock
from mooring.ports.records import Listing, VolumeRecords
from mooring.volumes.local.sharing import Sharing

CUT_SUFFIX = ".cut"
"""Ends the name of an image that exists only while a clone is made; it costs nothing."""
GROWN_SUFFIX = ".grown"
"""Ends the name of an image that takes its volume's place once its filesystem has grown."""
_FRESH = timedelta(seconds=10)
"""How long a full count stands for what volumes have written; until then it is too strict."""


@dataclass(frozen=True)
class _Count:
    """A full count, and what volumes have added to it since, in bytes.

    Attributes:
        counted_at: When it was made.
        budget: What it found.
        added_bytes: What promises grew by in all.
        raised_bytes: What those grew by that grew.
    """

    counted_at: datetime
    budget: admission.Budget
    added_bytes: int = 0
    raised_bytes: int = 0


class Ledger:
    """The records of one pool, which count what they promise; itself a `VolumeRecords`.

    Args:
        pool: The pool.
        clock: The time, by which a count gets old.
    """

    def __init__(self, pool: pool_ports.OpenPool, clock: Clock) -> None:
        self._clock = clock
        self._images = pool.images
        self._records: VolumeRecords = pool.records
        self._overcommit = pool.overcommit
        self._sharing = Sharing(pool)
        self._promising = threading.Lock()
        self._guard = threading.Lock()
        self._count: _Count | None = None
        self._faults: tuple[str, ...] = ()

    @contextmanager
    def promising(self) -> Iterator[None]:
        """Holds off other promises from the check until the intent is recorded."""
        with self._promising:
            yield

    def admit(self, wanted_bytes: int, what: str) -> None:
        """Refuses a promise that the pool could not keep.

        Raises:
            SpaceExhausted: It could not; the message says how much it could.
        """
        with self._guard:
            count = self._count
        if count is not None:
            followed = self._followed(count)
            if wanted_bytes <= followed.available_bytes and not followed.is_low:
                return
        admission.admit(wanted_bytes, self.budget(), what)

    def could_admit(self, wanted_bytes: int) -> bool:
        """Whether a promise could be kept at best, if everything went that is kept for backups."""
        budget = self.budget().without_bases
        return not budget.is_low and wanted_bytes <= budget.available_bytes

    def shortage_bytes(self, wanted_bytes: int) -> int:
        """Returns what has to be freed from the trash before so much may be promised."""
        with self._guard:
            count = self._count
        if count is not None and not self._followed(count).shortage_bytes(wanted_bytes):
            return 0
        return self.budget().shortage_bytes(wanted_bytes)

    def estimate(self) -> admission.Budget:
        """Returns the budget from a count of the last seconds, never more generous than a new one.

        It takes no time with the number of images, so it may be asked for each new volume.
        """
        with self._guard:
            count = self._count
        if count is not None and abs(self._clock.now() - count.counted_at) <= _FRESH:
            followed = self._followed(count)
            if not (followed.is_low and count.raised_bytes):
                return followed
        return self.budget()

    def _followed(self, count: _Count) -> admission.Budget:
        found = count.budget
        return replace(
            found,
            capacity=self._images.capacity(),
            promised_bytes=found.promised_bytes + count.added_bytes,
            outstanding_bytes=found.outstanding_bytes + count.raised_bytes,
            owed_bytes=found.owed_bytes + count.raised_bytes,
            wanting_bytes=found.wanting_bytes + count.raised_bytes,
        )

    def faults(self) -> tuple[str, ...]:
        """Returns one message for each record that could not be read when the pool was opened."""
        with self._guard:
            counted = self._count is not None
        if not counted:
            self.budget()
        return self._faults

    def budget(self) -> admission.Budget:
        """Counts all promises; an image without a readable record costs its size."""
        images = self._images.images()
        listed, kept = self._records.list_volumes(), self._records.list_snapshots()
        shared = self._sharing.at_most(listed.records, kept.records, images)
        budget = self._budget(listed.records, kept.records, images, shared)
        if any(shared.values()) and budget.is_told_by_disk:
            shared = self._sharing.exactly(shared)
            budget = self._budget(listed.records, kept.records, images, shared)
        with self._guard:
            self._count = _Count(self._clock.now(), budget)
            self._faults = (*listed.faults, *kept.faults)
        return budget

    def _budget(
        self,
        listed: Sequence[volumes.VolumeRecord],
        kept: Sequence[volumes.SnapshotRecord],
        images: Mapping[ids.ImageId, pools.ImageUsage],
        shared: Mapping[ids.ImageId, int],
    ) -> admission.Budget:
        promises = [self._volume(record, images, shared) for record in listed]
        promises += [self._snapshot(record, images) for record in kept]
        known: set[str] = {record.spec.volume_id for record in listed}
        known |= {record.snapshot_id for record in kept}
        promises += [
            admission.Promise(usage.size_bytes, usage.used_bytes)
            for image, usage in images.items()
            if image not in known and not image.endswith((CUT_SUFFIX, GROWN_SUFFIX))
        ]
        trashed = (
            images.get(ids.ImageId(one.spec.volume_id))
            for one in listed
            if one.state is volumes.VolumeState.TRASHED
        )
        return admission.budget(
            self._images.capacity(),
            promises,
            trash_bytes=sum(usage.used_bytes for usage in trashed if usage),
        )

    def cost_of(self, spec: volumes.VolumeSpec, size_bytes: int) -> int:
        """Returns what admission counts for a volume of that size."""
        return admission.volume_cost_bytes(
            size_bytes, preallocated=spec.preallocated, overcommit=self._overcommit
        )

    def snapshot_cost(self, spec: volumes.VolumeSpec, held_bytes: int) -> int:
        """Returns what admission counts for a snapshot of a volume that holds so much now."""
        return admission.snapshot_cost_bytes(
            spec.size_bytes,
            held_bytes,
            preallocated=spec.preallocated,
            overcommit=self._overcommit,
        )

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        """Returns the record, or None; see the port."""
        return self._records.volume(volume_id)

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        """Writes or replaces a record, and counts it."""
        present = self._records.volume(record.spec.volume_id)
        self._records.put_volume(record)
        if present is not None and present.state is volumes.VolumeState.TRASHED:
            self._forget()  # its bytes count as free no more
        self._add(self._cost(record) - (self._cost(present) if present else 0))

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        """Removes a record and what it cost; an absent one is no error."""
        present = self._records.volume(volume_id)
        self._records.remove_volume(volume_id)
        if present is not None and present.state is volumes.VolumeState.TRASHED:
            self._forget()
        self._add(-self._cost(present) if present else 0)

    def list_volumes(self) -> Listing[volumes.VolumeRecord]:
        """Returns all records, and what cannot be read."""
        return self._records.list_volumes()

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        """Returns the record, or None; see the port."""
        return self._records.snapshot(snapshot_id)

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        """Writes or replaces a record; the next promise counts anew."""
        self._records.put_snapshot(record)
        self._forget()

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Removes a record; the next promise counts anew."""
        self._records.remove_snapshot(snapshot_id)
        self._forget()

    def list_snapshots(self) -> Listing[volumes.SnapshotRecord]:
        """Returns all records, and what cannot be read."""
        return self._records.list_snapshots()

    def _add(self, cost_bytes: int) -> None:
        with self._guard:
            if self._count is not None:
                self._count = replace(
                    self._count,
                    added_bytes=self._count.added_bytes + cost_bytes,
                    raised_bytes=self._count.raised_bytes + max(0, cost_bytes),
                )

    def _forget(self) -> None:
        with self._guard:
            self._count = None

    def _cost(self, record: volumes.VolumeRecord) -> int:
        if record.state is volumes.VolumeState.TRASHED:
            return 0
        size_bytes = max(record.spec.size_bytes, record.growing_to_bytes or 0)
        return self.cost_of(record.spec, size_bytes)

    def _volume(
        self,
        record: volumes.VolumeRecord,
        images: Mapping[ids.ImageId, pools.ImageUsage],
        shared: Mapping[ids.ImageId, int],
    ) -> admission.Promise:
        image = ids.ImageId(record.spec.volume_id)
        usage = images.get(image)
        kept = record.state is not volumes.VolumeState.TRASHED
        return admission.Promise(
            self._cost(record),
            max(0, usage.used_bytes - shared.get(image, 0)) if usage else 0,
            preallocated=record.spec.preallocated,
            size_bytes=max(record.spec.size_bytes, record.growing_to_bytes or 0) if kept else 0,
        )

    def _snapshot(
        self, record: volumes.SnapshotRecord, images: Mapping[ids.ImageId, pools.ImageUsage]
    ) -> admission.Promise:
        """Counts one; once it is there nothing is written to it, so it needs no more."""
        usage = images.get(ids.ImageId(record.snapshot_id))
        held_bytes = usage.used_bytes if usage else record.size_bytes
        cost_bytes = admission.snapshot_cost_bytes(
            record.size_bytes,
            held_bytes,
            preallocated=record.preallocated,
            overcommit=self._overcommit,
        )
        used_bytes = cost_bytes if usage else 0
        return admission.Promise(
            cost_bytes,
            used_bytes,
            preallocated=record.preallocated,
            base_bytes=held_bytes if record.base else None,
        )
