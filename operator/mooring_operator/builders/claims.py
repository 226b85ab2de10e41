"""PersistentVolumeClaims that the operator makes for users. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from mooring.api import keys
from mooring.domain import quantities
from mooring.planning import placement_plan
from mooring.ports import cluster
from mooring_operator import statuses


@dataclass(frozen=True)
class ClaimTemplate:
    """What a user's claim is made of.

    Attributes:
        namespace: Where.
        name: Its name.
        size_bytes: Size asked for.
        storage_class: Name of the StorageClass.
        mode: Filesystem or Block.
        access_mode: For example ReadWriteOnce.
        data_source: API group, kind and name of its source; None for an empty volume.
        labels: Further labels.
        annotations: Further annotations; one that is None is left out.
    """

    namespace: str
    name: str
    size_bytes: int
    storage_class: str
    mode: str
    access_mode: str
    data_source: tuple[str, str, str] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: cluster.Object = field(default_factory=dict)


def claim(template: ClaimTemplate) -> cluster.Object:
    """Returns the claim. It has no ownerReference: nothing deletes data by cascade."""
    spec: cluster.Object = {
        "accessModes": [template.access_mode],
        "volumeMode": template.mode,
        "storageClassName": template.storage_class,
        "resources": {
            "requests": {"storage": quantities.format_bytes(template.size_bytes)},
        },
    }
    if template.data_source is not None:
        group, kind, name = template.data_source
        spec["dataSourceRef"] = {"kind": kind, "name": name}
        if group:
            spec["dataSourceRef"]["apiGroup"] = group
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": template.name,
            "namespace": template.namespace,
            "labels": {keys.MANAGED_BY: keys.MANAGED_BY_VALUE, **template.labels},
            "annotations": {k: v for k, v in template.annotations.items() if v is not None},
        },
        "spec": spec,
    }


def data_source_of(
    *, snapshot: str | None, claim_name: str | None, backup: str | None
) -> tuple[str, str, str] | None:
    """Returns group, kind and name of the one source that is set, or None."""
    if snapshot:
        return (cluster.SNAPSHOT_GROUP, "VolumeSnapshot", snapshot)
    if claim_name:
        return ("", "PersistentVolumeClaim", claim_name)
    if backup:
        return (keys.GROUP, "Backup", backup)
    return None


def placement_annotations(
    choice: placement_plan.Choice, now: datetime, *, binding: bool
) -> cluster.Object:
    """Returns the annotations that send a claim's volume to a node, and say why.

    Where it is not `binding`, the scheduler may choose another node when that one fails.
    """
    return {
        keys.SELECTED_NODE: choice.node,
        keys.PLACEMENT_NODE: choice.node if binding else None,
        keys.PLACEMENT_SET_AT: statuses.timestamp(now),
        keys.PLACEMENT_REASON: choice.reason,
    }
