"""Reads facts out of Kubernetes' own objects: claims, volumes, classes, nodes."""

from collections.abc import Mapping
from dataclasses import dataclass

from mooring.api import keys
from mooring.api.v1alpha1 import volumes as models
from mooring.domain import errors, handles, ids, quantities
from mooring.planning import claim_holders, claim_plan, placement_plan
from mooring.ports import cluster
from mooring.volumes.fleet import claim_placements
from mooring_operator import node_states, resources, statuses


def claim_facts(claim: cluster.Object, owner_name: str, owner_uid: str) -> claim_plan.Claim:
    """Reads what a VolumeClaim's plan has to know of the claim of its name."""
    metadata, spec, status = claim["metadata"], claim.get("spec", {}), claim.get("status", {})
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    bound = status.get("phase") == "Bound"
    return claim_plan.Claim(
        ours=labels.get(keys.VOLUME_CLAIM) == owner_name,
        owner_current=labels.get(keys.OWNER_UID) == owner_uid,
        requested_bytes=requested_bytes(claim),
        capacity_bytes=capacity_bytes(claim) if bound else None,
        storage_class=spec.get("storageClassName") or "",
        mode=spec.get("volumeMode", "Filesystem"),
        bound=bound,
        terminating="deletionTimestamp" in metadata,
        lost=status.get("phase") == "Lost",
        selected_node=annotations.get(keys.SELECTED_NODE),
        placement_node=claim_placements.bound_to(claim),
        placement_set_at=statuses.parse_timestamp(annotations.get(keys.PLACEMENT_SET_AT)),
        resize_error=_resize_error(status),
        finalizers=tuple(metadata.get("finalizers", [])),
    )


def last_warning(objects: cluster.ClusterObjects, about: cluster.Object) -> str:
    """Returns the newest warning that Kubernetes gave about an object; empty without one."""
    metadata = about["metadata"]
    warnings = [
        entry
        for entry in objects.find(cluster.EVENTS, metadata["namespace"])
        if entry.get("involvedObject", {}).get("uid") == metadata["uid"]
        and entry.get("type") == "Warning"
    ]
    if not warnings:
        return ""
    newest = max(warnings, key=lambda entry: str(entry.get("lastTimestamp") or ""))
    return f"{newest.get('reason')}: {newest.get('message')}"


def _resize_error(status: cluster.Object) -> str:
    """Returns what Kubernetes says hinders a claim's growth."""
    errors_first = ("NodeResizeError", "ControllerResizeError", "FileSystemResizePending")
    found = {entry["type"]: entry for entry in status.get("conditions", [])}
    for name in errors_first:
        if found.get(name, {}).get("status") == "True":
            return str(found[name].get("message", ""))
    return ""


def requested_bytes(claim: cluster.Object) -> int:
    """Returns the size in a claim's spec, in bytes."""
    requests = claim.get("spec", {}).get("resources", {}).get("requests", {})
    return quantities.parse_bytes(str(requests.get("storage", "0")))


def capacity_bytes(claim: cluster.Object) -> int:
    """Returns the size in a claim's status, in bytes; 0 while there is none."""
    return quantities.parse_bytes(
        str(claim.get("status", {}).get("capacity", {}).get("storage", "0"))
    )


def class_facts(storage_class: cluster.Object | None) -> claim_plan.StorageClass | None:
    """Reads what matters of a StorageClass."""
    if storage_class is None:
        return None
    return claim_plan.StorageClass(
        ours=storage_class.get("provisioner") == keys.DRIVER,
        expandable=bool(storage_class.get("allowVolumeExpansion")),
        waits_for_pod=storage_class.get("volumeBindingMode") == "WaitForFirstConsumer",
    )


@dataclass(frozen=True)
class BoundVolume:
    """The Mooring volume behind a bound claim.

    Attributes:
        name: Name of the PersistentVolume.
        volume_id: Mooring's id.
        node: The node that holds the data.
    """

    name: str
    volume_id: ids.VolumeId
    node: ids.NodeName


def bound_volume(objects: cluster.ClusterObjects, claim: cluster.Object) -> BoundVolume | None:
    """Follows a claim to its volume; None while it is not bound to one.

    Raises:
        PreconditionFailed: The volume is not Mooring's.
    """
    volume = volume_behind(objects, claim)
    return None if volume is None else own_volume(claim, volume)


def volume_behind(objects: cluster.ClusterObjects, claim: cluster.Object) -> cluster.Object | None:
    """Follows a claim to its PersistentVolume; None while it is not bound to one."""
    name = claim.get("spec", {}).get("volumeName")
    if not name or claim.get("status", {}).get("phase") != "Bound":
        return None
    return objects.get(cluster.PERSISTENT_VOLUMES, name)


def is_ours(volume: cluster.Object) -> bool:
    """Whether a PersistentVolume is of Mooring's driver."""
    return bool((volume.get("spec", {}).get("csi") or {}).get("driver") == keys.DRIVER)


def own_volume(claim: cluster.Object, volume: cluster.Object) -> BoundVolume:
    """Reads the Mooring volume of a claim.

    Raises:
        PreconditionFailed: It is not Mooring's, or belongs to a mover.
        NotFound: Its handle is none of Mooring's.
    """
    if not is_ours(volume):
        raise errors.PreconditionFailed(
            f"claim {claim['metadata']['name']} is not on a Mooring volume, as it has to be here"
        )
    handle = handles.parse(str(volume["spec"]["csi"].get("volumeHandle", "")))
    if not isinstance(handle, handles.UserVolume):
        raise errors.PreconditionFailed(
            f"claim {claim['metadata']['name']} belongs to a mover; name a claim of yours"
        )
    return BoundVolume(volume["metadata"]["name"], handle.volume_id, node_of(volume))


@dataclass(frozen=True)
class ForeignVolume:
    """The volume of another CSI driver behind a bound claim.

    Attributes:
        claim: Name of the claim.
        uid: Names the volume, in one cluster; backups of the same one build on each other.
        driver: The driver.
        handle: The driver's name of it.
        mode: Filesystem or Block.
        storage_class: Name of the claim's StorageClass; empty when it has none.
        size_bytes: Its capacity.
        nodes: The nodes that can use it, as node selector terms; None for all.
    """

    claim: str
    uid: str
    driver: str
    handle: str
    mode: str
    storage_class: str
    size_bytes: int
    nodes: cluster.Object | None = None


def foreign_volume(claim: cluster.Object, volume: cluster.Object) -> ForeignVolume | None:
    """Reads the volume of another CSI driver; None when it is of none.

    Raises:
        Busy: It is bound to another claim: one of the two was read too early.
    """
    spec, metadata = volume.get("spec", {}), claim["metadata"]
    csi = spec.get("csi") or {}
    if not csi.get("driver") or not csi.get("volumeHandle"):
        return None
    if (spec.get("claimRef") or {}).get("uid") != metadata["uid"]:
        raise errors.Busy(f"claim {metadata['name']} changed while it was looked at")
    return ForeignVolume(
        claim=metadata["name"],
        uid=f"pv-{volume['metadata']['uid']}",
        driver=str(csi["driver"]),
        handle=str(csi["volumeHandle"]),
        mode=claim["spec"].get("volumeMode") or "Filesystem",
        storage_class=claim["spec"].get("storageClassName") or "",
        size_bytes=quantities.parse_bytes(str(spec.get("capacity", {}).get("storage", "0"))),
        nodes=usable_on(volume),
    )


def usable_on(volume: cluster.Object) -> cluster.Object | None:
    """Returns the selector of the nodes that can use a PersistentVolume; None for all."""
    affinity = volume.get("spec", {}).get("nodeAffinity") or {}
    required: cluster.Object | None = affinity.get("required")
    return required


def was_made_for(volume: cluster.Object, claim: cluster.Object, driver: str) -> bool:
    """Whether a driver made a PersistentVolume for this very claim, rather than it being found."""
    metadata, spec = volume["metadata"], volume.get("spec", {})
    annotations = metadata.get("annotations") or {}
    return (
        (spec.get("claimRef") or {}).get("uid") == claim["metadata"]["uid"]
        and (spec.get("csi") or {}).get("driver") == driver
        and annotations.get(keys.PROVISIONED_BY) == driver
        # As text: both are written by the API server, in UTC.
        and str(metadata.get("creationTimestamp", ""))
        >= str(claim["metadata"].get("creationTimestamp", "-"))
    )


def writes_wait(objects: cluster.ClusterObjects, volume: BoundVolume | None) -> str:
    """Returns why a volume is frozen for want of room, as its node says; empty if it is not."""
    record = objects.get(resources.VOLUMES, volume.volume_id) if volume is not None else None
    status = (record or {}).get("status", {})
    return str(status["message"]) if status.get("health") == models.WRITES_WAIT else ""


def volumes_by_handle(objects: cluster.ClusterObjects) -> Mapping[str, cluster.Object]:
    """Returns the PersistentVolumes of Mooring's driver by the id of what is behind them."""
    found: dict[str, cluster.Object] = {}
    for volume in objects.find(cluster.PERSISTENT_VOLUMES):
        csi = volume.get("spec", {}).get("csi", {})
        if csi.get("driver") == keys.DRIVER and "volumeHandle" in csi:
            found[csi["volumeHandle"]] = volume
    return found


def node_of(volume: cluster.Object) -> ids.NodeName:
    """Returns the node that a PersistentVolume is held to; empty when it names none."""
    required = volume.get("spec", {}).get("nodeAffinity", {}).get("required", {})
    for term in required.get("nodeSelectorTerms", []):
        for expression in term.get("matchExpressions", []):
            if expression.get("key") == keys.TOPOLOGY_NODE and expression.get("values"):
                return ids.NodeName(expression["values"][0])
    return ids.NodeName("")


def candidates(
    objects: cluster.ClusterObjects, pool: str | None = None
) -> list[placement_plan.Candidate]:
    """Returns every node with the room that Pool objects show for it."""
    room: dict[str, int] = {}
    for entry in objects.find(resources.POOLS):
        if pool is not None and entry["metadata"]["name"] != pool:
            continue
        for node in entry.get("status", {}).get("nodes", []):
            if node.get("healthy"):
                free = int(node.get("availableBytes", 0))
                room[node["node"]] = max(room.get(node["node"], 0), free)
    return [
        placement_plan.Candidate(
            ids.NodeName(node["metadata"]["name"]),
            node["metadata"].get("labels", {}),
            node_states.state_of(node) is claim_holders.NodeState.READY,
            room.get(node["metadata"]["name"]),
        )
        for node in objects.find(cluster.NODES)
    ]
