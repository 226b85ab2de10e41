"""Carrying out deletions that were recorded while a node was silent.

An agent does this before it serves, and again with each of its reports. What is still in use, or
lies in a pool that is not open, is left for the next round. An entry whose volume is gone stays
while snapshots of it exist: a snapshot leads to its node through it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mooring.domain import errors, ids
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import pulling


@dataclass(frozen=True)
class Carried:
    """What one round did.

    Attributes:
        volumes: Volumes that are deleted now.
        snapshots: Snapshots that are deleted now.
        refused: What was left, with the reason.
    """

    volumes: tuple[ids.VolumeId, ...]
    snapshots: tuple[ids.SnapshotId, ...]
    refused: tuple[str, ...]


def carry_out(
    catalogue: catalogue_port.Catalogue,
    name: ids.NodeName,
    node: nodes_port.NodeStorageAndSnapshots,
) -> Carried:
    """Carries out every recorded deletion of one node.

    Raises:
        Unreachable: The catalogue or the node does not answer.
    """
    volumes: list[ids.VolumeId] = []
    snapshots: list[ids.SnapshotId] = []
    refused: list[str] = []
    # Read before the catalogue: a volume is in it before a snapshot is taken to copy from.
    taken = node.list_snapshots()
    entries = {entry.spec.volume_id: entry for entry in catalogue.entries()}
    for snapshot in taken:
        if pulling.is_left_over(snapshot, entries):
            with _noted(refused):
                node.delete_snapshot(snapshot.snapshot_id)
                snapshots.append(snapshot.snapshot_id)
    for entry in entries.values():
        if entry.node != name:
            continue
        for snapshot_id in entry.snapshot_deletions:
            with _noted(refused):
                node.delete_snapshot(snapshot_id)
                snapshots.append(snapshot_id)
        if entry.deletion_requested:
            with _noted(refused):
                node.delete_volume(entry.spec.volume_id)
                volumes.append(entry.spec.volume_id)
                settle(catalogue, entry.spec.volume_id, node)
    return Carried(tuple(volumes), tuple(snapshots), tuple(refused))


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
