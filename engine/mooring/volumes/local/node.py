"""The storage of one node, as one object: `ports.nodes.NodeStorageAndSnapshots` and `NodeTrash`.

node = LocalNode(node_name, parts, locks, clock)
node.recover()                      # once, before it serves
node.create_volume(spec)            # ... and the rest of the port
node.publisher.stage(...)           # the node half of the CSI driver
node.exposures.expose(...)          # block devices for movers
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from mooring.domain import extents, ids, pools, volumes
from mooring.planning import fragmentation
from mooring.ports import pools as pool_ports
from mooring.ports.clock import Clock
from mooring.ports.locks import KeyedLocks
from mooring.volumes.local import expand, inventory, provision, reclaim, recover, snapshot
from mooring.volumes.local.changes import SnapshotChanges
from mooring.volumes.local.context import NodeContext, PoolBook
from mooring.volumes.local.defragment import Defragmentation
from mooring.volumes.local.expose import Exposures
from mooring.volumes.local.forgotten import Forgotten
from mooring.volumes.local.outgoing import Outgoing, Transfers
from mooring.volumes.local.pool_set import PoolSet
from mooring.volumes.local.pool_watch import PoolWatch
from mooring.volumes.local.publish import NodePublisher
from mooring.volumes.local.space_watch import SpaceWatch


class LocalNode:
    """Volumes and snapshots of one node.

    Args:
        node: The node's name.
        parts: Its opened pools and its host, as `adapters.registry.open_node_parts` gives them.
        locks: Locks by volume and snapshot id.
        clock: The time that records carry.
        transfers: How snapshots come from and go to other nodes.

    Attributes:
        publisher: Staging and publishing, for the kubelet.
        changes: What changed in snapshots, for movers and other backup tools.
        exposures: Snapshots and new volumes as block devices, for movers.
        outgoing: Snapshots that other nodes read.
        pool_watch: Takes failed pools out of service and brings them back; somebody has to call it.
        space_watch: Lets sparse volumes stand still where space ends; somebody has to call it.
        forgotten: Lets go of what the kubelet forgot; somebody has to call it.
    """

    def __init__(
        self,
        node: ids.NodeName,
        parts: pool_ports.NodeParts,
        locks: KeyedLocks,
        clock: Clock,
        transfers: Transfers = Transfers(),  # noqa: B008 - frozen
    ) -> None:
        books = {pool.name: PoolBook(pool, clock) for pool in parts.open_pools}
        pool_set = PoolSet(books, parts.failed_pools)
        self._context = NodeContext(
            node, pool_set, parts.host, locks, clock, transfers.remote_snapshots
        )
        self.pool_watch = PoolWatch(self._context, parts.doors)
        self.space_watch = SpaceWatch(self._context)
        self.forgotten = Forgotten(self._context)
        self.publisher = NodePublisher(self._context)
        self.exposures = Exposures(self._context)
        self.changes = SnapshotChanges(self._context)
        self.outgoing = Outgoing(self._context, transfers.bytes_per_second)

    def defragmentation(self, policy: fragmentation.Policy) -> Defragmentation:
        """Returns the work on fragmented images, which somebody has to call from time to time."""
        return Defragmentation(self._context, policy)

    @property
    def name(self) -> ids.NodeName:
        """The node's name."""
        return self._context.node

    def recover(self) -> Sequence[str]:
        """Ends what an earlier process was killed in; returns notes for the log.

        Call it once, before anything else.
        """
        return recover.recover(self._context)

    def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        """Creates a volume, empty or from a source; see the port."""
        return provision.create_volume(self._context, spec)

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        """Deletes a volume; an absent one is no error; see the port."""
        reclaim.delete_volume(self._context, volume_id)

    def undelete_volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Brings back a volume from the trash; see the port."""
        return reclaim.undelete_volume(self._context, volume_id)

    def free_expired_trash(self) -> Sequence[ids.VolumeId]:
        """Frees what was kept long enough; see the port."""
        return reclaim.free_expired_trash(self._context)

    def free_trash_for_low_space(self) -> Mapping[ids.PoolName, int]:
        """Frees trash where space is low; call it often. Returns how many went, by pool."""
        return reclaim.free_trash_for_low_space(self._context)

    def expand_volume(self, volume_id: ids.VolumeId, size_bytes: int) -> volumes.VolumeRecord:
        """Grows the image and its loop device; see the port."""
        return expand.expand_volume(self._context, volume_id, size_bytes)

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a Filling volume Ready; see the port."""
        return provision.finish_filling(self._context, volume_id)

    def list_volumes(self) -> Sequence[volumes.VolumeStatus]:
        """Returns every volume of the node with use and health."""
        return inventory.list_volumes(self._context)

    def list_pools(self) -> Sequence[pools.PoolStatus]:
        """Returns every pool of the node, also those that could not be opened."""
        return inventory.list_pools(self._context)

    def create_snapshot(
        self, snapshot_id: ids.SnapshotId, name: str, *, freeze_timeout_seconds: float
    ) -> volumes.SnapshotRecord:
        """Takes a snapshot of the volume that the id names; see the port."""
        return snapshot.create_snapshot(
            self._context, snapshot_id, name, freeze_timeout_seconds=freeze_timeout_seconds
        )

    def offer_snapshot(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        """Lets one other node read a snapshot for a while; see the port."""
        self.outgoing.offer(snapshot_id, node)

    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> AbstractContextManager[extents.ImageRanges]:
        """Finds what of a snapshot holds data, or changed; see the port."""
        return self.changes.read(snapshot_id, base_id)

    def keep_base(self, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        """Keeps a snapshot for the next backup; see the port."""
        snapshot.keep_base(self._context, snapshot_id, base)

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Deletes a snapshot; an absent one is no error; see the port."""
        snapshot.delete_snapshot(self._context, snapshot_id)

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot of the node."""
        return inventory.list_snapshots(self._context)
