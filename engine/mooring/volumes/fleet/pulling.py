"""Volumes whose source lies on another node: the target's agent copies from the source's.

A snapshot is read as it is; of a volume, the source's node first takes a snapshot for this copy
alone, with a freeze as for any other. It goes when the copy is whole or not wanted any more; the
source's own agent looks for ones that are left over (`tombstones.carry_out`).
"""

import contextlib

from mooring.domain import errors, ids, transfers, volumes
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port

MAXIMUM_FREEZE_SECONDS = 10.0
_SETTLED = (
    volumes.VolumeState.READY,
    volumes.VolumeState.DELETING,
    volumes.VolumeState.TRASHED,
)


def is_pulled(entry: catalogue_port.CatalogueEntry) -> bool:
    """Whether a volume's content comes from another node."""
    source = entry.spec.source
    return source is not None and source.node not in (None, entry.node)


def is_left_over(
    snapshot: volumes.SnapshotRecord, entries: dict[ids.VolumeId, catalogue_port.CatalogueEntry]
) -> bool:
    """Whether a snapshot was taken for a copy that is whole, or that nobody wants any more.

    Args:
        snapshot: One that existed before the entries were read.
        entries: The whole catalogue.
    """
    target = transfers.target_of(snapshot.name)
    if target is None:
        return False
    entry = entries.get(target)
    if entry is None or entry.deletion_requested:
        return True
    return entry.status is not None and entry.status.record.state in _SETTLED


class SourceAway(errors.Unreachable):
    """The source's node does not answer; the target was not asked for anything."""


class Pulling:
    """Copies between nodes; the caller holds the new volume's lock and its source's."""

    def __init__(self, catalogue: catalogue_port.Catalogue, nodes: nodes_port.Nodes) -> None:
        self._catalogue = catalogue
        self._nodes = nodes

    def create(self, entry: catalogue_port.CatalogueEntry) -> volumes.VolumeRecord:
        """Lets the target copy, or go on with it; returns the whole volume.

        Raises:
            Busy: It is under way; the message says how far.
            SourceAway: The source's node does not answer; what has come is kept.
            Unreachable: The target does not answer.
            NotFound: The source is gone.
        """
        target = self._nodes.storage(entry.node)
        for status in target.list_volumes():
            record = status.record
            if record.spec.volume_id == entry.spec.volume_id and record.state in _SETTLED:
                self.release(entry)
                return target.create_volume(entry.spec)  # its word on what is asked for
        self._offer(entry)
        record = target.create_volume(entry.spec)
        self.release(entry)
        return record

    def give_up(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Takes back what a copy has made on both nodes, after an error that no retry mends.

        Raises:
            Unreachable: The target does not answer.
        """
        self._nodes.storage(entry.node).delete_volume(entry.spec.volume_id)
        self.release(entry)

    def release(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Deletes the snapshot that was taken for a copy; what cannot be now is done later."""
        source = entry.spec.source
        if source is None or source.node is None or source.volume_id is None:
            return
        snapshot_id = transfers.snapshot_of(source, entry.spec.volume_id)
        if snapshot_id is None:
            return
        with contextlib.suppress(errors.MooringError):
            self._nodes.storage(source.node).delete_snapshot(snapshot_id)

    def _offer(self, entry: catalogue_port.CatalogueEntry) -> None:
        """Makes the source readable for the target.

        Raises:
            SourceAway: The source's node does not answer.
            NotFound: The source is gone.
        """
        volume_id, source = entry.spec.volume_id, entry.spec.source
        snapshot_id = transfers.snapshot_of(source, volume_id) if source else None
        if source is None or source.node is None or snapshot_id is None:
            raise errors.InvalidInput(f"volume {volume_id} has no source on another node")
        try:
            storage = self._nodes.storage(source.node)
        except errors.NotFound as error:
            raise _away(entry, source.node, error) from error
        try:
            if source.volume_id is not None:
                name = transfers.snapshot_name(volume_id)
                storage.create_snapshot(
                    snapshot_id, name, freeze_timeout_seconds=MAXIMUM_FREEZE_SECONDS
                )
            storage.offer_snapshot(snapshot_id, entry.node)
        except errors.Unreachable as error:
            raise _away(entry, source.node, error) from error


def _away(
    entry: catalogue_port.CatalogueEntry, node: ids.NodeName, error: errors.MooringError
) -> SourceAway:
    return SourceAway(
        f"the source lies on node {node}, which does not answer, so it cannot be copied to "
        f"{entry.node}: bring {node} back, or restore a backup of it instead ({error})"
    )
