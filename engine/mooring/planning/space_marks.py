"""The marks that a pool's free space is held against. Pure."""

import math

from mooring.domain import pools

LOW_SHARE = 0.10
"""Below this share of free space, nothing is taken that can be left."""


def above_low_bytes(capacity: pools.PoolCapacity) -> int:
    """Returns how much can be taken before a pool's space is low; 0 when it is."""
    return max(0, capacity.free_bytes - math.ceil(capacity.total_bytes * LOW_SHARE))
