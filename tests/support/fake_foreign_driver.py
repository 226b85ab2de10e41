"""Another CSI driver in a cluster in memory: what its sidecars and the snapshot-controller do.

`play` takes one step of each: contents of new snapshots, readiness, volumes of claims, deletions.
"""

from typing import Any

from mooring.api import keys
from mooring.ports import cluster
from support.operator_world import GIB, NAMESPACE, OperatorWorld

DRIVER = "block.example.com"
CLASS = "fast"
ZONE = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    ]
}
_HANDLE = "disk-"


class FakeForeignDriver:
    """A driver with a StorageClass, a VolumeSnapshotClass and volumes."""

    def __init__(
        self, world: OperatorWorld, *, binding: str = "Immediate", reclaim: str = "Delete"
    ) -> None:
        self.world = world
        self.cluster = world.cluster
        self.takes_snapshots = True
        self.makes_volumes = True
        self.deletes = True
        self.snapshot_error = ""
        storage_class = {
            "metadata": {"name": CLASS},
            "provisioner": DRIVER,
            "volumeBindingMode": binding,
            "reclaimPolicy": reclaim,
        }
        self.cluster.create(cluster.STORAGE_CLASSES, storage_class)
        self.snapshot_class("snaps", default=True, policy=reclaim)
        world.others.append(self.play)

    def snapshot_class(
        self, name: str, driver: str = DRIVER, *, default: bool = False, policy: str = "Delete"
    ) -> None:
        metadata: dict[str, Any] = {"name": name}
        if default:
            metadata["annotations"] = {keys.DEFAULT_SNAPSHOT_CLASS: "true"}
        body = {"metadata": metadata, "driver": driver, "deletionPolicy": policy}
        self.cluster.create(cluster.VOLUME_SNAPSHOT_CLASSES, body)

    def claim(self, name: str = "disk", mode: str = "Filesystem", **labels: str) -> None:
        """Makes a claim of a user that is bound to a volume of this driver."""
        body = {
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "storageClassName": CLASS,
                "volumeMode": mode,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": str(GIB)}},
            },
        }
        self._volume(self.cluster.create(cluster.CLAIMS, body), GIB)
        self.world.play()

    def leftovers(self) -> dict[str, list[str]]:
        """What was made to read volumes and is still there."""
        kinds = {
            "snapshots": cluster.VOLUME_SNAPSHOTS,
            "contents": cluster.VOLUME_SNAPSHOT_CONTENTS,
        }
        found = {name: self.cluster.names(resource) for name, resource in kinds.items()}
        for name, resource in {
            "claims": cluster.CLAIMS,
            "volumes": cluster.PERSISTENT_VOLUMES,
        }.items():
            found[name] = [
                obj["metadata"]["name"]
                for obj in self.cluster.find(resource)
                if "mooring-source-" in str(obj["metadata"]["name"])
                or "mooring-source-" in str(obj["spec"].get("claimRef", {}).get("name", ""))
            ]
        return {name: names for name, names in found.items() if names}

    def play(self) -> None:
        self._take_snapshots()
        self._make_volumes()
        self._delete()

    def _take_snapshots(self) -> None:
        for snapshot in self.cluster.find(cluster.VOLUME_SNAPSHOTS):
            metadata, status = snapshot["metadata"], snapshot.get("status", {})
            if "deletionTimestamp" in metadata or status.get("readyToUse"):
                continue
            name, namespace = metadata["name"], metadata["namespace"]
            if not metadata.get("finalizers"):
                change = {"metadata": {"finalizers": ["snapshot.storage.k8s.io/bound"]}}
                self.cluster.patch(cluster.VOLUME_SNAPSHOTS, name, change, namespace)
            content = self._content(snapshot)
            status = {"boundVolumeSnapshotContentName": content["metadata"]["name"]}
            if self.snapshot_error:
                status["error"] = {"message": self.snapshot_error}
            elif self.takes_snapshots:
                ready = {"readyToUse": True, "restoreSize": str(GIB)}
                status |= {**ready, "creationTime": "2026-01-01T00:00:07Z"}
            self.cluster.set_status(cluster.VOLUME_SNAPSHOTS, name, namespace, status)

    def _content(self, snapshot: cluster.Object) -> cluster.Object:
        metadata = snapshot["metadata"]
        name = f"snapcontent-{metadata['uid']}"
        found = self.cluster.get(cluster.VOLUME_SNAPSHOT_CONTENTS, name)
        if found is not None:
            return found
        claim_name = snapshot["spec"]["source"]["persistentVolumeClaimName"]
        claim = self.cluster.must_get(cluster.CLAIMS, claim_name, metadata["namespace"])
        volume_name = claim["spec"]["volumeName"]
        volume = self.cluster.must_get(cluster.PERSISTENT_VOLUMES, volume_name)
        wanted = snapshot["spec"]["volumeSnapshotClassName"]
        snapshot_class = self.cluster.must_get(cluster.VOLUME_SNAPSHOT_CLASSES, wanted)
        reference = {key: metadata[key] for key in ("name", "namespace", "uid")}
        body = {
            "metadata": {"name": name},
            "spec": {
                "driver": DRIVER,
                "deletionPolicy": snapshot_class["deletionPolicy"],
                "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
                "sourceVolumeMode": claim["spec"].get("volumeMode", "Filesystem"),
                "volumeSnapshotRef": reference,
            },
        }
        return self.cluster.create(cluster.VOLUME_SNAPSHOT_CONTENTS, body)

    def _make_volumes(self) -> None:
        for claim in self.cluster.find(cluster.CLAIMS):
            spec, metadata = claim["spec"], claim["metadata"]
            source = spec.get("dataSource") or {}
            waiting = source.get("kind") == "VolumeSnapshot" and not spec.get("volumeName")
            if not waiting or not self.makes_volumes or "deletionTimestamp" in metadata:
                continue
            if self._is_for_a_pod() and not self._has_pod(metadata["name"]):
                continue
            if self._may_change_mode(source["name"], metadata["namespace"], spec["volumeMode"]):
                self._volume(claim, GIB)

    def _is_for_a_pod(self) -> bool:
        found = self.cluster.must_get(cluster.STORAGE_CLASSES, CLASS)
        return bool(found["volumeBindingMode"] == "WaitForFirstConsumer")

    def _has_pod(self, claim: str) -> bool:
        return any(
            volume.get("persistentVolumeClaim", {}).get("claimName") == claim
            for pod in self.cluster.find(cluster.PODS)
            for volume in pod["spec"].get("volumes", [])
        )

    def _may_change_mode(self, snapshot_name: str, namespace: str, mode: str) -> bool:
        """external-provisioner's rule."""
        snapshot = self.cluster.must_get(cluster.VOLUME_SNAPSHOTS, snapshot_name, namespace)
        content = self._content(snapshot)
        allowed = content["metadata"].get("annotations", {}).get(keys.ALLOW_MODE_CHANGE) == "true"
        return bool(allowed or content["spec"]["sourceVolumeMode"] == mode)

    def _volume(self, claim: cluster.Object, size_bytes: int) -> None:
        metadata = claim["metadata"]
        storage_class = self.cluster.must_get(cluster.STORAGE_CLASSES, CLASS)
        name = f"pvc-{metadata['uid']}"
        body = {
            "metadata": {"name": name, "annotations": {keys.PROVISIONED_BY: DRIVER}},
            "spec": {
                "csi": {"driver": DRIVER, "volumeHandle": f"{_HANDLE}{metadata['uid']}"},
                "claimRef": {key: metadata[key] for key in ("name", "namespace", "uid")},
                "capacity": {"storage": str(size_bytes)},
                "nodeAffinity": {"required": ZONE},
                "volumeMode": claim["spec"]["volumeMode"],
                "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
            },
        }
        self.cluster.create(cluster.PERSISTENT_VOLUMES, body)

    def _delete(self) -> None:
        """Deletes what is behind claims and snapshots that go, where the policies say so."""
        if not self.deletes:
            return
        for snapshot in self.cluster.find(cluster.VOLUME_SNAPSHOTS):
            metadata = snapshot["metadata"]
            if "deletionTimestamp" not in metadata:
                continue
            name = f"snapcontent-{metadata['uid']}"
            content = self.cluster.get(cluster.VOLUME_SNAPSHOT_CONTENTS, name)
            if content is not None and content["spec"]["deletionPolicy"] == "Delete":
                self.cluster.delete(cluster.VOLUME_SNAPSHOT_CONTENTS, name)
            change: dict[str, Any] = {"metadata": {"finalizers": []}}
            namespace = metadata["namespace"]
            self.cluster.patch(cluster.VOLUME_SNAPSHOTS, metadata["name"], change, namespace)
        claims = {claim["metadata"]["uid"] for claim in self.cluster.find(cluster.CLAIMS)}
        for volume in self.cluster.find(cluster.PERSISTENT_VOLUMES):
            spec = volume["spec"]
            ours = spec.get("csi", {}).get("driver") == DRIVER
            if not ours or spec["claimRef"]["uid"] in claims:
                continue
            if spec["persistentVolumeReclaimPolicy"] == "Delete":
                self.cluster.delete(cluster.PERSISTENT_VOLUMES, volume["metadata"]["name"])
