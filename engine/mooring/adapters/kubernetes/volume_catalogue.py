"""The catalogue as Volume objects: object name = volume id, spec = intent, status = the agent's.

A status is written only when it says something new, so that a fleet at rest costs the API server
one list a round and no writes.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import kinds
from mooring.api.v1alpha1 import volumes as models
from mooring.domain import errors, ids, quantities, volumes
from mooring.ports import catalogue, cluster

VOLUMES = cluster.Resource(
    keys.API_VERSION, kinds.VOLUME.kind, kinds.VOLUME.plural, kinds.VOLUME.namespaced
)
_LABEL_LIMIT = 63
_USED_STEP_BYTES = 1 << 20
"""Use is shown in whole MiB, so that a busy volume is not written to at every round."""
_EXTENTS_STEP = 1_000
_LOST = "Lost"
"""Written by the operator when the node was removed, and over it by the node's next report."""


class KubernetesCatalogue:
    """`ports.catalogue.Catalogue` over Volume objects."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def reserve(self, spec: volumes.VolumeSpec, node: ids.NodeName) -> catalogue.CatalogueEntry:
        """Records the intent; what is there already stays and is returned."""
        body = _object(spec, node)
        for _ in range(3):
            try:
                return entry_of(self._objects.create(VOLUMES, body))
            except errors.AlreadyExists:
                present = self.entry(spec.volume_id)
                if present is not None:
                    return present
        raise errors.Busy(f"Volume {spec.volume_id} comes and goes; try again")

    def drop(self, volume_id: ids.VolumeId) -> None:
        """Forgets a volume; an absent one is no error."""
        self._objects.delete(VOLUMES, volume_id)

    def entry(self, volume_id: ids.VolumeId) -> catalogue.CatalogueEntry | None:
        """Returns one entry, or None."""
        obj = self._objects.get(VOLUMES, volume_id)
        return None if obj is None else entry_of(obj)

    def entries(self) -> Sequence[catalogue.CatalogueEntry]:
        """Returns all entries, by volume id; an object nobody of ours made is left out."""
        return [entry_of(obj) for obj in self._objects.find(VOLUMES) if _is_ours(obj)]

    def request_deletion(self, volume_id: ids.VolumeId) -> None:
        """Records a tombstone; repeating it or an absent entry is no error."""
        self._patch_spec(volume_id, {"deletionRequested": True})

    def request_undelete(self, volume_id: ids.VolumeId) -> None:
        """Records the wish to have a volume back; an absent entry is no error."""
        self._patch_spec(volume_id, {"deletionRequested": False, "undeleteRequested": True})

    def forget(self, volume_id: ids.VolumeId) -> None:
        """Records that a volume's node is gone for good; an absent entry is no error."""
        self._patch_spec(volume_id, {"forgotten": True})

    def record_size(self, volume_id: ids.VolumeId, size_bytes: int) -> None:
        """Records the size that an expansion reached."""
        self._patch_spec(volume_id, {"sizeBytes": size_bytes})

    def _patch_spec(self, volume_id: ids.VolumeId, change: dict[str, Any]) -> None:
        try:
            self._objects.patch(VOLUMES, volume_id, {"spec": change})
        except errors.NotFound:
            return

    def request_snapshot_deletion(self, snapshot_id: ids.SnapshotId) -> None:
        """Records a snapshot's tombstone on its volume's object; an absent one is no error."""
        volume_id = ids.source_volume_id(snapshot_id)
        for _ in range(5):
            obj = self._objects.get(VOLUMES, volume_id)
            if obj is None:
                return
            marked = obj.get("spec", {}).get("snapshotDeletions", [])
            if snapshot_id in marked:
                return
            try:
                self._set_tombstones(obj, [*marked, snapshot_id])
            except errors.Busy:
                continue
            return
        raise errors.Busy(f"Volume {volume_id} is being changed by others; try again")

    def _set_tombstones(self, obj: cluster.Object, marked: Sequence[str]) -> None:
        metadata = obj["metadata"]
        change = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"snapshotDeletions": list(marked)},
        }
        with contextlib.suppress(errors.NotFound):
            self._objects.patch(VOLUMES, metadata["name"], change)

    def report(self, node: ids.NodeName, report: catalogue.NodeReport) -> None:
        """Projects a node's records: adds what is missing, updates status and snapshots."""
        present = {
            obj["metadata"]["name"]: obj
            for obj in self._objects.find(VOLUMES)
            if obj.get("spec", {}).get("node") == node or self._take_over(obj, node, report)
        }
        left = dict(report.snapshots_by_volume)
        for status in report.statuses:
            spec = status.record.spec
            mine = left.pop(spec.volume_id, ())
            obj = present.pop(spec.volume_id, None) or self._adopt(spec, node)
            if obj is not None:
                self._project(obj, _status(status), mine, report)
        for volume_id, mine in left.items():
            lost = catalogue.spec_of_deleted_volume(mine[0])
            gone = present.pop(volume_id, None) or self._adopt(lost, node, deleted=True)
            if gone is not None:
                self._project(gone, {}, mine, report)
        for obj in present.values():
            self._project(obj, {}, (), report)

    def _project(
        self,
        obj: cluster.Object,
        status: dict[str, Any],
        snapshots: Sequence[volumes.SnapshotRecord],
        report: catalogue.NodeReport,
    ) -> None:
        """Writes what a report says of one volume; an unread pool takes nothing away."""
        shown = [_snapshot(one) for one in snapshots]
        before = obj.get("status", {})
        pool = obj.get("spec", {}).get("pool", "")
        why = report.unread(pool)
        if why is None:
            if shown or before.get("snapshots") or status:
                status = {**status, "snapshots": shown}
            self._write_status(obj, status)
            self._clear_tombstones(obj, snapshots)
            self._take_back_what_is_over(obj, status)
            return
        if not status and before.get("state"):
            message = catalogue.doubt(f"pool {pool}: {why}").message
            status = {"health": "Abnormal", "message": message}
        seen = {one["snapshotId"] for one in shown}
        kept = [one for one in before.get("snapshots", []) if one["snapshotId"] not in seen]
        self._write_status(obj, {**status, "snapshots": [*kept, *shown]})

    def _take_back_what_is_over(self, obj: cluster.Object, status: dict[str, Any]) -> None:
        """Takes back what people asked for or said that a report shows to be over."""
        over = {"undeleteRequested": _is_back(status), "forgotten": bool(status.get("state"))}
        change = {
            name: False for name, is_over in over.items() if is_over and obj["spec"].get(name)
        }
        if change:
            self._patch_spec(ids.VolumeId(obj["metadata"]["name"]), change)

    def _take_over(
        self, obj: cluster.Object, node: ids.NodeName, report: catalogue.NodeReport
    ) -> bool:
        """Makes a volume this node's that came here with its pool; returns whether it is."""
        name, spec = obj["metadata"]["name"], obj.get("spec", {})
        if not report.adopts(name, spec.get("node", ""), spec.get("pool", "")):
            return False
        seen = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        with contextlib.suppress(errors.Busy, errors.NotFound):  # the next report does it
            self._objects.patch(VOLUMES, name, {"metadata": seen, "spec": {"node": node}})
            return True
        return False

    def _adopt(
        self, spec: volumes.VolumeSpec, node: ids.NodeName, *, deleted: bool = False
    ) -> cluster.Object | None:
        """Makes the object of a volume whose object was lost: the node's record decides.

        None when there is one, and it says that the volume is another node's.
        """
        if self.reserve(spec, node).node != node:
            return None
        if deleted:
            self.request_deletion(spec.volume_id)
        return self._objects.get(VOLUMES, spec.volume_id) or _object(spec, node)

    def _clear_tombstones(
        self, obj: cluster.Object, snapshots: Sequence[volumes.SnapshotRecord]
    ) -> None:
        """Takes off the tombstones of snapshots that the node reports no more."""
        marked = obj.get("spec", {}).get("snapshotDeletions", [])
        alive = {one.snapshot_id for one in snapshots}
        left = [snapshot_id for snapshot_id in marked if snapshot_id in alive]
        if left != marked:
            with contextlib.suppress(errors.Busy):  # changed meanwhile; the next report does it
                self._set_tombstones(obj, left)

    def _write_status(self, obj: cluster.Object, wanted: dict[str, Any]) -> None:
        status = obj.get("status", {})
        change = {name: value for name, value in wanted.items() if status.get(name) != value}
        if not change:
            return
        try:
            self._objects.patch(VOLUMES, obj["metadata"]["name"], {"status": change}, status=True)
        except errors.NotFound:
            return


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


def _is_back(status: dict[str, Any]) -> bool:
    return status.get("state") not in (None, volumes.VolumeState.TRASHED.value)


def _is_ours(obj: cluster.Object) -> bool:
    try:
        entry_of(obj)
    except errors.DataCorrupt:
        return False
    return True


def _object(spec: volumes.VolumeSpec, node: ids.NodeName) -> cluster.Object:
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


def _status(status: volumes.VolumeStatus) -> dict[str, Any]:
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
        "health": "Abnormal" if status.condition.abnormal else "Healthy",
        "message": status.condition.message,
        **_trash_status(status),
    }


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


def _snapshot(record: volumes.SnapshotRecord) -> dict[str, Any]:
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
    abnormal = status.health in ("Abnormal", _LOST)
    condition = volumes.VolumeCondition(abnormal, status.message or "")
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
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
