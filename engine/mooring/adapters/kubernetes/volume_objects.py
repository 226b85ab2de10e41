"""Volume objects as the domain's values and back: spec = intent, status = the agent's word."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import volumes as models
from mooring.domain import errors, ids, quantities, volumes
from mooring.ports import catalogue, cluster

_LABEL_LIMIT = 63
_USED_STEP_BYTES = 1 << 20
"""Use is shown in whole MiB, so that a busy volume is not written to at every round."""
_EXTENTS_STEP = 1_000
_LOST = "Lost"
"""Written by the operator when the node was removed, and over it by the node's next report."""


def entry_of(obj: cluster.Object) -> catalogue.CatalogueEntry:
    """Reads a Volume object.

    Raises:
        DataCorrupt: It is not one that Mooring wrote.
    """
    try:
        spec = models.VolumeObjectSpec.model_validate(obj.get("spec") or {})
        status = models.VolumeObjectStatus.model_validate(obj.get("status") or {})
        domain_spec = _spec(ids.parse_volume_id(obj["metadata"]["name"]), spec)
        return catalogue.CatalogueEntry(
            spec=domain_spec,
            node=ids.parse_node_name(spec.node),
            deletion_requested=spec.deletion_requested,
            status=_domain_status(domain_spec, status),
            snapshots=tuple(_domain_snapshot(one) for one in status.snapshots),
            snapshot_deletions=tuple(ids.parse_snapshot_id(x) for x in spec.snapshot_deletions),
            undelete_requested=spec.undelete_requested,
            lost=status.health == _LOST,
            forgotten=spec.forgotten,
        )
    except (ValueError, errors.InvalidInput, errors.NotFound) as error:
        name = obj["metadata"]["name"]
        raise errors.DataCorrupt(
            f"Volume object {name} is not one that Mooring wrote: {error}; delete the object, the "
            "node's record makes it anew and no data is touched"
        ) from error


def object_of(spec: volumes.VolumeSpec, node: ids.NodeName) -> cluster.Object:
    """Returns the object of a new volume: what is intended, and where."""
    source = spec.source
    body = models.VolumeObjectSpec(
        csi_name=spec.name,
        node=node,
        pool=spec.pool,
        size_bytes=spec.size_bytes,
        mode=spec.mode,
        filesystem=spec.filesystem,
        preallocated=spec.preallocated,
        sector_size_bytes=spec.sector_size_bytes,
        source=None
        if source is None
        else models.VolumeSourceSpec(
            volume_id=source.volume_id, snapshot_id=source.snapshot_id, node=source.node
        ),
        filling=spec.filling,
        labels={name: value[:_LABEL_LIMIT] for name, value in spec.labels.items()},
    )
    return {
        "metadata": {
            "name": spec.volume_id,
            "labels": {keys.NAME: keys.NAME_VALUE},
        },
        "spec": body.to_object(),
    }


def _spec(volume_id: ids.VolumeId, spec: models.VolumeObjectSpec) -> volumes.VolumeSpec:
    source = spec.source
    return volumes.VolumeSpec(
        volume_id=volume_id,
        name=spec.csi_name,
        pool=ids.parse_pool_name(spec.pool),
        size_bytes=spec.size_bytes,
        mode=volumes.VolumeMode(spec.mode),
        filesystem=None if spec.filesystem is None else volumes.FilesystemType(spec.filesystem),
        preallocated=spec.preallocated,
        sector_size_bytes=spec.sector_size_bytes,
        source=None
        if source is None
        else volumes.Source(
            volume_id=None if source.volume_id is None else ids.parse_volume_id(source.volume_id),
            snapshot_id=None
            if source.snapshot_id is None
            else ids.parse_snapshot_id(source.snapshot_id),
            node=None if source.node is None else ids.parse_node_name(source.node),
        ),
        filling=spec.filling,
        labels=dict(spec.labels),
    )


def status_of(status: volumes.VolumeStatus) -> dict[str, Any]:
    """Returns what an object's status says of a volume that its node reports."""
    record = status.record
    used_bytes = -(-status.used_bytes // _USED_STEP_BYTES) * _USED_STEP_BYTES
    return {
        "state": record.state.value,
        "formatted": record.formatted,
        "createdAt": _time(record.created_at),
        "sizeBytes": record.spec.size_bytes,
        "size": quantities.format_bytes(record.spec.size_bytes),
        "usedBytes": used_bytes,
        "used": quantities.show_bytes(used_bytes),
        "extents": _rounded(status.extents),
        "published": status.published,
        "health": _health(status.condition),
        "message": status.condition.message,
        **_trash_status(status),
    }


def _health(condition: volumes.VolumeCondition) -> str:
    if condition.writes_wait:
        return models.WRITES_WAIT
    return "Abnormal" if condition.abnormal else "Healthy"


def _rounded(extents: int | None) -> int | None:
    """Rounds what changes all the time, so that it does not change the object each time."""
    if extents is None or extents < _EXTENTS_STEP:
        return extents
    return -(-extents // _EXTENTS_STEP) * _EXTENTS_STEP


def _trash_status(status: volumes.VolumeStatus) -> dict[str, Any]:
    trashing = status.record.trashing
    if trashing is None or status.record.state is not volumes.VolumeState.TRASHED:
        return {"trashedFrom": None, "deletedAt": None, "expiresAt": None}
    shown = {
        "trashedFrom": trashing.volume_id,
        "deletedAt": _time(trashing.deleted_at),
        "expiresAt": _time(trashing.expires_at),
    }
    if not status.condition.abnormal:
        name = status.record.spec.volume_id
        shown["message"] = (
            f"deleted, and freed at {trashing.expires_at:%Y-%m-%d %H:%M} UTC or earlier when space "
            f"is short; to have it back: kubectl mooring undelete {name}"
        )
    return shown


def snapshot_of(record: volumes.SnapshotRecord) -> dict[str, Any]:
    """Returns what the status of its volume's object says of a snapshot."""
    return models.SnapshotEntry(
        snapshot_id=record.snapshot_id,
        name=record.name,
        pool=record.pool,
        size_bytes=record.size_bytes,
        mode=record.mode,
        filesystem=record.filesystem,
        sector_size_bytes=record.sector_size_bytes,
        preallocated=record.preallocated,
        state=record.state,
        created_at=_time(record.created_at),
        base_of=record.base.backup_id if record.base else None,
        base_repository_id=record.base.repository_id if record.base else None,
    ).to_object()


def _domain_status(
    spec: volumes.VolumeSpec, status: models.VolumeObjectStatus
) -> volumes.VolumeStatus | None:
    if status.state is None or status.created_at is None:
        return None
    reached = status.size_bytes or spec.size_bytes
    record = volumes.VolumeRecord(
        spec=dataclasses.replace(spec, size_bytes=reached),
        state=volumes.VolumeState(status.state),
        formatted=bool(status.formatted),
        created_at=datetime.fromisoformat(status.created_at),
        trashing=_trashing(status),
    )
    waits = status.health == models.WRITES_WAIT
    abnormal = waits or status.health in ("Abnormal", _LOST)
    condition = volumes.VolumeCondition(abnormal, status.message or "", waits)
    return volumes.VolumeStatus(
        record, status.used_bytes or 0, bool(status.published), condition, status.extents
    )


def _trashing(status: models.VolumeObjectStatus) -> volumes.Trashing | None:
    if not (status.trashed_from and status.deleted_at and status.expires_at):
        return None
    return volumes.Trashing(
        ids.parse_volume_id(status.trashed_from),
        datetime.fromisoformat(status.deleted_at),
        datetime.fromisoformat(status.expires_at),
    )


def _domain_snapshot(entry: models.SnapshotEntry) -> volumes.SnapshotRecord:
    return volumes.SnapshotRecord(
        snapshot_id=ids.parse_snapshot_id(entry.snapshot_id),
        name=entry.name,
        pool=ids.parse_pool_name(entry.pool),
        size_bytes=entry.size_bytes,
        mode=volumes.VolumeMode(entry.mode),
        filesystem=None if entry.filesystem is None else volumes.FilesystemType(entry.filesystem),
        sector_size_bytes=entry.sector_size_bytes,
        preallocated=entry.preallocated,
        state=volumes.SnapshotState(entry.state),
        created_at=datetime.fromisoformat(entry.created_at),
        base=volumes.BackupBase(entry.base_repository_id, entry.base_of)
        if entry.base_of and entry.base_repository_id
        else None,
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
