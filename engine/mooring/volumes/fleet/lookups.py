"""What exists in the fleet: the nodes' own word where they answer, the catalogue's where not."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mooring.domain import errors, ids, volumes
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import surveys


class Lookups:
    """Questions about volumes and snapshots of the fleet; changes nothing."""

    def __init__(self, catalogue: catalogue_port.Catalogue, nodes: nodes_port.Nodes) -> None:
        self._catalogue = catalogue
        self._nodes = nodes

    def entry(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry | None:
        """Returns a volume's entry, also one whose deletion is recorded, or None.

        A catalogue that lost the entry is no reason to say that the volume is gone, so the nodes
        are asked then.

        Raises:
            Unreachable: Nobody has it who answers, and it may be on a node that does not.
        """
        found = self._catalogue.entry(volume_id)
        if found is not None:
            return found
        answers = surveys.ask(self._nodes, self._nodes.names(), surveys.node_report)
        for node, report in answers.items():
            entry = _entry_of(volume_id, node, report)
            if entry is not None:
                return entry
        silent = [node for node, report in answers.items() if report is None]
        if silent:
            raise errors.Unreachable(
                f"no node that answers has volume {volume_id}, and {', '.join(silent)} may: wait "
                f"until it is back, or, if it is gone for good: kubectl delete node {silent[0]}"
            )
        return None

    def get_volume(self, volume_id: ids.VolumeId) -> catalogue_port.CatalogueEntry:
        """Returns a live volume with its present status.

        Raises:
            NotFound: There is no such volume, or it is deleted.
        """
        entry = self.entry(volume_id)
        if entry is None or entry.deletion_requested:
            raise errors.NotFound(f"there is no volume {volume_id}")
        answers = surveys.ask(self._nodes, [entry.node], surveys.node_report)
        present = _merged(entry, answers[entry.node])
        if present.gone:
            raise errors.NotFound(f"volume {volume_id} was deleted; it is in the trash")
        return present

    def list_volumes(self) -> Sequence[catalogue_port.CatalogueEntry]:
        """Returns every live volume of the fleet with its present status, by id."""
        known = {entry.spec.volume_id: entry for entry in self._catalogue.entries()}
        names = self._all_nodes(known.values())
        answers = surveys.ask(self._nodes, names, surveys.node_report)
        for node, report in answers.items():
            for status in report.statuses if report else ():
                volume_id = status.record.spec.volume_id
                known.setdefault(volume_id, catalogue_port.CatalogueEntry(status.record.spec, node))
        present = (_merged(entry, answers.get(entry.node)) for _, entry in sorted(known.items()))
        return [entry for entry in present if not entry.gone]

    def get_snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord:
        """Returns a snapshot, from its node alone.

        Raises:
            NotFound: There is no such snapshot.
        """
        entry = self.entry(ids.source_volume_id(snapshot_id))
        if entry is not None:
            answers = surveys.ask(self._nodes, [entry.node], surveys.snapshot_report)
            for record in _merged(entry, answers[entry.node]).snapshots:
                if record.snapshot_id == snapshot_id:
                    return record
        raise errors.NotFound(f"there is no snapshot {snapshot_id}")

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot of the fleet, also of deleted volumes, by id."""
        entries = self._catalogue.entries()
        names = self._all_nodes(entries)
        answers = surveys.ask(self._nodes, names, surveys.snapshot_report)
        deleted = {item for entry in entries for item in entry.snapshot_deletions}
        found = {
            record.snapshot_id: record
            for report in answers.values()
            for record in (report.snapshots if report else ())
        }
        for entry in entries:
            for record in _merged(entry, answers.get(entry.node)).snapshots:
                found.setdefault(record.snapshot_id, record)
        return [record for key, record in sorted(found.items()) if key not in deleted]

    def _all_nodes(
        self, entries: Iterable[catalogue_port.CatalogueEntry]
    ) -> Sequence[ids.NodeName]:
        named = {entry.node for entry in entries}
        return sorted(named | set(self._nodes.names()))


def _entry_of(
    volume_id: ids.VolumeId, node: ids.NodeName, report: catalogue_port.NodeReport | None
) -> catalogue_port.CatalogueEntry | None:
    """Makes an entry of what a node itself says of a volume, or of its snapshots alone."""
    if report is None:
        return None
    snapshots = tuple(report.snapshots_by_volume.get(volume_id, ()))
    status = report.status_by_volume.get(volume_id)
    if status is not None:
        return catalogue_port.CatalogueEntry(
            status.record.spec, node, status=status, snapshots=snapshots
        )
    if not snapshots:
        return None
    spec = catalogue_port.spec_of_deleted_volume(snapshots[0])
    deleted = report.unread(spec.pool) is None  # else it may be there, and nobody could read it
    return catalogue_port.CatalogueEntry(
        spec, node, deletion_requested=deleted, snapshots=snapshots
    )


def _merged(
    entry: catalogue_port.CatalogueEntry, report: catalogue_port.NodeReport | None
) -> catalogue_port.CatalogueEntry:
    """Puts a node's present word over what the catalogue has; deleted snapshots are left out."""
    if report is None:
        why = f"node {entry.node} does not answer"
        entry = replace(entry, status=catalogue_port.doubtful(entry.status, why))
    else:
        entry = report.merged(entry)
    live = (one for one in entry.snapshots if one.snapshot_id not in entry.snapshot_deletions)
    return replace(entry, snapshots=tuple(live))
