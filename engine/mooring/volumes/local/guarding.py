"""What stands between the use cases and one pool: it refuses changes, and notices faults.

A pool that failed, or that a newer Mooring wrote, takes no change, whoever asks. A fault of its
disk that some operation meets is noted, so that the pool is looked at at once.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mooring.domain import errors, ids, pools, volumes
from mooring.ports import pools as pool_ports
from mooring.ports.records import Listing, VolumeRecords

_FAULTS = frozenset({errno.EIO, errno.EROFS, errno.EUCLEAN, errno.ENXIO, errno.ENODEV})


class PoolGuard:
    """Whether one pool takes changes.

    Args:
        name: The pool's name.
        read_only: Why nothing in it may be changed; empty when it may.

    Attributes:
        read_only: The same.
        failure: What is wrong with it now; empty when nothing is.
        suspected: Whether an operation met a fault since the pool was last looked at.
    """

    def __init__(self, name: ids.PoolName, read_only: str) -> None:
        self._name = name
        self.read_only = read_only
        self.failure = ""
        self.suspected = False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Holds for one change of the pool.

        Raises:
            HostFailure: The pool failed, or fails now.
            Unsupported: A newer Mooring wrote it.
        """
        if self.failure:
            raise errors.HostFailure(f"pool {self._name} has failed: {self.failure}")
        if self.read_only:
            raise errors.Unsupported(f"pool {self._name} is read-only here: {self.read_only}")
        with self.looking():
            yield

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Holds for one look into the pool.

        Raises:
            HostFailure: The pool's disk fails.
        """
        try:
            yield
        except errors.MooringError as error:
            self.suspected |= isinstance(error.__cause__, OSError) and _is_fault(error.__cause__)
            raise
        except OSError as error:
            self.suspected |= _is_fault(error)
            raise errors.HostFailure(f"pool {self._name}: {error}") from error


def _is_fault(error: OSError) -> bool:
    return error.errno in _FAULTS


class GuardedImages:
    """The images of a pool behind its guard; itself an `ImagePool`."""

    def __init__(self, images: pool_ports.ImagePool, guard: PoolGuard) -> None:
        self._images = images
        self._guard = guard

    @property
    def properties(self) -> pools.PoolProperties:
        """What this backend can do; never changes."""
        return self._images.properties

    def allocate(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Makes an image; see the port."""
        with self._guard.changing():
            self._images.allocate(image, size_bytes, preallocate=preallocate)

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        """Makes `target` with the bytes of `source`; see the port."""
        with self._guard.changing():
            self._images.copy(source, target, size_bytes, preallocate=preallocate)

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image; see the port."""
        with self._guard.changing():
            self._images.grow(image, size_bytes, preallocate=preallocate)

    def rename(self, image: ids.ImageId, name: ids.ImageId) -> None:
        """Gives an image another name; see the port."""
        with self._guard.changing():
            self._images.rename(image, name)

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image; see the port."""
        with self._guard.changing():
            self._images.remove(image)

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every whole image with its size and use."""
        with self._guard.looking():
            return self._images.images()

    def path(self, image: ids.ImageId) -> Path:
        """Returns the image's file; see the port."""
        with self._guard.looking():
            return self._images.path(image)

    def capacity(self) -> pools.PoolCapacity:
        """Returns the space of the backing filesystem."""
        with self._guard.looking():
            return self._images.capacity()


class GuardedRecords:
    """The records of a pool behind its guard; itself a `VolumeRecords`."""

    def __init__(self, records: VolumeRecords, guard: PoolGuard) -> None:
        self._records = records
        self._guard = guard

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        """Returns the record, or None; see the port."""
        return self._records.volume(volume_id)

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        """Writes or replaces a record."""
        with self._guard.changing():
            self._records.put_volume(record)

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        """Removes a record; an absent one is no error."""
        with self._guard.changing():
            self._records.remove_volume(volume_id)

    def list_volumes(self) -> Listing[volumes.VolumeRecord]:
        """Returns all records, and what cannot be read."""
        return self._records.list_volumes()

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        """Returns the record, or None; see the port."""
        return self._records.snapshot(snapshot_id)

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        """Writes or replaces a record."""
        with self._guard.changing():
            self._records.put_snapshot(record)

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Removes a record; an absent one is no error."""
        with self._guard.changing():
            self._records.remove_snapshot(snapshot_id)

    def list_snapshots(self) -> Listing[volumes.SnapshotRecord]:
        """Returns all records, and what cannot be read."""
        return self._records.list_snapshots()
