"""The fleet as the CSI controller and the operator use it: one method for each thing to do."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mooring.domain import errors, extents, ids, pools, transfers, volumes
from mooring.planning import placement, sizes
from mooring.ports import catalogue as catalogue_port
from mooring.ports import locks as locks_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import (
    claim_placements,
    lookups,
    provision,
    pulling,
    requests,
    surveys,
    tombstones,
)


@dataclass(frozen=True)
class FleetCapacity:
    """Room for new volumes within a part of the fleet, in bytes.

    Attributes:
        available_bytes: Sum of what the pools take.
        largest_volume_bytes: The largest single volume.
    """

    available_bytes: int
    largest_volume_bytes: int


class Fleet:
    """Volumes and snapshots of all nodes. Every method is idempotent and may raise Busy."""

    def __init__(
        self,
        catalogue: catalogue_port.Catalogue,
        nodes: nodes_port.Nodes,
        locks: locks_port.KeyedLocks,
        placements: claim_placements.ClaimPlacements | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._nodes = nodes
        self._locks = locks
        self._placements = placements
        self._lookups = lookups.Lookups(catalogue, nodes)
        self._pulls = pulling.Pulling(catalogue, nodes)
        self._provisioning = provision.Provisioning(catalogue, nodes, self._lookups, self._pulls)

    def create_volume(self, request: requests.VolumeRequest) -> catalogue_port.CatalogueEntry:
        """Creates a volume; see `provision.Provisioning.create`."""
        if self._placements is not None:
            request = self._placements.applied(request)
        keys = [ids.volume_id_for(request.name)]
        if request.source is not None and request.source.volume_id is not None:
            keys.append(request.source.volume_id)
        with self._locks.hold(*keys):
            return self._provisioning.create(request)

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a Filling volume Ready, after its content was written and verified.

        Raises:
            NotFound: There is no such volume.
            InUse: It is still exposed to a mover.
        """
        with self._locks.hold(volume_id):
            return self._live(volume_id)[1].finish_filling(volume_id)

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        """Deletes a volume; an absent one is no error.

        When its node does not answer, the deletion is recorded and carried out on its return; of
        a node that people said is gone for good, the volume is forgotten instead.

        Raises:
            InUse: It is still staged, published or exposed.
            PreconditionFailed: Its node has not the pool any more in which it was last seen.
            Unreachable: The catalogue does not answer.
        """
        with self._locks.hold(volume_id):
            entry = self._lookups.entry(volume_id)
            if entry is None:
                return

            def delete(node: nodes_port.NodeStorageAndSnapshots) -> None:
                surveys.require_pool(node, entry)
                node.delete_volume(volume_id)

            done = self._try_on_node(entry.node, delete)
            if not done and entry.forgotten:
                self._catalogue.drop(volume_id)
            elif not done:
                self._keep(entry)
                self._catalogue.request_deletion(volume_id)
            self._release_source(entry)
            if not done:
                return
            if self._has_snapshots(entry):
                self._catalogue.request_deletion(volume_id)
            else:
                self._catalogue.drop(volume_id)

    def _keep(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Has an entry for a tombstone to stand on, also when only the nodes knew of the volume.

        Raises:
            Unreachable: Nothing but a snapshot is known of it, too little for an entry.
        """
        volume_id = entry.spec.volume_id
        if self._catalogue.entry(volume_id) is not None:
            return
        if entry.status is None and not entry.deletion_requested:
            raise errors.Unreachable(
                f"node {entry.node} does not answer any more, and the record of volume {volume_id} "
                "could not be read before: try again when the node is back"
            )
        self._catalogue.reserve(entry.spec, entry.node)
        if entry.deletion_requested:
            self._catalogue.request_deletion(volume_id)

    def _release_source(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Lets go of what the volume was still being copied from, also if its node is away."""
        state = entry.status.record.state if entry.status else None
        if pulling.is_pulled(entry) and state in (None, volumes.VolumeState.CREATING):
            self._pulls.release(entry)

    def expand_volume(self, volume_id: ids.VolumeId, asked: sizes.SizeRange) -> volumes.VolumeSpec:
        """Grows a volume's image to at least what is asked; never shrinks.

        Raises:
            NotFound: There is no such volume.
            SizeOutOfRange: The limit is below the present size.
            SpaceExhausted: Its pool has no room; the volume keeps its size.
        """
        with self._locks.hold(volume_id):
            entry, node = self._live(volume_id)
            size_bytes = sizes.grow(asked, entry.spec.size_bytes)
            # Also called for the present size: a kill may have come before the node's part.
            record = node.expand_volume(volume_id, size_bytes)
            if record.spec.size_bytes != entry.spec.size_bytes:
                self._catalogue.record_size(volume_id, record.spec.size_bytes)
            return record.spec

    def create_snapshot(self, source: ids.VolumeId, name: str) -> volumes.SnapshotRecord:
        """Takes a snapshot of a volume; the same name again returns the one taken first.

        Raises:
            NotFound: There is no such volume.
            AlreadyExists: The name is taken by a snapshot of another volume.
            Unsupported: The pool copies whole images and the volume is published.
            SpaceExhausted: No room.
        """
        if transfers.target_of(name) is not None:
            raise errors.InvalidInput(f"the name {name[:128]!r} is Mooring's own; use another")
        snapshot_id = ids.snapshot_id_for(name, source)
        with self._locks.hold(source, _snapshot_name_key(name)):
            entry = self._lookups.entry(source)
            if entry is None:
                raise errors.NotFound(f"there is no volume {source}")
            for other in self._lookups.list_snapshots():
                if other.name == name and other.source_volume_id != source:
                    raise errors.AlreadyExists(
                        f"a snapshot named {name[:128]!r} exists already, "
                        f"of volume {other.source_volume_id}"
                    )
            if snapshot_id in entry.snapshot_deletions:
                raise errors.Busy(f"snapshot {snapshot_id} is being deleted; use another name")
            return self._nodes.storage(entry.node).create_snapshot(
                snapshot_id, name, freeze_timeout_seconds=pulling.MAXIMUM_FREEZE_SECONDS
            )

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Deletes a snapshot; an absent one is no error. A silent node does it on its return.

        Raises:
            InUse: It is exposed to a mover.
            PreconditionFailed: Its node has not the pool any more in which it was last seen.
            Unreachable: The catalogue does not answer.
        """
        volume_id = ids.source_volume_id(snapshot_id)
        with self._locks.hold(volume_id):
            entry = self._lookups.entry(volume_id)
            if entry is None:
                return

            def delete(node: nodes_port.NodeStorageAndSnapshots) -> None:
                surveys.require_pool(node, entry)
                node.delete_snapshot(snapshot_id)

            done = self._try_on_node(entry.node, delete)
            if not done:
                self._keep(entry)
                self._catalogue.request_snapshot_deletion(snapshot_id)
            elif entry.deletion_requested:
                self._try_on_node(
                    entry.node,
                    lambda node: tombstones.settle(self._catalogue, entry.spec.volume_id, node),
                )

    def get_volume(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry:
        """Returns a live volume with its present status.

        Raises:
            NotFound: There is no such volume.
        """
        return self._lookups.get_volume(volume_id)

    def list_volumes(self) -> Sequence[catalogue_port.CatalogueEntry]:
        """Returns every live volume with its present status, by id."""
        return self._lookups.list_volumes()

    def get_snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord:
        """Returns a snapshot.

        Raises:
            NotFound: There is no such snapshot.
        """
        return self._lookups.get_snapshot(snapshot_id)

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot, also of deleted volumes, by id."""
        return self._lookups.list_snapshots()

    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> AbstractContextManager[extents.ImageRanges]:
        """Finds what of a snapshot holds data, or changed since another one of its volume.

        Raises:
            NotFound: There is no such snapshot.
            InvalidInput: The two are of different volumes.
            Unsupported: The pool cannot tell what changed.
        """
        entry = self._lookups.entry(ids.source_volume_id(snapshot_id))
        if entry is None:
            raise errors.NotFound(f"there is no snapshot {snapshot_id}")
        return self._nodes.storage(entry.node).read_ranges(snapshot_id, base_id)

    def capacity(
        self, topology: placement.Topology, pool: ids.PoolName | None = None
    ) -> FleetCapacity:
        """Returns the room for new volumes on the allowed nodes; a silent node has none."""
        room = [
            max(status.available_bytes, 0)
            for status in self.list_pools(topology)
            if status.healthy and pool in (None, status.name)
        ]
        return FleetCapacity(sum(room), max(room, default=0))

    def list_pools(self, topology: placement.Topology) -> Sequence[pools.PoolStatus]:
        """Returns the pools of the allowed nodes that answer, by node and name."""
        allowed = topology.allowed(self._nodes.names())
        answers = surveys.ask(self._nodes, allowed, lambda node: node.list_pools())
        found = [status for answer in answers.values() for status in answer or ()]
        return sorted(found, key=lambda status: (status.node, status.name))

    def _live(
        self, volume_id: ids.VolumeId
    ) -> tuple[catalogue_port.CatalogueEntry, nodes_port.NodeStorageAndSnapshots]:
        entry = self._lookups.entry(volume_id)
        if entry is None or entry.deletion_requested:
            raise errors.NotFound(f"there is no volume {volume_id}")
        return entry, self._nodes.storage(entry.node)

    def _try_on_node(
        self,
        name: ids.NodeName,
        act: Callable[[nodes_port.NodeStorageAndSnapshots], None],
    ) -> bool:
        """Acts on a node; False when it does not answer or is no node any more."""
        try:
            node = self._nodes.storage(name)
        except errors.NotFound:
            return False
        try:
            act(node)
        except errors.Unreachable:
            return False
        return True

    def _has_snapshots(self, entry: catalogue_port.CatalogueEntry) -> bool:
        answers = surveys.ask(self._nodes, [entry.node], lambda node: node.list_snapshots())
        records = answers[entry.node]
        if records is None:
            return True
        return any(item.source_volume_id == entry.spec.volume_id for item in records)


def _snapshot_name_key(name: str) -> str:
    return f"snapshot name {name[:128]}"
