"""Looks for secrets where none may be: command lines, logs, objects, events, answers.

What lives shortly (a mover's command line and its log) is gathered while it lives.
"""

import base64
import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mooring.api import keys
from mooring_dev.cluster import cgroups, machines
from mooring_dev.kubectl import Kubectl
from support.development_cluster import DevelopmentCluster

_EVERY_SECONDS = 0.4
_SHORTEST = 16
"""Shorter values, such as names, are in many places and secret in none."""
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)\n-----END", re.DOTALL)
KINDS = (
    *("pods", "jobs", "configmaps", "persistentvolumeclaims", "persistentvolumes", "events"),
    *("volumes.mooring.dev", "pools", "volumeclaims", "backups", "restores"),
    *(
        "backuprepositories",
        "backupschedules",
        "volumesnapshots",
        "volumesnapshotcontents",
        "leases",
    ),
)
"""Whatever Mooring writes into the cluster, and what Kubernetes writes about it."""


@dataclass
class Gathered:
    """Everything that was seen, by the place where it was."""

    texts: dict[str, str] = field(default_factory=dict)

    def places_of(self, secrets: list[str]) -> set[str]:
        """Returns the places in which any of some texts stands."""
        found = self.texts.items()
        return {place for place, text in found if any(secret in text for secret in secrets)}


class Gathering:
    """Gathers command lines and pods' logs of all nodes until it is left.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: DevelopmentCluster) -> None:
        self.gathered = Gathered()
        self._cluster = cluster
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_SECONDS):
            for node in self._cluster.layout.nodes:
                for process in cgroups.processes(node.cgroup):
                    self._command_line(process)
                self._logs(Path(f"/proc/{machines.node_process(node)}/root/var/log/pods"))

    def _command_line(self, process: int) -> None:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
            self.gathered.texts[f"command line {words!r}"] = words

    def _logs(self, folder: Path) -> None:
        """Reads the container runtime's own files, which outlive the pods' objects a little."""
        for containers in folder.glob("*"):
            with contextlib.suppress(OSError):  # the pod is being cleared away
                for file in containers.glob("*/*.log"):
                    self.gathered.texts[f"log {'/'.join(file.parts[-3:])}"] = file.read_text()


def objects(kubectl: Kubectl) -> Gathered:
    """Returns every object of `KINDS` in all namespaces as its text."""
    found = Gathered()
    for kind in KINDS:
        for item in kubectl.json("get", kind, "-A", "--show-managed-fields")["items"]:
            metadata = item["metadata"]
            place = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            found.texts[place] = json.dumps(item, ensure_ascii=False)
    return found


def metrics(kubectl: Kubectl) -> dict[str, str]:
    """Returns what each node's agent tells monitoring systems."""
    selector = "app.kubernetes.io/component=node"
    pods = kubectl.json("get", "pods", "-n", keys.NAMESPACE, "-l", selector)["items"]
    base = f"/api/v1/namespaces/{keys.NAMESPACE}/pods"
    return {
        f"metrics of {name}": kubectl.run("get", "--raw", f"{base}/{name}:9752/proxy/metrics")
        for pod in pods
        if (name := pod["metadata"]["name"])
    }


def secrets_of(kubectl: Kubectl, namespace: str) -> list[str]:
    """Returns the secret values of a namespace's Secrets, plain and as their objects have them."""
    found = []
    for secret in kubectl.json("get", "secrets", "-n", namespace)["items"]:
        for value in (secret.get("data") or {}).values():
            text = base64.b64decode(value).decode()
            blocks = _KEY_BLOCK.findall(text)
            found += [line for block in blocks for line in block.splitlines()] or [text.strip()]
            found.append(value)
    return [one for one in found if len(one) >= _SHORTEST]


def tokens(cluster: DevelopmentCluster) -> list[str]:
    """Returns the signatures of the service account tokens that lie on the nodes now."""
    found = []
    for node in cluster.layout.nodes:
        first = machines.node_process(node)
        pods = Path(f"/proc/{first}/root/var/lib/kubelet/pods")
        for file in pods.glob("*/volumes/kubernetes.io~projected/*/token"):
            found.append(file.read_text().rpartition(".")[2])
    return found
