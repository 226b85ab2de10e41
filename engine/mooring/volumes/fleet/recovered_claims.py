"""The objects that bring a claim back: the claim, the Restore that fills it, its VolumeClaim. Pure.

Of the manifests in a backup only what a claim means is taken over, field by field: they come from
another cluster, whose volumes, nodes and uids are gone.
"""

from collections.abc import Mapping
from typing import Any

from mooring.api import keys
from mooring.domain import errors, quantities
from mooring.planning.recovery_plan import Step

Object = dict[str, Any]

RECOVERED_FROM = f"{keys.GROUP}/recovered-from"
"""On a PVC: the Backup that `mooring recover` chose for it."""
_ACCESS_MODES = ("ReadWriteOnce", "ReadWriteOncePod")
_ANY_NODE = {"nodeSelector": {"kubernetes.io/os": "linux"}}
_OF_OTHER_CLUSTER = (keys.OWNER_UID, keys.MANAGED_BY)


def claim(step: Step, namespace: str) -> Object:
    """Returns the PersistentVolumeClaim; it is bound only once the Restore has filled it."""
    was = _part(step.point.manifests, "persistentVolumeClaim")
    labels = _part(was, "metadata", "labels")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": step.point.claim,
            "namespace": namespace,
            "labels": {
                str(name): str(value)
                for name, value in labels.items()
                if name not in _OF_OTHER_CLUSTER
            },
            "annotations": {RECOVERED_FROM: step.point.backup},
        },
        "spec": {
            "accessModes": [_access_mode(was)],
            "volumeMode": step.point.mode,
            "storageClassName": step.storage_class,
            "resources": {"requests": {"storage": quantities.format_bytes(_size_bytes(step))}},
            "dataSourceRef": {"apiGroup": keys.GROUP, "kind": "Restore", "name": step.restore},
        },
    }


def restore(step: Step, namespace: str, *, now: bool) -> Object:
    """Returns the Restore.

    Args:
        step: What is done.
        namespace: Where.
        now: Whether the roomiest node is chosen at once; else the first pod's node decides.
    """
    was = _part(step.point.manifests, "persistentVolumeClaim")
    spec: Object = {
        "backupName": step.point.backup,
        "target": {
            "claimName": step.point.claim,
            "storageClassName": step.storage_class,
            "size": quantities.format_bytes(_size_bytes(step)),
            "volumeMode": step.point.mode,
            "accessMode": _access_mode(was),
        },
    }
    if now:
        spec["placement"] = _ANY_NODE
    return _own("Restore", step.restore, namespace, spec)


def volume_claim(step: Step, namespace: str, nodes: frozenset[str]) -> Object | None:
    """Returns the VolumeClaim that the claim belonged to, which adopts it; None without one."""
    was = _part(step.point.manifests, "volumeClaim")
    spec = _part(was, "spec")
    if not spec or _part(was, "metadata").get("name") != step.point.claim:
        return None
    kept = {
        name: spec[name] for name in ("deletionPolicy", "accessMode", "placement") if name in spec
    }
    if _part(kept, "placement").get("node") not in (None, *nodes):
        del kept["placement"]  # that node was of the other cluster
    size_bytes = max(_bytes(spec.get("size")), _size_bytes(step))
    body = _own(
        "VolumeClaim",
        step.point.claim,
        namespace,
        {
            **kept,
            "size": quantities.format_bytes(size_bytes),
            "storageClassName": step.storage_class,
            "volumeMode": step.point.mode,
        },
    )
    body["metadata"]["labels"] = dict(_part(was, "metadata", "labels"))
    return body


def _own(kind: str, name: str, namespace: str, spec: Object) -> Object:
    return {
        "apiVersion": keys.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _part(values: Any, *path: str) -> Mapping[str, Any]:
    """Returns a mapping within mappings; an empty one where something else is."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _access_mode(was: Any) -> str:
    modes = _part(was, "spec").get("accessModes")
    mode = modes[0] if isinstance(modes, list) and modes else ""
    return mode if mode in _ACCESS_MODES else _ACCESS_MODES[0]


def _size_bytes(step: Step) -> int:
    """The claim may have asked for more than the volume had when it was backed up."""
    was = _part(step.point.manifests, "persistentVolumeClaim", "spec", "resources", "requests")
    return max(step.point.size_bytes, _bytes(was.get("storage")))


def _bytes(size: Any) -> int:
    try:
        return quantities.parse_bytes(str(size))
    except errors.InvalidInput:
        return 0
