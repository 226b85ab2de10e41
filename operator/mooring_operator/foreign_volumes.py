"""Volumes of other CSI drivers: their own snapshots, and claims through which movers read those.

Every act is idempotent and named after its Backup, so a retry meets what an earlier try made. The
only things that are changed are such children, what the driver made of them, and nothing else.
"""

from typing import Any

from mooring.api.v1alpha1 import backups as models
from mooring.domain import backups as backup_nouns
from mooring.domain import quantities
from mooring.planning import foreign_volumes as plan
from mooring.planning.backup_run_plan import Need
from mooring.ports import cluster
from mooring_operator import observing
from mooring_operator.builders import foreign_volumes as builders
from mooring_operator.builders import owners
from mooring_operator.snapshot_classes import SnapshotClasses

_WAITS_FOR_POD = "WaitForFirstConsumer"


class ForeignVolumes:
    """Volumes of other CSI drivers, as Backups read them."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def find(
        self, claim: cluster.Object, volume: cluster.Object
    ) -> tuple[observing.ForeignVolume | None, Need]:
        """Returns the volume behind a claim, if another one can be made of its snapshot."""
        found = observing.foreign_volume(claim, volume)
        name = claim["metadata"]["name"]
        if found is None:
            text = f"claim {name} is on a volume without a CSI driver that could take a snapshot"
            return None, _hopeless("NoCsiDriver", f"{text}; move its data to a Mooring volume")
        wanted, storage_class = found.storage_class, None
        if wanted:
            storage_class = self._objects.get(cluster.STORAGE_CLASSES, wanted)
        if storage_class is None or storage_class.get("provisioner") != found.driver:
            text = f"claim {name} names no StorageClass of its driver {found.driver}, by which "
            text += "a volume could be made of its snapshot"
            return None, _hopeless("NoStorageClass", f"{text}; make one of the name that it has")
        return found, Need(True)

    def choose_class(
        self, volume: observing.ForeignVolume, spec: models.BackupOptions, owner: owners.Owner
    ) -> tuple[str, Need]:
        """Returns the class for the snapshot; any is good once there is a snapshot."""
        if self._snapshot(owner) is not None:
            return "", Need(True)
        wanted = spec.volume_snapshot_class_name
        return SnapshotClasses(self._objects).choose(volume.driver, wanted)

    def waits_for(
        self, owner: owners.Owner, status: dict[str, Any], volume: observing.ForeignVolume | None
    ) -> Need:
        """Says what the driver is still at: the snapshot, or the device that is made of it."""
        if "snapshotTime" in status:
            device = self._device(owner)
            return plan.judge_device(str(status["driver"]), device, owner.namespace)
        if volume is None:
            return Need(True)
        return self._judge(volume, self._snapshot(owner), owner)[0]

    def intent(self, owner: owners.Owner, volume: observing.ForeignVolume) -> dict[str, Any]:
        """Returns what goes on record before anything is made."""
        return {
            "driver": volume.driver,
            "volumeId": volume.uid,
            "volumeSnapshotName": builders.snapshot_name(owner),
        }

    def take(
        self, owner: owners.Owner, volume: observing.ForeignVolume, snapshot_class: str
    ) -> dict[str, Any]:
        """Takes the snapshot; returns the status fields that tell of it, none before it is ready.

        Raises:
            MooringError: The API server refused one of the changes.
        """
        snapshot = self._snapshot(owner)
        if snapshot is None:
            body = builders.snapshot(owner, volume.claim, snapshot_class)
            self._objects.create(cluster.VOLUME_SNAPSHOTS, body)
            return {}
        need, content = self._judge(volume, snapshot, owner)
        if not need.ready or content is None:
            return {}
        self._change_content(content, builders.content_change(content, volume.mode))
        status = snapshot["status"]
        size_bytes = quantities.parse_bytes(str(status.get("restoreSize", "0")))
        size_bytes = max(size_bytes, volume.size_bytes)
        made = status.get("creationTime") or snapshot["metadata"]["creationTimestamp"]
        return {
            "snapshotTime": str(made),
            "sizeBytes": size_bytes,
            "size": quantities.format_bytes(size_bytes),
            "volumeMode": volume.mode,
            "consistency": backup_nouns.Consistency.CRASH.value,
        }

    def expose(self, owner: owners.Owner, status: dict[str, Any]) -> str:
        """Makes the claim that a mover reads; returns its name once a mover may be started."""
        class_name = str(status["storageClassName"])
        body = builders.reading_claim(owner, class_name, int(status["sizeBytes"]))
        name = builders.snapshot_name(owner)
        claim = self._objects.get(cluster.CLAIMS, name, owner.namespace)
        if claim is None:
            self._objects.create(cluster.CLAIMS, body)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return ""
        device = self._device(owner)
        need = plan.judge_device(str(status["driver"]), device, owner.namespace)
        if need.ready:
            return name
        # Some drivers make a volume only where a pod waits for it: the mover is that pod.
        found = self._objects.get(cluster.STORAGE_CLASSES, class_name) or {}
        starts = not need.hopeless and found.get("volumeBindingMode") == _WAITS_FOR_POD
        return name if starts else ""

    def release(self, owner: owners.Owner, status: dict[str, Any]) -> str:
        """Puts away the claim, then the snapshot; returns what still goes, and "" once all is gone.

        The driver's own objects behind them go too, whatever its classes say. What only has the
        name of a child is left alone.
        """
        name, namespace = builders.snapshot_name(owner), owner.namespace
        claim = self._objects.get(cluster.CLAIMS, name, namespace)
        if claim is not None and builders.is_ours(claim, owner):
            self._delete_with_volume(claim, str(status["driver"]))
            return f"claim {name} goes"
        snapshot = self._snapshot(owner)
        if snapshot is not None and builders.is_ours(snapshot, owner):
            self._delete_with_content(snapshot)
            return f"VolumeSnapshot {name} goes: driver {status['driver']} deletes it"
        return ""

    def _delete_with_volume(self, claim: cluster.Object, driver: str) -> None:
        metadata = claim["metadata"]
        volume_name = claim.get("spec", {}).get("volumeName") or ""
        volume = self._objects.get(cluster.PERSISTENT_VOLUMES, volume_name) if volume_name else None
        if volume is not None and observing.was_made_for(volume, claim, driver):
            policy = "persistentVolumeReclaimPolicy"
            if volume["spec"].get(policy) != "Delete":
                change = {"spec": {policy: "Delete"}}
                self._objects.patch(cluster.PERSISTENT_VOLUMES, volume_name, change)
        if "deletionTimestamp" not in metadata:
            name, namespace = metadata["name"], metadata["namespace"]
            self._objects.delete(cluster.CLAIMS, name, namespace, uid=metadata["uid"])

    def _delete_with_content(self, snapshot: cluster.Object) -> None:
        metadata = snapshot["metadata"]
        content = self._content(snapshot)
        if content is not None and _is_of(content, snapshot):
            self._change_content(content, builders.going_with_snapshot(content))
        if "deletionTimestamp" not in metadata:
            name, namespace = metadata["name"], metadata["namespace"]
            self._objects.delete(cluster.VOLUME_SNAPSHOTS, name, namespace, uid=metadata["uid"])

    def _change_content(self, content: cluster.Object, change: cluster.Object) -> None:
        if change:
            name = content["metadata"]["name"]
            self._objects.patch(cluster.VOLUME_SNAPSHOT_CONTENTS, name, change)

    def _snapshot(self, owner: owners.Owner) -> cluster.Object | None:
        name = builders.snapshot_name(owner)
        return self._objects.get(cluster.VOLUME_SNAPSHOTS, name, owner.namespace)

    def _content(self, snapshot: cluster.Object) -> cluster.Object | None:
        """Returns a snapshot's content, also when its status does not name it yet."""
        bound = snapshot.get("status", {}).get("boundVolumeSnapshotContentName")
        name = bound or f"snapcontent-{snapshot['metadata']['uid']}"
        return self._objects.get(cluster.VOLUME_SNAPSHOT_CONTENTS, name)

    def _judge(
        self,
        volume: observing.ForeignVolume,
        snapshot: cluster.Object | None,
        owner: owners.Owner,
    ) -> tuple[Need, cluster.Object | None]:
        wanted = plan.Volume(volume.claim, volume.driver, volume.handle)
        if snapshot is None:
            return plan.judge_snapshot(wanted, None, owner.namespace), None
        content, status = self._content(snapshot), snapshot.get("status", {})
        seen = plan.Snapshot(
            name=snapshot["metadata"]["name"],
            ours=builders.is_ours(snapshot, owner),
            claim=snapshot["spec"].get("source", {}).get("persistentVolumeClaimName", ""),
            ready=bool(status.get("readyToUse")),
            error=str((status.get("error") or {}).get("message", "")),
            content=None
            if content is None
            else plan.Content(
                _is_of(content, snapshot),
                str(content["spec"].get("driver", "")),
                content["spec"].get("source", {}).get("volumeHandle"),
            ),
        )
        return plan.judge_snapshot(wanted, seen, owner.namespace), content

    def _device(self, owner: owners.Owner) -> plan.Device | None:
        name = builders.snapshot_name(owner)
        claim = self._objects.get(cluster.CLAIMS, name, owner.namespace)
        if claim is None:
            return None
        volume = observing.volume_behind(self._objects, claim)
        ours = builders.is_ours(claim, owner) and builders.is_of_snapshot(claim, owner)
        csi = {} if volume is None else volume["spec"].get("csi") or {}
        driver = None if volume is None else str(csi.get("driver", ""))
        if volume is not None and not observing.was_made_for(volume, claim, str(driver)):
            ours = False
        return plan.Device(
            name=name,
            ours=ours,
            bound=volume is not None,
            lost=claim.get("status", {}).get("phase") == "Lost",
            driver=driver,
            news="" if volume is not None else observing.last_warning(self._objects, claim),
        )


def _is_of(content: cluster.Object, snapshot: cluster.Object) -> bool:
    """Whether a content was made for this very snapshot, of a volume."""
    spec, metadata = content.get("spec", {}), snapshot["metadata"]
    reference = spec.get("volumeSnapshotRef") or {}
    bound = (reference.get("namespace"), reference.get("name"), reference.get("uid"))
    wanted = (metadata["namespace"], metadata["name"], metadata["uid"])
    return bound == wanted and bool((spec.get("source") or {}).get("volumeHandle"))


def _hopeless(reason: str, message: str) -> Need:
    return Need(ready=False, hopeless=True, reason=reason, message=message)


def facts(result: Any) -> dict[str, Any]:
    """Returns the status fields that only a mover knows of such a volume; none if it said nothing.

    What it says of the size is what it read: the device may be larger than was asked for.
    """
    size_bytes, sector_bytes = result.get("bytesTotal"), result.get("sectorSizeBytes")
    if not isinstance(size_bytes, int) or not isinstance(sector_bytes, int):
        return {}
    return {
        "sizeBytes": size_bytes,
        "size": quantities.format_bytes(size_bytes),
        "sectorSizeBytes": sector_bytes,
        "filesystem": result.get("filesystem"),
    }
