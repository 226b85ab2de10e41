"""The catalogue as Volume objects: object name = volume id, spec = intent, status = the agent's.

A status is written only when it says something new, so that a fleet at rest costs the API server
one list a round and no writes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import structlog

from mooring.adapters.kubernetes import volume_objects
from mooring.api import keys
from mooring.api.v1alpha1 import kinds
from mooring.domain import errors, ids, volumes
from mooring.ports import catalogue, cluster

VOLUMES = cluster.Resource(
    keys.API_VERSION, kinds.VOLUME.kind, kinds.VOLUME.plural, kinds.VOLUME.namespaced
)

_log = structlog.get_logger("volume-catalogue")


class KubernetesCatalogue:
    """`ports.catalogue.Catalogue` over Volume objects."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def reserve(self, spec: volumes.VolumeSpec, node: ids.NodeName) -> catalogue.CatalogueEntry:
        """Records the intent; what is there already stays and is returned."""
        body = volume_objects.object_of(spec, node)
        for _ in range(3):
            try:
                return volume_objects.entry_of(self._objects.create(VOLUMES, body))
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
        return None if obj is None else volume_objects.entry_of(obj)

    def entries(self) -> Sequence[catalogue.CatalogueEntry]:
        """Returns all entries, by volume id; an object nobody of ours made is left out."""
        found = self._objects.find(VOLUMES)
        return [volume_objects.entry_of(obj) for obj in found if _is_ours(obj)]

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
            mine, obj = left.pop(spec.volume_id, ()), present.pop(spec.volume_id, None)
            with _noted(spec.volume_id):
                obj = obj or self._adopt(spec, node)
                if obj is not None:
                    self._project(obj, volume_objects.status_of(status), mine, report)
        for volume_id, mine in left.items():
            with _noted(volume_id):
                gone = present.pop(volume_id, None) or self._adopt_deleted(mine[0], node, report)
                if gone is not None:
                    self._project(gone, {}, mine, report)
        for volume_id, obj in present.items():
            with _noted(volume_id):
                self._project(obj, _without_volume(obj, report), (), report)

    def _project(
        self,
        obj: cluster.Object,
        status: dict[str, Any],
        snapshots: Sequence[volumes.SnapshotRecord],
        report: catalogue.NodeReport,
    ) -> None:
        """Writes what a report says of one volume; an unread pool takes nothing away."""
        shown = [volume_objects.snapshot_of(one) for one in snapshots]
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
        with _noted(name):
            self._objects.patch(VOLUMES, name, {"metadata": seen, "spec": {"node": node}})
            return True
        return False

    def _adopt_deleted(
        self, snapshot: volumes.SnapshotRecord, node: ids.NodeName, report: catalogue.NodeReport
    ) -> cluster.Object | None:
        """Makes the object of a volume of which there is a snapshot alone.

        None when its pool is not read whole: then the volume may be there.
        """
        spec = catalogue.spec_of_deleted_volume(snapshot)
        if report.unread(spec.pool) is not None:
            return None
        obj = self._adopt(spec, node)
        if obj is not None:
            self.request_deletion(spec.volume_id)
        return obj

    def _adopt(self, spec: volumes.VolumeSpec, node: ids.NodeName) -> cluster.Object | None:
        """Makes the object of a volume whose object was lost: the node's record decides.

        None when there is one, and it says that the volume is another node's.
        """
        if self.reserve(spec, node).node != node:
            return None
        return self._objects.get(VOLUMES, spec.volume_id) or volume_objects.object_of(spec, node)

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


@contextlib.contextmanager
def _noted(volume_id: str) -> Iterator[None]:
    """Takes down what is wrong with one volume's object: it must not hold up the others' report.

    The next report tries it again.
    """
    try:
        yield
    except errors.Unreachable:
        raise
    except errors.MooringError as error:
        _log.warning("not reported", volume=volume_id, reason=error.reason, message=str(error))


def _without_volume(obj: cluster.Object, report: catalogue.NodeReport) -> dict[str, Any]:
    """Returns the status of a volume that its node does not have, though it once reported it.

    A pool that is not read whole says nothing of it, and what is deleted goes by other ways.
    """
    spec, state = obj.get("spec", {}), obj.get("status", {}).get("state")
    settled = (volumes.VolumeState.READY.value, volumes.VolumeState.FILLING.value)
    pool = spec.get("pool", "")
    if state not in settled or spec.get("deletionRequested") or report.unread(pool) is not None:
        return {}
    return {"health": "Abnormal", "message": catalogue.not_there(spec["node"], pool)}


def _is_back(status: dict[str, Any]) -> bool:
    return status.get("state") not in (None, volumes.VolumeState.TRASHED.value)


def _is_ours(obj: cluster.Object) -> bool:
    try:
        volume_objects.entry_of(obj)
    except errors.DataCorrupt:
        return False
    return True
