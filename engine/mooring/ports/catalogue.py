"""The port of the catalogue: which volumes exist in the fleet, and on which node.

The catalogue is projected from the nodes' own records, but for two facts that are made here: a
reserved identity (an intent, before the agent is called) and a requested deletion (a tombstone).
It is the Volume objects of a cluster, a directory without one, or memory in tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from mooring.domain import ids, volumes


@dataclass(frozen=True)
class CatalogueEntry:
    """One volume as the fleet knows it.

    Attributes:
        spec: The intent, written before the agent is called.
        node: The node chosen for it; changes only when its pool comes to another node.
        deletion_requested: The tombstone.
        status: What the agent last reported; None until then.
        snapshots: The volume's snapshots as last reported, and reserved ones.
        snapshot_deletions: Tombstones of snapshots whose node did not answer.
        undelete_requested: The wish to have a volume back from the trash.
        lost: Whether its node was removed from the cluster and is surely silent.
        forgotten: The word that its node is gone for good.
    """

    spec: volumes.VolumeSpec
    node: ids.NodeName
    deletion_requested: bool = False
    status: volumes.VolumeStatus | None = None
    snapshots: tuple[volumes.SnapshotRecord, ...] = ()
    snapshot_deletions: tuple[ids.SnapshotId, ...] = ()
    undelete_requested: bool = False
    lost: bool = False
    forgotten: bool = False

    @property
    def trashed(self) -> bool:
        """Whether it was in the trash when its node last reported."""
        return self.status is not None and (self.status.record.state is volumes.VolumeState.TRASHED)

    @property
    def gone(self) -> bool:
        """Whether it is no volume of anybody's any more: deleted, or about to be."""
        return self.deletion_requested or self.trashed


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself at one moment.

    Attributes:
        statuses: Its volumes.
        snapshots: Its snapshots.
        unread_pools: Pools that it has but cannot read whole, with the reason: what is said to lie
            in one of these and is not among the above may be there all the same.
        pool_names: Every pool that it has, also unread ones; None when that is not known.
        adopted_from: Of pools that were on other nodes before: those nodes, by the pool's name.
    """

    statuses: Sequence[volumes.VolumeStatus] = ()
    snapshots: Sequence[volumes.SnapshotRecord] = ()
    unread_pools: Mapping[ids.PoolName, str] = field(default_factory=dict)
    pool_names: frozenset[ids.PoolName] | None = None
    adopted_from: Mapping[ids.PoolName, Sequence[ids.NodeName]] = field(default_factory=dict)

    def adopts(self, volume_id: ids.VolumeId, node: str, pool: str) -> bool:
        """Whether a volume that is said to be on another node came here with its pool."""
        here = volume_id in self.status_by_volume or volume_id in self.snapshots_by_volume
        return here and node in self.adopted_from.get(ids.PoolName(pool), ())

    def unread(self, pool: ids.PoolName) -> str | None:
        """Says why what is said to lie in a pool may be there unseen; None if it is surely not."""
        if self.pool_names is not None and pool not in self.pool_names:
            return pool_missing(pool)
        return self.unread_pools.get(pool)

    @cached_property
    def status_by_volume(self) -> Mapping[ids.VolumeId, volumes.VolumeStatus]:
        """The statuses by volume."""
        return {status.record.spec.volume_id: status for status in self.statuses}

    @cached_property
    def snapshots_by_volume(self) -> Mapping[ids.VolumeId, Sequence[volumes.SnapshotRecord]]:
        """The snapshots by the volume that they were taken of."""
        grouped: dict[ids.VolumeId, list[volumes.SnapshotRecord]] = {}
        for record in self.snapshots:
            grouped.setdefault(record.source_volume_id, []).append(record)
        return grouped

    def merged(self, entry: CatalogueEntry) -> CatalogueEntry:
        """Puts the node's word over what was known of one of its volumes."""
        volume_id, pool = entry.spec.volume_id, entry.spec.pool
        status = self.status_by_volume.get(volume_id)
        snapshots = {one.snapshot_id: one for one in self.snapshots_by_volume.get(volume_id, ())}
        why = self.unread(pool)
        if why is not None:
            status = status or doubtful(entry.status, f"pool {pool}: {why}")
            snapshots = {one.snapshot_id: one for one in entry.snapshots} | snapshots
        return replace(
            entry,
            spec=status.record.spec if status else entry.spec,
            status=status,
            snapshots=tuple(record for _, record in sorted(snapshots.items())),
        )


def pool_missing(pool: ids.PoolName) -> str:
    """Says what it means that a node does not know the pool of one of its volumes, and the cure."""
    return (
        f"its node has no pool {pool} any more. Bring its disk and its entry in mooring-config "
        "back, or mount the disk on another node; if it is lost for good, delete the Volume object"
    )


def not_there(node: str, pool: str) -> str:
    """Says what it means that a node answers without one of its volumes, and the cure."""
    return (
        f"node {node} has its pool {pool}, but this volume is not in it: the disk was replaced or "
        "emptied. Bring the disk back that has it; or restore a Backup to another claim, and "
        "delete this one, which then goes at once"
    )


def doubt(why: str) -> volumes.VolumeCondition:
    """Returns the health of a volume of which nothing new is known."""
    return volumes.VolumeCondition(abnormal=True, message=f"{why}; shown is its last report")


def doubtful(last: volumes.VolumeStatus | None, why: str) -> volumes.VolumeStatus | None:
    """Returns the last known status of a volume that nothing new is known of, marked as such."""
    return None if last is None else replace(last, condition=doubt(why))


def spec_of_deleted_volume(snapshot: volumes.SnapshotRecord) -> volumes.VolumeSpec:
    """Rebuilds what a snapshot alone still says of its volume, for an entry that leads to it."""
    return volumes.VolumeSpec(
        volume_id=snapshot.source_volume_id,
        name="",
        pool=snapshot.pool,
        size_bytes=snapshot.size_bytes,
        mode=snapshot.mode,
        filesystem=snapshot.filesystem,
        preallocated=snapshot.preallocated,
        sector_size_bytes=snapshot.sector_size_bytes,
    )


class Catalogue(Protocol):
    """Volumes of the fleet. Any method raises Unreachable when the catalogue is not there."""

    def reserve(self, spec: volumes.VolumeSpec, node: ids.NodeName) -> CatalogueEntry:
        """Records the intent to create a volume on a node.

        If the id is there already, nothing changes and the existing entry is returned, whatever
        it says: the caller compares.
        """

    def drop(self, volume_id: ids.VolumeId) -> None:
        """Forgets a volume; an absent one is no error."""

    def entry(self, volume_id: ids.VolumeId) -> CatalogueEntry | None:
        """Returns one entry, or None."""

    def entries(self) -> Sequence[CatalogueEntry]:
        """Returns all entries, by volume id."""

    def request_deletion(self, volume_id: ids.VolumeId) -> None:
        """Records a tombstone; repeating it or an absent entry is no error."""

    def request_snapshot_deletion(self, snapshot_id: ids.SnapshotId) -> None:
        """Records a snapshot's tombstone on its volume's entry; an absent entry is no error."""

    def record_size(self, volume_id: ids.VolumeId, size_bytes: int) -> None:
        """Records the size that an expansion reached."""

    def report(self, node: ids.NodeName, report: NodeReport) -> None:
        """Projects a node's records: adds what is missing, updates status and snapshots.

        No entry is removed. One of another node is left as it is, unless it came here with its
        pool: then it is this node's from now on.

        Of the node's entries, `snapshots` becomes what is reported, and a
        snapshot's tombstone goes once the snapshot is reported no more, as does the wish to have
        a volume back once it is reported and in the trash no more, and the word that its node is
        gone for good once it is reported at all. An entry of an unread pool keeps its snapshots
        and tombstones, and shows why nothing new is known of it.
        """


class TrashWishes(Protocol):
    """What people ask of the trash, through the catalogue. Raises Unreachable, as it does."""

    def request_undelete(self, volume_id: ids.VolumeId) -> None:
        """Records the wish to have a volume back from the trash; repeating it is no error.

        It takes back a tombstone that was set on the volume while it was in the trash. An absent
        entry is no error.
        """


class NodeFarewells(Protocol):
    """What people say of nodes that are gone for good. Raises Unreachable, as it does."""

    def forget(self, volume_id: ids.VolumeId) -> None:
        """Records that a volume's node is gone for good, so that its deletion waits for nothing.

        Repeating it or an absent entry is no error. The volume's bytes are not touched.
        """
