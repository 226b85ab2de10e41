"""The pods that are timed: with an emptyDir, with a claim of Mooring, with a claim of the peer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mooring_dev.bench.provision import peer
from mooring_dev.bench.provision.timeline import Mark, Sighting, marks_of
from mooring_dev.bench.provision.watching import Watch
from mooring_dev.images import tools
from mooring_dev.kubectl import Kubectl

NAMESPACE = "bench-provision"
CLAIM_SIZE = "256Mi"
_READY_SECONDS = 120.0


@dataclass(frozen=True)
class Subject:
    """What is compared.

    Attributes:
        name: For tables and object names.
        storage_class: Of its claim; None for a pod with an emptyDir.
    """

    name: str
    storage_class: str | None


EMPTY_DIR = Subject("emptyDir", None)
MOORING = Subject("Mooring", "mooring")
PEER = Subject("local-path", peer.STORAGE_CLASS)
SUBJECTS = (EMPTY_DIR, MOORING, PEER)


@dataclass(frozen=True)
class Run:
    """One pod that became Ready.

    Attributes:
        start_seconds: When `kubectl apply` began, by this process's monotonic clock.
        marks: When each mark was seen.
        claim_uid: The claim's uid; empty without a claim.
    """

    start_seconds: float
    marks: dict[Mark, float]
    claim_uid: str

    @property
    def seconds(self) -> float:
        """From apply to Ready."""
        return self.marks[Mark.READY] - self.start_seconds


def run(cluster: Kubectl, watch: Watch, subject: Subject, number: int) -> Run:
    """Applies one pod, waits until it is Ready, and takes it away with all that it had."""
    name = f"{subject.name.lower()}-{number}"
    text = manifest(name, subject.storage_class)
    start_seconds = time.monotonic()
    cluster.apply(text)
    wanted = {Mark.STARTED, Mark.READY}
    seen = watch.wait(
        f"pod {name} is Ready",
        lambda so_far: wanted <= marks_of(so_far, name, name).keys(),
        _READY_SECONDS,
    )
    _take_away(cluster, name)
    return Run(start_seconds, marks_of(seen, name, name), _claim_uid(seen, name))


def _claim_uid(seen: Sequence[Sighting], claim: str) -> str:
    for sighting in seen:
        value = sighting.value
        if value["kind"] == "PersistentVolumeClaim" and value["metadata"]["name"] == claim:
            return str(value["metadata"]["uid"])
    return ""


def manifest(name: str, storage_class: str | None) -> str:
    """Returns a pod and, with a storage class, the claim that it uses."""
    volume: dict[str, Any] = {"name": "data", "emptyDir": {}}
    objects: list[dict[str, Any]] = []
    if storage_class is not None:
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
        objects.append(_claim(name, storage_class))
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "app",
                        "image": tools.BUSYBOX_IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "3600"],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [volume],
            },
        }
    )
    return yaml.safe_dump_all(objects)


def _claim(name: str, storage_class: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": CLAIM_SIZE}},
        },
    }


def _take_away(cluster: Kubectl, name: str) -> None:
    """Deletes pod and claim, and waits until nothing is still being done about them."""
    cluster.run(
        "delete", "pod,persistentvolumeclaim", name, "-n", NAMESPACE, "--ignore-not-found",
        "--timeout=60s", timeout_seconds=70,
    )  # fmt: skip
    cluster.wait_for("the volume is gone", lambda: _is_quiet(cluster), timeout_seconds=60)


def _is_quiet(cluster: Kubectl) -> bool:
    volumes = cluster.json("get", "persistentvolumes")["items"]
    workers = cluster.json("get", "pods", "-n", peer.NAMESPACE)["items"]
    return not volumes and len(workers) == 1
