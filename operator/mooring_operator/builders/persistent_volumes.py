"""PersistentVolumes that the operator makes: temporary ones for movers, and a restore's own. Pure.

Temporary ones are bound to one claim by its uid, so that no other claim can take them, and are
kept by the reclaim policy Retain: deleting the claim must delete nothing. The claim, for its part,
takes only a volume with the labels of its owner and role, which nobody else's has. It names no
volume: Kubernetes binds a claim as soon as a volume with its uid appears only while it names none,
and else at its next round, every 15 s.
"""

from dataclasses import dataclass

from mooring.api import keys, persistent_volumes
from mooring.domain import errors, handles, ids, quantities
from mooring.ports import catalogue, cluster
from mooring_operator.builders import owners

READ_ONLY_MANY = "ReadOnlyMany"
READ_WRITE_ONCE = "ReadWriteOnce"
READ_WRITE_MANY = "ReadWriteMany"
_FOLDER_SIZE_BYTES = 1 << 30
"""Kubernetes wants a size; a folder has none."""


@dataclass(frozen=True)
class Exposure:
    """Something that is exposed to movers through a claim.

    Attributes:
        owner: The object that it is exposed for.
        role: Makes the names of claim and volume.
        handle: What the node plugin publishes.
        size_bytes: Shown; folders have none.
        node: The node that it is on; None for a folder, which is on all.
        read_only: Whether movers may only read.
    """

    owner: owners.Owner
    role: str
    handle: handles.Handle
    size_bytes: int
    node: ids.NodeName | None
    read_only: bool

    @property
    def name(self) -> str:
        """Name of both the claim and the volume."""
        return self.owner.child_name(self.role)

    @property
    def access_mode(self) -> str:
        """The access mode of both."""
        if self.node is None:
            return READ_WRITE_MANY
        return READ_ONLY_MANY if self.read_only else READ_WRITE_ONCE

    @property
    def mode(self) -> str:
        """Folders and lists are mounted, volumes and snapshots are devices."""
        mounted = isinstance(self.handle, handles.RepositoryFolder | handles.ChangeList)
        return "Filesystem" if mounted else "Block"


def snapshot_exposure(
    owner: owners.Owner, snapshot_id: ids.SnapshotId, size_bytes: int, node: ids.NodeName
) -> Exposure:
    """A snapshot, read-only, for the mover of a backup."""
    handle = handles.SnapshotReader(snapshot_id)
    return Exposure(owner, keys.ROLE_BACKUP, handle, size_bytes, node, read_only=True)


def changes_exposure(
    owner: owners.Owner, snapshot_id: ids.SnapshotId, node: ids.NodeName
) -> Exposure:
    """What changed in a snapshot, for the mover of a backup."""
    handle = handles.ChangeList(snapshot_id)
    return Exposure(owner, keys.ROLE_CHANGES, handle, _FOLDER_SIZE_BYTES, node, read_only=True)


def populate_exposure(
    owner: owners.Owner, volume_id: ids.VolumeId, size_bytes: int, node: ids.NodeName
) -> Exposure:
    """A Filling volume, for the mover of a restore."""
    handle = handles.PopulateWriter(volume_id)
    return Exposure(owner, keys.ROLE_RESTORE, handle, size_bytes, node, read_only=False)


def folder_exposure(owner: owners.Owner, entry: str) -> Exposure:
    """A repository's sub-folder of an entry of the administrator's list."""
    handle = handles.RepositoryFolder(entry, owner.namespace, owner.name)
    role = keys.ROLE_REPOSITORY
    return Exposure(owner, role, handle, _FOLDER_SIZE_BYTES, None, read_only=False)


def exposing_claim(exposure: Exposure) -> cluster.Object:
    """Returns the claim that a mover names; it takes only the volume made for its owner."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": owners.child_metadata(exposure.owner, exposure.role),
        "spec": {
            "accessModes": [exposure.access_mode],
            "volumeMode": exposure.mode,
            "storageClassName": "",
            "selector": {"matchLabels": owners.child_labels(exposure.owner, exposure.role)},
            "resources": {"requests": {"storage": _size(exposure.size_bytes)}},
        },
    }


def is_bound(exposure: Exposure, claim: cluster.Object) -> bool:
    """Whether a claim is bound to the volume of an exposure.

    Raises:
        PreconditionFailed: It names another volume, so somebody else made it.
    """
    volume = claim.get("spec", {}).get("volumeName", "")
    if volume not in ("", exposure.name):
        name, namespace = exposure.name, exposure.owner.namespace
        raise errors.PreconditionFailed(
            f"claim {name} is not the one that Mooring makes for a mover; delete it: "
            f"kubectl -n {namespace} delete pvc {name}"
        )
    phase: str = claim.get("status", {}).get("phase", "")
    return bool(volume) and phase == "Bound"


def exposing_volume(exposure: Exposure, claim: cluster.Object) -> cluster.Object:
    """Returns the volume behind that claim."""
    spec: cluster.Object = {
        "accessModes": [exposure.access_mode],
        "volumeMode": exposure.mode,
        "storageClassName": "",
        "capacity": {"storage": _size(exposure.size_bytes)},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": _claim_ref(claim),
        "csi": {
            "driver": keys.DRIVER,
            "volumeHandle": handles.render(exposure.handle),
            "readOnly": exposure.read_only,
        },
    }
    if exposure.node is not None:
        spec["nodeAffinity"] = persistent_volumes.node_affinity(exposure.node)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": owners.child_metadata(exposure.owner, exposure.role, namespaced=False),
        "spec": spec,
    }


def final_volume_name(claim: cluster.Object) -> str:
    """Returns the name that external-provisioner would have given the claim's volume."""
    return f"pvc-{claim['metadata']['uid']}"


def final_volume(
    entry: catalogue.CatalogueEntry,
    source: str,
    claim: cluster.Object,
    storage_class: cluster.Object,
) -> cluster.Object:
    """Returns the PersistentVolume of a restored claim; `source` says what it was filled from."""
    binding = persistent_volumes.Binding(
        name=final_volume_name(claim),
        claim_ref=_claim_ref(claim),
        storage_class=storage_class["metadata"]["name"],
        access_modes=tuple(claim["spec"].get("accessModes", [READ_WRITE_ONCE])),
        reclaim_policy=storage_class.get("reclaimPolicy", "Delete"),
        mount_options=tuple(storage_class.get("mountOptions", [])),
        annotations=((keys.POPULATED_FROM, source),),
    )
    return persistent_volumes.user_volume(entry.spec, entry.node, binding)


def _claim_ref(claim: cluster.Object) -> cluster.Object:
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _size(size_bytes: int) -> str:
    return quantities.format_bytes(max(size_bytes, 1))
