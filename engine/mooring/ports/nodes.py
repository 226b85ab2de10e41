"""The port of a node's storage, as the CSI controller and the operator call it.

One implementation works on this node's pools (`mooring.volumes.local`), another carries the
calls to a node agent over gRPC (`mooring.agent.client`). Every method is idempotent, so a caller
that lost the answer calls again. Any method may raise:

    Busy: Another call on the same volume is under way.
    NeverReached: The call was not sent, so the agent did not act.
    Unreachable: Any other lack of an answer; the agent may have acted.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mooring.domain import extents, ids, pools, volumes


class NodeStorage(Protocol):
    """Volumes of one node."""

    def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        """Creates a volume, empty or from a source.

        The same spec again returns the same volume, whatever state a kill left it in. A source on
        another node is copied in the background: each call that comes too early raises Busy, with
        how far it is, and takes up a copy that was broken off.

        Raises:
            AlreadyExists: The id exists with another size, mode, pool or source.
            NotFound: No such pool or source.
            SizeOutOfRange: Not a legal size, smaller than its source, or larger than the pool.
            SpaceExhausted: The pool has no room now.
        """

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        """Deletes a volume; an absent one is no error. Snapshots of it stay usable.

        What may hold data is kept in the trash for a while, under another id.

        Raises:
            InUse: It is still staged, published or exposed on this node.
            HostFailure: It may lie in a pool that could not be opened.
        """

    def expand_volume(self, volume_id: ids.VolumeId, size_bytes: int) -> volumes.VolumeRecord:
        """Grows the image (and its loop device); the filesystem follows at node expansion.

        A size that is not larger than the present one changes nothing.

        Raises:
            NotFound: No such volume.
            SpaceExhausted: The pool has no room; the volume keeps its size.
        """

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a Filling volume Ready, after its content was written and verified.

        Raises:
            NotFound: No such volume.
            InUse: It is still exposed to a mover.
        """

    def list_volumes(self) -> Sequence[volumes.VolumeStatus]:
        """Returns every volume of the node with use and health."""

    def list_pools(self) -> Sequence[pools.PoolStatus]:
        """Returns every pool of the node."""


class NodeTrash(Protocol):
    """Deleted volumes of one node that are still kept."""

    def undelete_volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a volume of the trash Ready again; of one that is Ready, a no-op.

        Raises:
            NotFound: There is no such volume, or it was freed.
            SpaceExhausted: The pool has promised the room to others.
        """

    def free_expired_trash(self) -> Sequence[ids.VolumeId]:
        """Frees what was kept long enough; returns what was freed."""


class NodeSnapshots(Protocol):
    """Snapshots of one node."""

    def create_snapshot(
        self, snapshot_id: ids.SnapshotId, name: str, *, freeze_timeout_seconds: float
    ) -> volumes.SnapshotRecord:
        """Takes a snapshot of the volume that the id names; a mounted filesystem is frozen.

        The same id again returns the snapshot taken first.

        Raises:
            NotFound: No such volume.
            Unsupported: The pool copies whole images and the volume is published.
            SpaceExhausted: No room.
        """

    def offer_snapshot(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        """Lets one other node read a snapshot for a while; repeating it renews the time.

        Raises:
            NotFound: No such snapshot.
        """

    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> AbstractContextManager[extents.ImageRanges]:
        """Finds what of a snapshot holds data, or what changed since another one of its volume.

        Data that became a hole is a change, and all beyond the other one's end; whatever is
        unclear counts as changed. The ranges can be gone through once, within the block.

        Raises:
            NotFound: No such snapshot.
            InvalidInput: The two are of different volumes.
            Unsupported: The pool cannot tell what changed.
        """

    def keep_base(self, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        """Keeps a snapshot, whose content a backup has, so that the next reads only what changed.

        It takes the place of the one kept of the same volume before, which goes only then; where a
        newer one is kept, it goes itself. It is dropped when its room is needed, or its volume is
        deleted. Repeating it is no error.

        Raises:
            NotFound: No such snapshot, or its volume is gone.
            PreconditionFailed: It or its volume is not ready.
            Unsupported: The pool cannot tell what changed.
            InUse: It is exposed to a mover.
        """

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Deletes a snapshot; an absent one is no error.

        Raises:
            InUse: It is exposed to a mover.
            HostFailure: It may lie in a pool that could not be opened.
        """

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot of the node."""


class NodeStorageAndSnapshots(NodeStorage, NodeSnapshots, Protocol):
    """Both halves, which one node always serves together."""


class OwnStorage(NodeStorageAndSnapshots, NodeTrash, Protocol):
    """What an agent has of its own node."""


class Nodes(Protocol):
    """The nodes of the fleet."""

    def names(self) -> Sequence[ids.NodeName]:
        """Returns the names of all nodes that have, or had, an agent."""

    def storage(self, node: ids.NodeName) -> NodeStorageAndSnapshots:
        """Returns a node's storage; calls on it may raise Unreachable.

        Raises:
            NotFound: There is no such node.
        """
