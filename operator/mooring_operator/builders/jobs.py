"""The mover's Job: short-lived, unprivileged, with limits, tied to the node of the data. Pure.

It passes the restricted Pod Security profile, has no API token and no host path, and sees one
repository, one key and at most one device.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mooring.api import keys
from mooring.domain import ids
from mooring.ports import cluster
from mooring_operator.builders import owners, tolerations
from mooring_operator.builders.repository_mounts import RepositoryMount

CONTAINER = "mover"
_RETRIES = 6
_GRACE_SECONDS = 30
_SCRATCH_LIMIT = "2Gi"


@dataclass(frozen=True)
class MoverSettings:
    """What an administrator sets for all movers.

    Attributes:
        image: The image of the mover, this very Mooring's.
        pull_policy: For example IfNotPresent.
        requests: Resource requests.
        limits: Resource limits.
        permanent_exit_codes: Exit codes after which a retry is useless.
        device_groups: Groups that may read the block devices of other drivers.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    requests: dict[str, str] = field(
        default_factory=lambda: {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"}
    )
    limits: dict[str, str] = field(
        default_factory=lambda: {"cpu": "2", "memory": "768Mi", "ephemeral-storage": _SCRATCH_LIMIT}
    )
    permanent_exit_codes: tuple[int, ...] = ()
    device_groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class MoverRun:
    """One run of a mover.

    Attributes:
        owner: The object that it runs for.
        role: `backup`, `restore`, `probe`, `list` or `forget`; also the mover's sub-command.
        repository: What it gets to see of the repository.
        device_claim: The claim of the device; None without one.
        read_only_device: Whether the device is only read.
        foreign_device: Whether it is another driver's, which gives it to no mover by itself.
        nodes: Node selector terms, where no one node is named; None for any.
        node: The node to run on; None for any.
        taints: Of the one node that it can run on, whether named or found; None when it has a
            choice, and tolerates none.
        deadline_seconds: How long it may take, retries included.
        changes_claim: The claim of the list of what changed in the device; None without one.
        annotations: Further annotations of the Job.
    """

    owner: owners.Owner
    role: str
    repository: RepositoryMount
    deadline_seconds: int
    device_claim: str | None = None
    read_only_device: bool = False
    node: ids.NodeName | None = None
    taints: Sequence[cluster.Object] | None = None
    changes_claim: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    foreign_device: bool = False
    nodes: cluster.Object | None = None


def spec_config_map(run: MoverRun, spec: Mapping[str, Any]) -> cluster.Object:
    """Returns the ConfigMap that tells the mover what to do, and where; it holds no secret."""
    repository = {**run.repository.spec(), **spec["repository"]}
    text = json.dumps({**spec, "repository": repository}, indent=1, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owners.child_metadata(run.owner, run.role),
        "data": {"spec.json": text, **run.repository.files()},
    }


def job(run: MoverRun, settings: MoverSettings) -> cluster.Object:
    """Returns the Job."""
    metadata = owners.child_metadata(run.owner, run.role)
    metadata["annotations"] |= run.annotations
    spec: cluster.Object = {
        "backoffLimit": _RETRIES,
        "activeDeadlineSeconds": run.deadline_seconds,
        "completions": 1,
        "parallelism": 1,
        "podFailurePolicy": {"rules": _failure_rules(settings)},
        "template": {
            "metadata": {
                "labels": owners.child_labels(run.owner, run.role),
                "annotations": {keys.OWNER: metadata["annotations"][keys.OWNER]},
            },
            "spec": _pod_spec(run, settings),
        },
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _failure_rules(settings: MoverSettings) -> list[cluster.Object]:
    rules: list[cluster.Object] = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]
    if settings.permanent_exit_codes:
        codes = {
            "containerName": CONTAINER,
            "operator": "In",
            "values": sorted(settings.permanent_exit_codes),
        }
        rules.append({"action": "FailJob", "onExitCodes": codes})
    return rules


def _pod_spec(run: MoverRun, settings: MoverSettings) -> cluster.Object:
    spec: cluster.Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": keys.MOVER_USER_ID,
            "runAsGroup": keys.MOVER_GROUP_ID,
            "fsGroup": keys.MOVER_GROUP_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(run, settings)],
        "volumes": _volumes(run),
    }
    if run.foreign_device:
        spec["securityContext"]["supplementalGroups"] = list(settings.device_groups)
    if run.node is not None:
        spec["affinity"] = _held_to(_only(run.node))
    elif run.nodes is not None:
        spec["affinity"] = _held_to(run.nodes)
    if run.taints is not None:
        spec["tolerations"] = tolerations.of_node(run.taints)
    return spec


def _container(run: MoverRun, settings: MoverSettings) -> cluster.Object:
    container: cluster.Object = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["mooring"],
        "args": ["mover", run.role, "--spec", keys.MOVER_SPEC_PATH],
        "env": [
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - an emptyDir of this pod
            {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108
        ],
        "resources": {"requests": dict(settings.requests), "limits": dict(settings.limits)},
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "spec", "mountPath": _folder(keys.MOVER_SPEC_PATH), "readOnly": True},
            *run.repository.mounts(),
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    if run.changes_claim is not None:
        mount = {"name": "changes", "mountPath": _folder(keys.CHANGES_PATH), "readOnly": True}
        container["volumeMounts"].append(mount)
    if run.device_claim is not None:
        container["volumeDevices"] = [{"name": "device", "devicePath": keys.DEVICE_PATH}]
    return container


def _volumes(run: MoverRun) -> list[cluster.Object]:
    volumes: list[cluster.Object] = [
        {"name": "spec", "configMap": {"name": run.owner.child_name(run.role)}},
        *run.repository.volumes(),
        {"name": "scratch", "emptyDir": {"sizeLimit": _SCRATCH_LIMIT}},
    ]
    if run.device_claim is not None:
        claim = {"claimName": run.device_claim, "readOnly": run.read_only_device}
        volumes.append({"name": "device", "persistentVolumeClaim": claim})
    if run.changes_claim is not None:
        claim = {"claimName": run.changes_claim, "readOnly": True}
        volumes.append({"name": "changes", "persistentVolumeClaim": claim})
    return volumes


def _only(node: ids.NodeName) -> cluster.Object:
    field_term = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [field_term]}]}


def _held_to(nodes: cluster.Object) -> cluster.Object:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": nodes}}


def _folder(path: str) -> str:
    return path.rsplit("/", 1)[0]
