"""What a node's report changes in a catalogue that keeps its entries itself. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mooring.domain import ids, volumes
from mooring.ports import catalogue as catalogue_port

Entries = Mapping[ids.VolumeId, catalogue_port.CatalogueEntry]


def changed_entries(
    entries: Entries,
    node: ids.NodeName,
    statuses: Sequence[volumes.VolumeStatus],
    snapshots: Sequence[volumes.SnapshotRecord],
) -> list[catalogue_port.CatalogueEntry]:
    """Returns the entries that a report makes different from those given, or adds.

    An entry of another node is never touched: the catalogue's word on where a volume lies stands.
    """
    reported = {status.record.spec.volume_id: status for status in statuses}
    grouped: dict[ids.VolumeId, list[volumes.SnapshotRecord]] = {}
    for record in snapshots:
        grouped.setdefault(record.source_volume_id, []).append(record)
    own = {key for key, entry in entries.items() if entry.node == node}
    changed = []
    for volume_id in sorted(own | reported.keys() | grouped.keys()):
        before = entries.get(volume_id)
        if before is not None and before.node != node:
            continue
        after = _entry(before, node, reported.get(volume_id), grouped.get(volume_id, []))
        if after != before:
            changed.append(after)
    return changed


def _entry(
    before: catalogue_port.CatalogueEntry | None,
    node: ids.NodeName,
    status: volumes.VolumeStatus | None,
    snapshots: Sequence[volumes.SnapshotRecord],
) -> catalogue_port.CatalogueEntry:
    if before is None and status is not None:
        before = catalogue_port.CatalogueEntry(status.record.spec, node)
    elif before is None:
        spec = catalogue_port.spec_of_deleted_volume(snapshots[0])
        before = catalogue_port.CatalogueEntry(spec, node, deletion_requested=True)
    present = {record.snapshot_id for record in snapshots}
    return replace(
        before,
        spec=status.record.spec if status else before.spec,
        status=status,
        snapshots=tuple(sorted(snapshots, key=lambda record: record.snapshot_id)),
        snapshot_deletions=tuple(item for item in before.snapshot_deletions if item in present),
    )
