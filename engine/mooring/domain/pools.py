"""What a storage pool is, and how much it holds."""

import enum
from dataclasses import dataclass

from mooring.domain import ids


class PoolBackend(enum.StrEnum):
    """How a pool keeps its images."""

    REFLINK = "reflink"
    DIRECTORY = "directory"
    MEMORY = "memory"


class PoolUse(enum.StrEnum):
    """What the administrator wants of a pool on one node."""

    OPEN = "Open"  # new volumes are put into it
    EVACUATING = "Evacuating"  # no new ones; what is in it is served as ever
    REMOVED = "Removed"  # the same; taken out of the configuration, it is let go once it is empty
    FORGOTTEN = "Forgotten"  # the same; it is let go with its volumes once no pod uses them here


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
class PoolOwner:
    """Which node a pool serves on, as it is written beside the pool's bytes.

    Attributes:
        pool_uuid: The pool.
        pool_name: The name that its records carry.
        node: The node that opened it last.
        previous: Nodes that had it before and that it was adopted from.
    """

    pool_uuid: str
    pool_name: ids.PoolName
    node: ids.NodeName
    previous: tuple[ids.NodeName, ...] = ()


class OwnerState(enum.StrEnum):
    """What is known of a node that a pool belonged to."""

    WITHOUT_IT = "WithoutIt"  # it answers, and says that the pool is not there
    GONE = "Gone"  # there is no such node any more
    SILENT = "Silent"  # it does not answer, so it may be using the pool


@dataclass(frozen=True)
class Sighting:
    """What the fleet says of one pool.

    Attributes:
        serving_node: Another node that has it; None if none that answers has.
        owner: The state of the node that had it last.
    """

    serving_node: ids.NodeName | None
    owner: OwnerState


@dataclass(frozen=True)
class HeldItem:
    """Something that is still in a pool which is evacuated.

    Attributes:
        kind: Volume, Snapshot or Trash.
        name: Its id.
        what_to_do: How it leaves the pool, in words for people.
    """

    kind: str
    name: str
    what_to_do: str


@dataclass(frozen=True)
class Evacuation:
    """How far a pool that takes no new volumes is emptied.

    Attributes:
        use: Why it takes none.
        held_count: How many things are still in it.
        held: The first of them.
    """

    use: PoolUse
    held_count: int
    held: tuple[HeldItem, ...] = ()


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
        evacuation: Of a pool that takes no new volumes because it is emptied; None of any other.
        adopted_from: Nodes that it was on before, and whose volumes in it are this node's now.
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
    evacuation: Evacuation | None = None
    adopted_from: tuple[ids.NodeName, ...] = ()
