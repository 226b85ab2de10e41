"""Whether a pool may promise more bytes. Pure.

A full pool under a sparse volume loses writes that were acknowledged, so space is reserved when
it is promised and not when it is written. A preallocated volume costs its size, and its size
again for each snapshot of it, because every block may be rewritten while the snapshot holds the
old one. A sparse volume costs its size times the pool's `overcommit`; a snapshot of it costs the
bytes that it holds.
"""

import math
from dataclasses import dataclass

from mooring.domain import errors, pools, quantities, volumes

_HEADROOM_SHARE = 0.02
"""Kept free for the backing filesystem's own metadata."""

_MINIMUM_BYTES = {
    None: volumes.MINIMUM_VOLUME_SIZE_BYTES,
    volumes.FilesystemType.EXT4: 4 << 20,
    volumes.FilesystemType.XFS: 300 << 20,
    volumes.FilesystemType.BTRFS: 128 << 20,
}


@dataclass(frozen=True)
class Promise:
    """One volume or snapshot in a pool.

    Attributes:
        cost_bytes: What admission counts for it.
        used_bytes: What its image takes now.
    """

    cost_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class Budget:
    """Space of a pool and what it has promised, in bytes.

    Attributes:
        capacity: Space of the backing filesystem.
        promised_bytes: Sum of all costs.
        outstanding_bytes: The part of the promises that no image takes yet.
        trash_bytes: What deleted volumes take that are still kept; promised to nobody.
    """

    capacity: pools.PoolCapacity
    promised_bytes: int
    outstanding_bytes: int
    trash_bytes: int = 0

    @property
    def available_bytes(self) -> int:
        """What may still be promised: less than free, when others write to the same disk.

        What the trash takes counts as free, because it is freed for a promise that needs it.
        """
        return self._available_bytes(self.trash_bytes)

    def shortage_bytes(self, wanted_bytes: int) -> int:
        """Returns what has to be freed from the trash before so much may be promised."""
        return max(0, wanted_bytes - self._available_bytes(0))

    def _available_bytes(self, freeable_bytes: int) -> int:
        headroom_bytes = math.ceil(self.capacity.total_bytes * _HEADROOM_SHARE)
        by_promises = self.capacity.total_bytes - self.promised_bytes
        by_disk = self.capacity.free_bytes + freeable_bytes - self.outstanding_bytes
        return max(0, min(by_promises, by_disk) - headroom_bytes)


def budget(
    capacity: pools.PoolCapacity, promises: list[Promise], *, trash_bytes: int = 0
) -> Budget:
    """Adds up what a pool has promised."""
    return Budget(
        capacity,
        sum(promise.cost_bytes for promise in promises),
        sum(max(0, promise.cost_bytes - promise.used_bytes) for promise in promises),
        trash_bytes,
    )


def minimum_size_bytes(filesystem: volumes.FilesystemType | None) -> int:
    """Returns the smallest volume that can hold a filesystem; None stands for a raw block one."""
    return _MINIMUM_BYTES[filesystem]


def volume_cost_bytes(size_bytes: int, *, preallocated: bool, overcommit: float) -> int:
    """Returns what a volume of a size costs."""
    return size_bytes if preallocated else math.ceil(size_bytes * overcommit)


def snapshot_cost_bytes(
    size_bytes: int, held_bytes: int, *, preallocated: bool, overcommit: float
) -> int:
    """Returns what a snapshot costs that keeps `held_bytes` from being freed."""
    return size_bytes if preallocated else math.ceil(min(size_bytes, held_bytes) * overcommit)


def check_size(
    size_bytes: int, filesystem: volumes.FilesystemType | None, capacity: pools.PoolCapacity
) -> None:
    """Refuses sizes that no volume of the pool can ever have.

    Raises:
        SizeOutOfRange: Not positive, not whole MiB, too small for the filesystem inside, or
            larger than the pool.
    """
    shown = quantities.show_bytes(size_bytes) if size_bytes > 0 else str(size_bytes)
    if size_bytes <= 0 or size_bytes % volumes.SIZE_ALIGNMENT_BYTES:
        raise errors.SizeOutOfRange(f"a volume's size is a whole number of MiB, not {size_bytes}")
    minimum_bytes = minimum_size_bytes(filesystem)
    if size_bytes < minimum_bytes:
        inside = f"with {filesystem.value} " if filesystem else ""
        raise errors.SizeOutOfRange(
            f"a volume {inside}has at least {quantities.format_bytes(minimum_bytes)}, not {shown}"
        )
    if size_bytes > capacity.total_bytes:
        raise errors.SizeOutOfRange(
            f"{shown} is larger than the whole pool, which has "
            f"{quantities.show_bytes(capacity.total_bytes)}"
        )


def admit(wanted_bytes: int, pool: Budget, what: str) -> None:
    """Refuses a promise that the pool could not keep.

    Raises:
        SpaceExhausted: It could not; the message says how much it could.
    """
    if wanted_bytes > pool.available_bytes:
        raise errors.SpaceExhausted(
            f"{what} needs {quantities.show_bytes(wanted_bytes)}, but the pool can promise only "
            f"{quantities.show_bytes(pool.available_bytes)} more (of "
            f"{quantities.show_bytes(pool.capacity.total_bytes)}, "
            f"{quantities.show_bytes(pool.promised_bytes)} are promised and "
            f"{quantities.show_bytes(pool.capacity.free_bytes)} are free). Delete volumes or "
            "snapshots of it, or use a larger pool"
        )
