"""The manifests that go with a backup, so that its claim can be made again in another cluster."""

from typing import Any

from mooring.api import keys
from mooring.ports import cluster
from mooring_operator import resources, run_statuses


def documents(
    objects: cluster.ClusterObjects, backup: cluster.Object, claim: cluster.Object | None
) -> dict[str, Any]:
    """Returns them by role, without what belongs to this cluster alone; missing ones are left out.

    Args:
        objects: The cluster.
        backup: The Backup.
        claim: The PersistentVolumeClaim that is backed up; None when it is gone meanwhile.
    """
    found: dict[str, cluster.Object | None] = {"backup": backup}
    if claim is not None:
        metadata, spec = claim["metadata"], claim["spec"]
        found["persistentVolumeClaim"] = claim
        found["storageClass"] = objects.get(
            cluster.STORAGE_CLASSES, spec.get("storageClassName") or ""
        )
        owner = metadata.get("labels", {}).get(keys.VOLUME_CLAIM)
        if owner:
            found["volumeClaim"] = objects.get(
                resources.VOLUME_CLAIMS, owner, metadata["namespace"]
            )
    return {role: run_statuses.portable(obj) for role, obj in found.items() if obj is not None}
