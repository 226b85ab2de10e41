"""What a node's report changes in a catalogue that keeps its entries itself. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from mooring.domain import ids, volumes
from mooring.ports import catalogue as catalogue_port

Entries = Mapping[ids.VolumeId, catalogue_port.CatalogueEntry]


def changed_entries(
    entries: Entries, node: ids.NodeName, report: catalogue_port.NodeReport
) -> list[catalogue_port.CatalogueEntry]:
    """Returns the entries that a report makes different from those given, or adds.

    An entry of another node is touched only when it came here with its pool: else the catalogue's
    word on where a volume lies stands.
    """
    own = {key for key, entry in entries.items() if entry.node == node}
    changed = []
    for volume_id in sorted(
        own | report.status_by_volume.keys() | report.snapshots_by_volume.keys()
    ):
        before = entries.get(volume_id)
        if before is not None and before.node != node:
            if not report.adopts(volume_id, before.node, before.spec.pool):
                continue
            before = replace(before, node=node)
        before = before or _adopted(volume_id, node, report)
        if before is None:
            continue
        after = _entry(before, report)
        if after != entries.get(volume_id):
            changed.append(after)
    return changed


def _adopted(
    volume_id: ids.VolumeId, node: ids.NodeName, report: catalogue_port.NodeReport
) -> catalogue_port.CatalogueEntry | None:
    """Makes the entry of a volume that only its node knows: the node's record decides.

    None when there is a snapshot alone, in a pool that is not read whole: its volume may be there.
    """
    status = report.status_by_volume.get(volume_id)
    if status is not None:
        return catalogue_port.CatalogueEntry(status.record.spec, node)
    spec = catalogue_port.spec_of_deleted_volume(report.snapshots_by_volume[volume_id][0])
    if report.unread(spec.pool) is not None:
        return None
    return catalogue_port.CatalogueEntry(spec, node, deletion_requested=True)


def _entry(
    before: catalogue_port.CatalogueEntry, report: catalogue_port.NodeReport
) -> catalogue_port.CatalogueEntry:
    after = report.merged(before)
    if before.undelete_requested and _is_back(before.spec.volume_id, report):
        after = replace(after, undelete_requested=False)
    if before.spec.volume_id in report.status_by_volume:
        after = replace(after, forgotten=False)
    if report.unread(before.spec.pool) is not None:
        return after  # a snapshot that is not reported may be there: its tombstone stays
    present = {record.snapshot_id for record in after.snapshots}
    return replace(
        after,
        snapshot_deletions=tuple(item for item in before.snapshot_deletions if item in present),
    )


def _is_back(volume_id: ids.VolumeId, report: catalogue_port.NodeReport) -> bool:
    status = report.status_by_volume.get(volume_id)
    return status is not None and status.record.state is not volumes.VolumeState.TRASHED
