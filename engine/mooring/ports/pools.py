"""The port of a pool backend: images, and nothing about volumes' life.

What an image means (volume or snapshot, its state, its owner) is in the records; see
`mooring.ports.records`. A backend only makes, copies, grows and removes images, durably: when a
method returns, its effect survives a power cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from mooring.domain import ids, pools
from mooring.ports import extents as extents_port
from mooring.ports import host, records

DEFAULT_TRASH_RETENTION = timedelta(hours=24)


class ImagePool(Protocol):
    """Images of one pool on this node."""

    @property
    def properties(self) -> pools.PoolProperties:
        """What this backend can do; never changes."""

    def allocate(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Makes an image that reads as zeros.

        Repeating it is a no-op when the image exists with that size; an image left half made by
        a kill is made anew.

        Raises:
            SpaceExhausted: No room; nothing is left behind.
            AlreadyExists: An image of that id has another size.
        """

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        """Makes `target` with the bytes of `source`, extended with zeros to `size_bytes`.

        The target appears whole or not at all. Repeating it when `target` exists is a no-op.

        Raises:
            NotFound: There is no source.
            SizeOutOfRange: `size_bytes` is smaller than the source.
            SpaceExhausted: No room; nothing is left behind.
        """

    def grow(self, image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
        """Extends an image with zeros; a no-op when it has that size or more.

        Raises:
            NotFound: There is no such image.
            SpaceExhausted: No room; the image keeps its size.
        """

    def rename(self, image: ids.ImageId, name: ids.ImageId) -> None:
        """Gives an image another name; an image that has that name already is replaced by it.

        After a crash it has the one name or the other.

        Raises:
            NotFound: There is no such image.
        """

    def remove(self, image: ids.ImageId) -> None:
        """Removes an image and what is left of a half-made one; an absent one is no error."""

    def images(self) -> Mapping[ids.ImageId, pools.ImageUsage]:
        """Returns every whole image with its size and use."""

    def path(self, image: ids.ImageId) -> Path:
        """Returns the image's file, for a loop device.

        Raises:
            NotFound: There is no such image.
            Unsupported: This backend has no files.
        """

    def capacity(self) -> pools.PoolCapacity:
        """Returns the space of the backing filesystem.

        Raises:
            HostFailure: The backing filesystem cannot be read.
        """


@dataclass(frozen=True)
class PoolConfiguration:
    """A pool as an administrator configures it on a node.

    Attributes:
        name: The pool's name.
        backend: How it keeps images.
        folder: The pool's folder; for an embedded pool the folder that holds its `pool.img`.
        image_size_bytes: Size of `pool.img` when the pool is an embedded one; None otherwise.
        overcommit: Share of a sparse volume's size that admission counts, above 0 and up to 1.0.
        trash_retention: How long a deleted volume is kept; zero keeps none.
        use: Whether new volumes are put into it.
    """

    name: ids.PoolName
    backend: pools.PoolBackend
    folder: Path
    image_size_bytes: int | None = None
    overcommit: float = 1.0
    trash_retention: timedelta = DEFAULT_TRASH_RETENTION
    use: pools.PoolUse = pools.PoolUse.OPEN


@dataclass(frozen=True)
class OpenPool:
    """A pool that this process has opened; nobody else has.

    Attributes:
        name: The pool's name.
        pool_uuid: Made with the pool; stays with its bytes.
        images: Its images.
        records: What they mean.
        overcommit: See `PoolConfiguration`.
        extents: How the images lie on the disk; None where it cannot tell.
        tracking: What changed between images; None where nothing tells.
        trash_retention: See `PoolConfiguration`.
        read_only: Why nothing in it may be changed; empty when it may.
        use: See `PoolConfiguration`.
        adopted_from: Nodes that had it before.
    """

    name: ids.PoolName
    pool_uuid: str
    images: ImagePool
    records: records.VolumeRecords
    overcommit: float
    extents: extents_port.ImageExtents | None = None
    tracking: extents_port.ImageTracking | None = None
    trash_retention: timedelta = DEFAULT_TRASH_RETENTION
    read_only: str = ""
    use: pools.PoolUse = pools.PoolUse.OPEN
    adopted_from: tuple[ids.NodeName, ...] = ()


@dataclass(frozen=True)
class FailedPool:
    """A configured pool that could not be opened; the others serve on.

    Attributes:
        name: The pool's name.
        backend: How it keeps images.
        message: What is wrong.
        pool_uuid: The pool that is there and that the node claims; empty when none is there.
    """

    name: ids.PoolName
    backend: pools.PoolBackend
    message: str
    pool_uuid: str = ""


class PoolSightings(Protocol):
    """What other nodes say of a pool that one of them had before."""

    def look(self, pool_uuid: str, owner: ids.NodeName) -> pools.Sighting:
        """Asks the fleet who has a pool, and what became of its last owner.

        What cannot be asked counts as silent; it never raises.
        """


class PoolDoor(Protocol):
    """What opens one configured pool, and opens it again once a fault is over."""

    def probe(self) -> None:
        """Tries whether the open pool's filesystem still takes writes; it may hang as a disk does.

        Raises:
            HostFailure: It does not.
            DataCorrupt: Bytes of it are lost.
        """

    def retire(self) -> None:
        """Lets go of an open pool that failed, and that no loop device needs any more."""

    def open(self) -> OpenPool:
        """Opens the pool; a dead mount of an embedded one, which nobody uses, is made anew.

        Raises:
            NotFound: It is on another node now, and this one shall have it no more.
            MooringError: It cannot be opened; it may be tried again.
        """

    def claimed(self) -> str:
        """Returns the UUID of the pool that lies where this one belongs; empty when none does."""

    def give_up(self) -> None:
        """Lets go of an open pool that nobody uses, for good; nothing in it is deleted.

        Only for a pool that the node shall not have any more.

        Raises:
            MooringError: It could not be taken off the node.
        """


@dataclass(frozen=True)
class NodeParts:
    """What one node's storage is put together from.

    Attributes:
        host: Loops, mounts, filesystems and paths.
        open_pools: Its pools.
        failed_pools: Configured pools that could not be opened.
        doors: What opens them again, by name.
    """

    host: host.Host
    open_pools: Sequence[OpenPool]
    failed_pools: Sequence[FailedPool]
    doors: Mapping[ids.PoolName, PoolDoor] = field(default_factory=dict)
