"""The marks that a pool's free space is held against. Pure.

At the low mark nothing new is taken. At the full mark sparse volumes stand still: what they have
written but not yet sent to their images still needs room, and a write that finds none is lost.
"""

import math
from dataclasses import dataclass

from mooring.domain import pools

LOW_SHARE = 0.10
"""Below this share of free space, nothing is taken that can be left."""
FULL_SHARE = 0.03
"""Below this share of free space, sparse volumes are frozen."""
_LEAST_FULL_BYTES = 64 << 20
"""What a quick disk writes between two looks, where no pace was seen yet."""
_REACTION_SECONDS = 0.5
"""How long it may take from a write to the freeze that it brings about."""
_PACE_KEPT = 0.8
"""What is left of a pace that was seen, each second."""
_THAW_FACTOR = 1.5
_BREATH_SHARE = 0.5


def low_bytes(capacity: pools.PoolCapacity) -> int:
    """Returns the free space below which a pool's space is low."""
    return math.ceil(capacity.total_bytes * LOW_SHARE)


def above_low_bytes(capacity: pools.PoolCapacity) -> int:
    """Returns how much can be taken before a pool's space is low; 0 when it is."""
    return max(0, capacity.free_bytes - low_bytes(capacity))


@dataclass(frozen=True)
class Room:
    """What sparse volumes of a pool have, and may want.

    Attributes:
        capacity: Space of the pool's disk, as it is now.
        owed_bytes: What preallocated volumes can still take of it.
        wanting_bytes: What sparse volumes may still write.
        unwritten_bytes: What filesystems hold in memory; no more than this can need room at once.
        pace: How quickly space goes, in bytes a second.
    """

    capacity: pools.PoolCapacity
    owed_bytes: int = 0
    wanting_bytes: int = 0
    unwritten_bytes: int = 0
    pace: float = 0.0

    @property
    def left_bytes(self) -> int:
        """What sparse volumes can take."""
        return self.capacity.free_bytes - self.owed_bytes

    @property
    def full_bytes(self) -> int:
        """What has to be left, or they are frozen."""
        return self._flat_bytes + self.unwritten_bytes

    @property
    def _flat_bytes(self) -> int:
        share_bytes = math.ceil(self.capacity.total_bytes * FULL_SHARE)
        return max(share_bytes, _LEAST_FULL_BYTES, math.ceil(self.pace * _REACTION_SECONDS))

    @property
    def thaw_bytes(self) -> int:
        """What has to be there for them to go on; more, so that they do not stop again at once."""
        return math.ceil(self._flat_bytes * _THAW_FACTOR) + self.unwritten_bytes

    @property
    def is_near(self) -> bool:
        """Whether what was promised has to be counted to know more."""
        return self.capacity.free_bytes < max(low_bytes(self.capacity), 4 * self.full_bytes)

    @property
    def must_freeze(self) -> bool:
        """Whether the next writes could find no room."""
        return self.wanting_bytes > self.left_bytes and self.left_bytes < self.full_bytes

    @property
    def may_thaw(self) -> bool:
        """Whether there is room again, or enough for all that can come."""
        return self.wanting_bytes <= self.left_bytes or self.left_bytes >= self.thaw_bytes

    @property
    def may_breathe(self) -> bool:
        """Whether frozen volumes can be thawed for a moment: each waiting writer ends one write."""
        return self.left_bytes >= self._flat_bytes * _BREATH_SHARE


def followed_pace(pace: float, taken_bytes: int, seconds: float) -> float:
    """Returns the pace after a look: the latest, or what is left of a higher one before."""
    if seconds <= 0:
        return pace
    return max(taken_bytes / seconds, pace * math.pow(_PACE_KEPT, seconds))
