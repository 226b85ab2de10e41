"""What a storage pool is, and how much it holds."""

import enum
from dataclasses import dataclass

from mooring.domain import ids


class PoolBackend(enum.StrEnum):
    """How a pool keeps its images."""

    REFLINK = "reflink"
    DIRECTORY = "directory"
    MEMORY = "memory"


@dataclass(frozen=True)
class PoolProperties:
    """What a backend can do; the contract suite and the planners ask this, not the name.

    Attributes:
        backend: Which one.
        copies_on_write: Clones and snapshots share blocks and take no time with size.
        snapshots_while_published: A snapshot of a volume in use is a point in time. Where it is
            False, snapshots and clones of published volumes are refused.
        attachable: Images are files that a loop device can carry (False for memory).
        direct_io: The filesystem below takes direct I/O, so a loop device without it is a fault.
    """

    backend: PoolBackend
    copies_on_write: bool
    snapshots_while_published: bool
    attachable: bool
    direct_io: bool = False


@dataclass(frozen=True)
class ImageUsage:
    """Size of an image and what it takes, in bytes."""

    size_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class PoolCapacity:
    """Space in a pool, in bytes; `free_bytes` is what the backing filesystem can still give."""

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class PoolStatus:
    """A pool as its node reports it.

    Attributes:
        name: The pool's name, the same on each node that has it.
        pool_uuid: Made with the pool; stays with its bytes.
        node: The node that serves it.
        backend: How it keeps images.
        capacity: Space of the backing filesystem.
        provisioned_bytes: Sum of what admission has promised (volumes and snapshots).
        available_bytes: Largest volume that admission would take now.
        healthy: False when it takes no new volumes for a fault.
        message: Why, when it is not healthy, or when it takes none because its space is low.
        waiting_volumes: How many volumes are frozen, because a write could find no room.
    """

    name: ids.PoolName
    pool_uuid: str
    node: ids.NodeName
    backend: PoolBackend
    capacity: PoolCapacity
    provisioned_bytes: int
    available_bytes: int
    healthy: bool
    message: str
    waiting_volumes: int = 0
