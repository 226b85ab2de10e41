"""PersistentVolumes of users' volumes, as external-provisioner makes them. Pure."""

from dataclasses import dataclass
from typing import Any

from mooring.api import keys
from mooring.domain import handles, ids, quantities, volumes

Object = dict[str, Any]


@dataclass(frozen=True)
class Binding:
    """How a PersistentVolume meets its claim.

    Attributes:
        name: The PersistentVolume's name.
        claim_ref: The one claim that it is for.
        storage_class: Its StorageClass, the claim's too.
        access_modes: The claim's.
        reclaim_policy: Delete or Retain.
        mount_options: The StorageClass's.
        annotations: Besides who provisioned it.
    """

    name: str
    claim_ref: Object
    storage_class: str
    access_modes: tuple[str, ...]
    reclaim_policy: str
    mount_options: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


def user_volume(spec: volumes.VolumeSpec, node: ids.NodeName, binding: Binding) -> Object:
    """Returns the PersistentVolume of a volume that pods mount or attach."""
    csi: Object = {
        "driver": keys.DRIVER,
        "volumeHandle": handles.render(handles.UserVolume(spec.volume_id)),
    }
    if spec.filesystem is not None:
        csi["fsType"] = spec.filesystem.value
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": binding.name,
            "annotations": {keys.PROVISIONED_BY: keys.DRIVER, **dict(binding.annotations)},
        },
        "spec": {
            "accessModes": list(binding.access_modes),
            "volumeMode": spec.mode.value,
            "storageClassName": binding.storage_class,
            "capacity": {"storage": quantities.format_bytes(max(spec.size_bytes, 1))},
            "persistentVolumeReclaimPolicy": binding.reclaim_policy,
            "mountOptions": list(binding.mount_options),
            "claimRef": binding.claim_ref,
            "nodeAffinity": node_affinity(node),
            "csi": csi,
        },
    }


def is_on(volume: Object, node: str) -> bool:
    """Whether a PersistentVolume holds pods to a node."""
    return bool(volume.get("spec", {}).get("nodeAffinity") == node_affinity(ids.NodeName(node)))


def relocated(volume: Object, node: str) -> Object:
    """Returns the PersistentVolume that takes the place of one whose data is on another node now.

    Its affinity can never be changed, so it is made anew, under the same name and for the same
    claim.
    """
    metadata = {
        key: volume["metadata"][key]
        for key in ("name", "labels", "annotations")
        if key in volume["metadata"]
    }
    affinity = node_affinity(ids.NodeName(node))
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": {**volume["spec"], "nodeAffinity": affinity},
    }


def node_affinity(node: ids.NodeName) -> Object:
    """Returns the affinity that holds pods to the node of their data."""
    expression = {"key": keys.TOPOLOGY_NODE, "operator": "In", "values": [node]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
