"""Carrying out what is asked for in the catalogue: deletions, and volumes wanted back.

An agent does this before it serves, and again with each of its reports. What is still in use, or
lies in a pool that is not open, is left for the next round. An entry whose volume is gone stays
while snapshots of it exist: a snapshot leads to its node through it. The entry of a volume in the
trash goes when its bytes are gone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mooring.domain import errors, ids
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import pulling, surveys


@dataclass(frozen=True)
class Carried:
    """What one round did.

    Attributes:
        volumes: Volumes that are deleted now.
        snapshots: Snapshots that are deleted now.
        refused: What was left, with the reason.
        kept_from: Why volumes that are wanted back are not back yet.
        trashed: Entries of what was in the trash before it.
    """

    volumes: tuple[ids.VolumeId, ...]
    snapshots: tuple[ids.SnapshotId, ...]
    refused: tuple[str, ...]
    kept_from: Mapping[ids.VolumeId, str] = field(default_factory=dict)
    trashed: tuple[catalogue_port.CatalogueEntry, ...] = ()


def carry_out(
    catalogue: catalogue_port.Catalogue,
    name: ids.NodeName,
    node: nodes_port.OwnStorage,
) -> Carried:
    """Carries out every recorded deletion and undeletion of one node.

    Raises:
        Unreachable: The catalogue or the node does not answer.
    """
    volumes: list[ids.VolumeId] = []
    snapshots: list[ids.SnapshotId] = []
    refused: list[str] = []
    # Read before the catalogue: a volume is in it before a snapshot is taken to copy from.
    taken = node.list_snapshots()
    known = {entry.spec.volume_id: entry for entry in catalogue.entries()}
    for snapshot in taken:
        if pulling.is_left_over(snapshot, known):
            with _noted(refused):
                node.delete_snapshot(snapshot.snapshot_id)
                snapshots.append(snapshot.snapshot_id)
    kept_from: dict[ids.VolumeId, str] = {}
    entries = [entry for entry in known.values() if entry.node == name]
    for entry in entries:
        for snapshot_id in entry.snapshot_deletions:
            with _noted(refused):
                surveys.require_pool(node, entry)
                node.delete_snapshot(snapshot_id)
                snapshots.append(snapshot_id)
        if entry.deletion_requested:
            with _noted(refused):
                surveys.require_pool(node, entry)
                node.delete_volume(entry.spec.volume_id)
                volumes.append(entry.spec.volume_id)
                settle(catalogue, entry.spec.volume_id, node)
        elif entry.undelete_requested:
            try:
                node.undelete_volume(entry.spec.volume_id)
            except errors.MooringError as error:
                kept_from[entry.spec.volume_id] = str(error)
    trashed = tuple(entry for entry in entries if entry.trashed)
    return Carried(tuple(volumes), tuple(snapshots), tuple(refused), kept_from, trashed)


def forget_freed(
    catalogue: catalogue_port.Catalogue,
    trashed: Sequence[catalogue_port.CatalogueEntry],
    report: catalogue_port.NodeReport,
) -> None:
    """Forgets the entries of what was in the trash and surely is on the node no more.

    Raises:
        Unreachable: The catalogue does not answer.
    """
    for entry in trashed:
        known = entry.spec.volume_id in report.status_by_volume
        if not known and report.unread(entry.spec.pool) is None:
            catalogue.drop(entry.spec.volume_id)


@contextmanager
def _noted(refused: list[str]) -> Iterator[None]:
    """Takes down why a deletion is left for the next round: one must not hold up the others."""
    try:
        yield
    except errors.Unreachable:
        raise
    except errors.MooringError as error:
        refused.append(str(error))


def settle(
    catalogue: catalogue_port.Catalogue,
    volume_id: ids.VolumeId,
    node: nodes_port.NodeStorageAndSnapshots,
) -> None:
    """Forgets a deleted volume's entry once its last snapshot is gone."""
    if any(item.source_volume_id == volume_id for item in node.list_snapshots()):
        return
    if any(item.record.spec.volume_id == volume_id for item in node.list_volumes()):
        return
    catalogue.drop(volume_id)
