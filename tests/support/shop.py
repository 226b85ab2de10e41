"""A tenant's namespace on the development cluster, and what its users do there."""

import base64
import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from mooring_dev.kubectl import Kubectl, condition
from support.development_cluster import DevelopmentCluster

API = "mooring.dev/v1alpha1"
WAIT_SECONDS = 180.0
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


class Shop:
    """A tenant's namespace under the restricted profile, and what its users do there."""

    def __init__(self, cluster: DevelopmentCluster, namespace: str) -> None:
        self.cluster = cluster
        self.kubectl: Kubectl = cluster.kubectl
        self.namespace = namespace

    def create(self, kind: str, name: str, spec: dict[str, Any], version: str = API) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
        self.kubectl.apply(json.dumps(body))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.kubectl.find(kind, name, "-n", self.namespace) or {}

    def delete(self, kind: str, name: str) -> None:
        self.kubectl.run(
            "delete", kind, name, "-n", self.namespace, "--timeout=120s", timeout_seconds=130
        )

    def key(self, name: str = "key") -> None:
        text = base64.b64encode(secrets.token_bytes(32)).decode()
        self.create_secret(name, {"key": text})

    def create_secret(self, name: str, entries: dict[str, str]) -> None:
        literals = [f"--from-literal={entry}={text}" for entry, text in entries.items()]
        self.kubectl.run("create", "secret", "generic", name, "-n", self.namespace, *literals)

    def repository(self, name: str = "main", key: str = "key") -> None:
        encryption = {"keySecretName": key, "recovery": "None"}
        spec = {"directory": {"folder": "backups"}, "encryption": encryption}
        self.create("BackupRepository", name, spec)

    def claim(self, name: str, node: str, **spec: Any) -> None:
        self.create("VolumeClaim", name, {"size": "256Mi", "placement": {"node": node}, **spec})

    def pod(self, name: str, claim: str, command: str, **more: Any) -> None:
        """Starts a pod with a claim at /data; `more` goes into its spec."""
        security = {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "main",
            "image": "localhost/busybox:dev",
            "command": ["sh", "-c", command],
            "securityContext": security,
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
        spec = {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"fsGroup": 1000},
            "containers": [container],
            "volumes": [volume],
            **more,
        }
        self.create("Pod", name, spec, "v1")

    def in_pod(self, name: str, command: str) -> str:
        return self.kubectl.run("exec", "-n", self.namespace, name, "--", "sh", "-c", command)

    def mounts(self, node: str) -> str:
        return self.cluster.on_node(node, "cat", "/proc/mounts")

    def running(self, pod: str) -> bool:
        return bool(self.get("pod", pod).get("status", {}).get("phase") == "Running")

    def until(self, what: str, seen: Callable[[], Any]) -> Any:
        return self.kubectl.wait_for(what, seen, timeout_seconds=WAIT_SECONDS)

    def until_condition(self, kind: str, name: str, type_: str, status: str) -> dict[str, Any]:
        def seen() -> dict[str, Any] | None:
            found = condition(self.get(kind, name), type_)
            return found if found.get("status") == status else None

        found: dict[str, Any] = self.until(f"{kind} {name} {type_}={status}", seen)
        return found

    def mover(self, role: str) -> dict[str, Any] | None:
        """Returns a running mover's pod."""
        selector = f"mooring.dev/role={role}"
        pods = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", selector)["items"]
        return next((pod for pod in pods if pod["status"]["phase"] == "Running"), None)

    def filled(self, megabytes: int = 64, node: str = "", **spec: Any) -> str:
        """Makes a volume with random bytes in it, once, on the first node if nothing else is said.

        Returns their checksum.
        """
        self.claim("data", node or self.cluster.node_names[0], **spec)
        command = (
            "[ -e /data/done ] || { "
            f"dd if=/dev/urandom of=/data/file bs=1M count={megabytes} 2>/dev/null && sync && "
            "touch /data/done; } && exec sleep 3600"
        )
        self.pod("writer", "data", command)
        self.until("the writer", lambda: self.running("writer"))
        self.until("its file", lambda: "done" in self.in_pod("writer", "ls /data"))
        return self.checksum("writer")

    def checksum(self, pod: str) -> str:
        return self.in_pod(pod, "sha256sum /data/file").split()[0]

    def backup(self, name: str, claim: str = "data", **spec: Any) -> None:
        body = {"source": {"volumeClaimName": claim}, "repositoryName": "main", **spec}
        self.create("Backup", name, body)

    def backed_up(self, name: str = "one", **spec: Any) -> dict[str, Any]:
        self.backup(name, **spec)
        self.until_condition("backup", name, "Succeeded", "True")
        status: dict[str, Any] = self.get("backup", name)["status"]
        return status

    def manifests(self, repository: str = "main") -> list[str]:
        """Returns the points in time that a repository in the list's folder holds."""
        folder = f"/srv/mooring-backups/{self.namespace}/{repository}/manifests"
        found = self.cluster.on_node(self.cluster.node_names[0], "ls", folder)
        return sorted(found.split())

    def volumes(self) -> list[dict[str, Any]]:
        """Returns Mooring's records of this namespace's volumes."""
        found = self.kubectl.json("get", "volumes.mooring.dev")["items"]
        return [v for v in found if v["spec"].get("labels", {}).get("namespace") == self.namespace]

    def kept(self) -> list[dict[str, Any]]:
        """Returns the PersistentVolumes that outlived their claims, and stay."""
        found = self.kubectl.json("get", "pv")["items"]
        return [
            one
            for one in found
            if one["status"]["phase"] == "Released"
            and one["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
            and one["spec"]["claimRef"]["namespace"] == self.namespace
        ]

    def let_go(self) -> None:
        """Has the volumes that outlived their claims deleted, as the pages say."""
        patch = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
        for one in self.kept():
            self.kubectl.run("patch", "pv", one["metadata"]["name"], "-p", patch)

    def leftovers(self) -> list[str]:
        """Returns what movers leave behind when they are not put away; repositories keep theirs."""
        selector = "mooring.dev/role in (backup, changes, source, restore, probe, list, forget)"
        found = []
        for kind in ("jobs", "pods", "configmaps", "pvc"):
            items = self.kubectl.json("get", kind, "-n", self.namespace, "-l", selector)["items"]
            found += [f"{kind} {item['metadata']['name']}" for item in items]
        for volume in self.kubectl.json("get", "pv", "-l", selector)["items"]:
            if volume["spec"]["claimRef"]["namespace"] == self.namespace:
                found.append(f"pv {volume['metadata']['name']}")
        for volume in self.volumes():
            taken = volume.get("status", {}).get("snapshots", [])
            found += [f"snapshot {one['snapshotId']}" for one in taken if "baseOf" not in one]
        return found


@contextlib.contextmanager
def opened(cluster: DevelopmentCluster) -> Iterator[Shop]:
    """A tenant with a key and a repository; everything is deleted at the end, in a user's order."""
    name = f"shop-{secrets.token_hex(3)}"
    kubectl = cluster.kubectl
    kubectl.run("create", "namespace", name)
    kubectl.run("label", "namespace", name, RESTRICTED)
    shop = Shop(cluster, name)
    shop.key()
    shop.repository()
    yield shop
    for kind in (
        *("pods", "restores", "backupschedules", "backups", "volumeclaims"),
        *("backuprepositories", "pvc"),
    ):
        kubectl.run(
            *("delete", kind, "--all", "-n", name, "--timeout=100s", "--grace-period=1"),
            timeout_seconds=110,
        )
    shop.let_go()
    kubectl.run("delete", "namespace", name, "--wait=false")
