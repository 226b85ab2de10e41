"""What is made to read a volume of another CSI driver: a VolumeSnapshot, and a claim of it. Pure.

Unlike other children they have an ownerReference. They are copies, and the only ones that cost the
user something in a storage system that is not Mooring's: when nobody is left to put them away, the
cluster does it with their Backup.
"""

from mooring.api import keys
from mooring.domain import quantities
from mooring.ports import cluster
from mooring_operator.builders import owners, persistent_volumes

_KIND = cluster.VOLUME_SNAPSHOTS.kind


def snapshot_name(owner: owners.Owner) -> str:
    """Returns the name of both the VolumeSnapshot and the claim."""
    return owner.child_name(keys.ROLE_SOURCE)


def snapshot(owner: owners.Owner, claim: str, snapshot_class: str) -> cluster.Object:
    """Returns the VolumeSnapshot of a claim of the owner's namespace."""
    return {
        "apiVersion": cluster.VOLUME_SNAPSHOTS.api_version,
        "kind": _KIND,
        "metadata": _metadata(owner),
        "spec": {
            "volumeSnapshotClassName": snapshot_class,
            "source": {"persistentVolumeClaimName": claim},
        },
    }


def reading_claim(owner: owners.Owner, storage_class: str, size_bytes: int) -> cluster.Object:
    """Returns the claim of a block volume that the driver makes of that snapshot.

    It could be written to: many drivers refuse block volumes that are read-only, and a mover opens
    what it reads for reading.
    """
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(owner),
        "spec": {
            "accessModes": [persistent_volumes.READ_WRITE_ONCE],
            "volumeMode": "Block",
            "storageClassName": storage_class,
            "dataSource": {
                "apiGroup": cluster.SNAPSHOT_GROUP,
                "kind": _KIND,
                "name": snapshot_name(owner),
            },
            "resources": {"requests": {"storage": quantities.format_bytes(size_bytes)}},
        },
    }


def is_ours(obj: cluster.Object, owner: owners.Owner) -> bool:
    """Whether an object has the marks of its owner's own."""
    labels = obj["metadata"].get("labels") or {}
    return owners.child_labels(owner, keys.ROLE_SOURCE).items() <= labels.items()


def is_of_snapshot(claim: cluster.Object, owner: owners.Owner) -> bool:
    """Whether a claim is of the owner's snapshot, and of nothing else."""
    spec = claim.get("spec", {})
    source = spec.get("dataSource") or {}
    named = (source.get("apiGroup"), source.get("kind"), source.get("name"))
    wanted = (cluster.SNAPSHOT_GROUP, _KIND, snapshot_name(owner))
    return named == wanted and spec.get("volumeMode") == "Block"


def content_change(content: cluster.Object, mode: str) -> cluster.Object:
    """Returns what has to change in a snapshot's content before it can be read; empty if nothing.

    It goes with its snapshot, whatever its class says. Of a Filesystem one a Block volume may be
    made; of a Block one no Filesystem.
    """
    change: cluster.Object = {}
    annotations = content["metadata"].get("annotations") or {}
    if mode == "Filesystem" and annotations.get(keys.ALLOW_MODE_CHANGE) != "true":
        change["metadata"] = {"annotations": {keys.ALLOW_MODE_CHANGE: "true"}}
    return change | going_with_snapshot(content)


def going_with_snapshot(content: cluster.Object) -> cluster.Object:
    """Returns the change by which a content is deleted with its snapshot; empty if it is anyway."""
    if content.get("spec", {}).get("deletionPolicy") == "Delete":
        return {}
    return {"spec": {"deletionPolicy": "Delete"}}


def _metadata(owner: owners.Owner) -> cluster.Object:
    reference = {
        "apiVersion": keys.API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    metadata = owners.child_metadata(owner, keys.ROLE_SOURCE)
    return {**metadata, "ownerReferences": [reference]}
