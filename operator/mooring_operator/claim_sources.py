"""Looks up what a VolumeClaim is to be copied from, and where that is."""

from mooring.api.v1alpha1 import volume_claims as models
from mooring.domain import errors, ids, quantities
from mooring.planning import claim_sources as plan
from mooring.ports import cluster
from mooring_operator import observing, resources, restores
from mooring_operator.populator import Source as BackupSource


class ClaimSources:
    """Sources of VolumeClaims."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def find(self, source: models.ClaimSource | None, namespace: str) -> plan.Source | None:
        """Returns how a claim's source stands; None for an empty volume."""
        if source is None:
            return None
        if source.snapshot_name:
            return self._snapshot(source.snapshot_name, namespace)
        if source.volume_claim_name:
            return self._claim(source.volume_claim_name, namespace)
        if source.backup_name:
            return self._backup(source.backup_name, namespace)
        return None

    def _snapshot(self, name: str, namespace: str) -> plan.Source:
        label = f"VolumeSnapshot {name}"
        snapshot = self._objects.get(cluster.VOLUME_SNAPSHOTS, name, namespace)
        if snapshot is None:
            return plan.missing(label, "make it, or name another: kubectl get volumesnapshots")
        status = snapshot.get("status", {})
        said = (status.get("error") or {}).get("message", "")
        if not status.get("readyToUse"):
            text = f"{label} is not ready to use{': ' + said if said else ''}"
            return plan.not_ready(label, text)
        bound = status.get("boundVolumeSnapshotContentName", "")
        content = self._objects.get(cluster.VOLUME_SNAPSHOT_CONTENTS, bound)
        try:
            handle = (content or {}).get("status", {}).get("snapshotHandle", "")
            volume_id = ids.source_volume_id(ids.parse_snapshot_id(str(handle)))
        except errors.NotFound:
            return plan.unusable(label, f"{label} is of another driver; name one of Mooring's")
        size_bytes = quantities.parse_bytes(str(status.get("restoreSize", "0")))
        return plan.Source(label, ready=True, node=self._node_of(volume_id), size_bytes=size_bytes)

    def _claim(self, name: str, namespace: str) -> plan.Source:
        label = f"PersistentVolumeClaim {name}"
        claim = self._objects.get(cluster.CLAIMS, name, namespace)
        if claim is None:
            return plan.missing(label, "make it, or name another: kubectl get pvc")
        try:
            volume = observing.bound_volume(self._objects, claim)
        except (errors.PreconditionFailed, errors.NotFound) as error:
            return plan.unusable(label, str(error))
        if volume is None:
            return plan.not_ready(label, f"{label} has no volume yet; start a pod that uses it")
        size_bytes = observing.capacity_bytes(claim)
        return plan.Source(label, ready=True, node=volume.node or None, size_bytes=size_bytes)

    def _backup(self, name: str, namespace: str) -> plan.Source:
        label = f"Backup {name}"
        backup = self._objects.get(resources.BACKUPS, name, namespace)
        if backup is None:
            advice = "name another: kubectl get backups. For a point in time whose Backup object "
            return plan.missing(label, f"{advice}is gone, make a Restore with spec.point")
        found = restores.source_of_backup(backup, name, BackupSource(None))
        if found.point is not None:
            return plan.Source(label, ready=True, size_bytes=found.point.size_bytes)
        if restores.has_failed(backup):
            return plan.unusable(label, f"{found.message}; make a new Backup and name that")
        return plan.not_ready(label, found.message)

    def _node_of(self, volume_id: ids.VolumeId) -> str | None:
        record = self._objects.get(resources.VOLUMES, volume_id) or {}
        node: str | None = record.get("spec", {}).get("node")
        return node
