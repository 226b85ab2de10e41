"""Whether a pool may promise more bytes. Pure.

A full pool under a sparse volume loses writes that were acknowledged, so space is reserved when
it is promised and not when it is written. A preallocated volume costs its size, and its size
again for each snapshot of it, because every block may be rewritten while the snapshot holds the
old one. A sparse volume costs its size times the pool's `overcommit`; a snapshot of it costs the
bytes that it holds.

What an image shares with another is on the disk once, so a volume has not been paid for with it:
each of its shared blocks needs a new one when it is rewritten.
"""

import math
from dataclasses import dataclass, replace

from mooring.domain import errors, pools, quantities, volumes
from mooring.planning import space_marks

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
        used_bytes: What its image takes now, without what it shares and may rewrite.
        preallocated: Whether its blocks are reserved.
        size_bytes: How large it may get by being written; 0 of what nobody writes any more.
        base_bytes: Of a base what its image holds; None of anything else.
    """

    cost_bytes: int
    used_bytes: int
    preallocated: bool = False
    size_bytes: int = 0
    base_bytes: int | None = None


@dataclass(frozen=True)
class Budget:
    """Space of a pool and what it has promised, in bytes.

    Attributes:
        capacity: Space of the backing filesystem.
        promised_bytes: Sum of all costs.
        outstanding_bytes: The part of the promises that no image takes yet.
        trash_bytes: What deleted volumes take that are still kept; promised to nobody.
        owed_bytes: The part of `outstanding_bytes` that belongs to preallocated volumes.
        wanting_bytes: What sparse volumes may still write, whatever `overcommit` counts of it.
        base_cost_bytes: The part of `promised_bytes` that is kept for the next backups' sake only.
        base_held_bytes: What the images of those hold, shared with their volumes or not.
    """

    capacity: pools.PoolCapacity
    promised_bytes: int
    outstanding_bytes: int
    trash_bytes: int = 0
    owed_bytes: int = 0
    wanting_bytes: int = 0
    base_cost_bytes: int = 0
    base_held_bytes: int = 0

    @property
    def without_bases(self) -> "Budget":
        """What it would be at best, if everything went that is kept for the next backups.

        What a base shares with its volume is not freed, but need not be written anew any more.
        """
        free_bytes = self.capacity.free_bytes + self.base_held_bytes
        return replace(
            self,
            capacity=replace(self.capacity, free_bytes=free_bytes),
            promised_bytes=self.promised_bytes - self.base_cost_bytes,
            base_cost_bytes=0,
            base_held_bytes=0,
        )

    @property
    def available_bytes(self) -> int:
        """What may still be promised: less than free, when others write to the same disk.

        What the trash takes counts as free, because it is freed for a promise that needs it.
        """
        return 0 if self.is_low else max(0, self._available_bytes(self.trash_bytes))

    @property
    def is_low(self) -> bool:
        """Whether nothing new is taken, not even for the trash."""
        return self._below_mark_bytes(self.trash_bytes) > 0

    @property
    def is_told_by_disk(self) -> bool:
        """Whether what images share decides anything here."""
        by_disk = self._available_bytes(self.trash_bytes)
        return by_disk < self._by_promises or self.shortage_bytes(0) > 0

    def shortage_bytes(self, wanted_bytes: int) -> int:
        """Returns what has to be freed from the trash before so much may be promised.

        Of nothing, it is what has to be freed because space is low.
        """
        short_bytes = wanted_bytes - self._available_bytes(0) if wanted_bytes else 0
        return max(0, short_bytes, self._below_mark_bytes(0))

    def _below_mark_bytes(self, freeable_bytes: int) -> int:
        if self.promised_bytes and not self.wanting_bytes:
            return 0  # everything that is promised has its blocks, or has them owed
        free_bytes = self.capacity.free_bytes + freeable_bytes - self.owed_bytes
        return space_marks.low_bytes(self.capacity) - free_bytes

    @property
    def _by_promises(self) -> int:
        return self.capacity.total_bytes - self.promised_bytes - self._headroom_bytes

    @property
    def _headroom_bytes(self) -> int:
        return math.ceil(self.capacity.total_bytes * _HEADROOM_SHARE)

    def _available_bytes(self, freeable_bytes: int) -> int:
        free_bytes = self.capacity.free_bytes + freeable_bytes
        by_disk = free_bytes - self.outstanding_bytes - self._headroom_bytes
        # With overcommit, sparse volumes want more than was counted: they keep the mark at least.
        kept_bytes = min(space_marks.low_bytes(self.capacity), self.wanting_bytes)
        by_mark = free_bytes - self.owed_bytes - kept_bytes
        return min(self._by_promises, by_disk, by_mark)


def budget(
    capacity: pools.PoolCapacity, promises: list[Promise], *, trash_bytes: int = 0
) -> Budget:
    """Adds up what a pool has promised."""
    return Budget(
        capacity,
        sum(promise.cost_bytes for promise in promises),
        sum(_left_bytes(one, one.cost_bytes) for one in promises),
        trash_bytes,
        owed_bytes=sum(_left_bytes(one, one.cost_bytes) for one in promises if one.preallocated),
        wanting_bytes=sum(
            _left_bytes(one, one.size_bytes) for one in promises if not one.preallocated
        ),
        base_cost_bytes=sum(one.cost_bytes for one in promises if one.base_bytes is not None),
        base_held_bytes=sum(one.base_bytes or 0 for one in promises),
    )


def _left_bytes(promise: Promise, whole_bytes: int) -> int:
    return max(0, whole_bytes - promise.used_bytes)


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
    if pool.is_low:
        raise errors.SpaceExhausted(f"{what} is refused: {low_message(pool)}")
    if wanted_bytes > pool.available_bytes:
        raise errors.SpaceExhausted(
            f"{what} needs {quantities.show_bytes(wanted_bytes)}, but the pool can promise only "
            f"{quantities.show_bytes(pool.available_bytes)} more (of "
            f"{quantities.show_bytes(pool.capacity.total_bytes)}, "
            f"{quantities.show_bytes(pool.promised_bytes)} are promised and "
            f"{quantities.show_bytes(pool.capacity.free_bytes)} are free). Delete volumes or "
            "snapshots of it, or use a larger pool"
        )


def low_message(pool: Budget) -> str:
    """Says why a pool takes nothing new, and what to do; for one whose space is low."""
    show = quantities.show_bytes
    owed = f", {show(pool.owed_bytes)} of it owed to preallocated volumes" * bool(pool.owed_bytes)
    return (
        f"{show(pool.capacity.free_bytes + pool.trash_bytes)} of {show(pool.capacity.total_bytes)} "
        f"are free{owed}, and below {space_marks.LOW_SHARE:.0%} of a pool the rest is kept for the "
        f"sparse volumes that are there (they may still write {show(pool.wanting_bytes)}). Delete "
        "volumes or snapshots of the pool, or make room on its disk"
    )
