"""Backups and restores on real nodes: kubelets, loop devices, movers as restricted pods."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mooring_dev.demo import installing
from mooring_dev.kubectl import Kubectl, condition
from support.development_cluster import DevelopmentCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
API = "mooring.dev/v1alpha1"
WAIT_SECONDS = 180.0
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="session")
def mooring(cluster: DevelopmentCluster) -> DevelopmentCluster:
    """The cluster with Mooring on it, installed as a user would."""
    if cluster.kubectl.find("daemonset", "mooring-csi-node", "-n", "mooring-system") is None:
        installing.install(cluster.kubectl)
    return cluster


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
        literal = f"--from-literal=key={text}"
        self.kubectl.run("create", "secret", "generic", name, "-n", self.namespace, literal)

    def repository(self, name: str = "main", key: str = "key") -> None:
        spec = {"directory": {"folder": "backups"}, "encryption": {"keySecretName": key}}
        self.create("BackupRepository", name, spec)

    def claim(self, name: str, node: str, **spec: Any) -> None:
        self.create("VolumeClaim", name, {"size": "256Mi", "placement": {"node": node}, **spec})

    def pod(self, name: str, claim: str, command: str) -> None:
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
        }
        self.create("Pod", name, spec, "v1")

    def in_pod(self, name: str, command: str) -> str:
        return self.kubectl.run("exec", "-n", self.namespace, name, "--", "sh", "-c", command)

    def mounts(self, node: str) -> str:
        return self.cluster.on_node(node, "cat", "/proc/mounts")

    def running(self, pod: str) -> bool:
        return self.get("pod", pod).get("status", {}).get("phase") == "Running"

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


@pytest.fixture
def shop(mooring: DevelopmentCluster) -> Iterator[Shop]:
    name = f"shop-{secrets.token_hex(3)}"
    mooring.kubectl.run("create", "namespace", name)
    mooring.kubectl.run("label", "namespace", name, RESTRICTED)
    shop = Shop(mooring, name)
    shop.key()
    shop.repository()
    yield shop
    for kind in ("pods", "restores", "backups", "volumeclaims", "backuprepositories", "pvc"):
        mooring.kubectl.run(
            *("delete", kind, "--all", "-n", name, "--timeout=100s", "--grace-period=1"),
            timeout_seconds=110,
        )
    mooring.kubectl.run("delete", "namespace", name, "--wait=false")


def _filled(shop: Shop, megabytes: int = 64) -> str:
    """Makes a volume on the first node with random bytes in it; returns their checksum."""
    shop.claim("data", shop.cluster.node_names[0])
    command = (
        f"dd if=/dev/urandom of=/data/file bs=1M count={megabytes} 2>/dev/null && sync && "
        "touch /data/done && exec sleep 3600"
    )
    shop.pod("writer", "data", command)
    shop.until("the writer", lambda: shop.running("writer"))
    shop.until("its file", lambda: "done" in shop.in_pod("writer", "ls /data"))
    return shop.in_pod("writer", "sha256sum /data/file").split()[0]


def _backed_up(shop: Shop, name: str = "one", **spec: Any) -> dict[str, Any]:
    body = {"source": {"volumeClaimName": "data"}, "repositoryName": "main", **spec}
    shop.create("Backup", name, body)
    shop.until_condition("backup", name, "Succeeded", "True")
    status: dict[str, Any] = shop.get("backup", name)["status"]
    return status


def test_a_pod_waits_for_whole_data_while_its_mover_is_killed(shop: Shop) -> None:
    checksum = _filled(shop)
    status = _backed_up(shop)
    assert status["node"] == shop.cluster.node_names[0]
    assert status["progress"]["bytesStored"] >= 64 << 20
    other = shop.cluster.node_names[1]
    target = {"claimName": "restored", "size": "512Mi"}
    placement = {"node": other}
    shop.create("Restore", "back", {"backupName": "one", "target": target, "placement": placement})
    shop.until("the new claim", lambda: shop.get("pvc", "restored"))
    shop.pod("reader", "restored", "exec sleep 3600")
    mover = shop.until("the mover", lambda: shop.mover("restore"))
    name = mover["metadata"]["name"]
    shop.kubectl.run("delete", "pod", name, "-n", shop.namespace, "--grace-period=0", "--force")
    while condition(shop.get("restore", "back"), "Succeeded").get("status") != "True":
        phase = shop.get("pvc", "restored").get("status", {}).get("phase")
        if shop.running("reader"):
            assert phase == "Bound"
            break
        time.sleep(0.2)
    shop.until_condition("restore", "back", "Succeeded", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.in_pod("reader", "sha256sum /data/file").split()[0] == checksum
    assert shop.get("pod", "reader")["spec"]["nodeName"] == other
    size = int(shop.in_pod("reader", "df -k /data | tail -1 | awk '{print $2}'"))
    assert size > 400_000, "the filesystem grew to the larger claim"


def test_a_mover_sees_its_own_device_and_no_other(shop: Shop) -> None:
    _filled(shop, megabytes=200)
    body = {"source": {"volumeClaimName": "data"}, "repositoryName": "main"}
    shop.create("Backup", "one", body)
    mover = shop.until("the mover", lambda: shop.mover("backup"))
    attempts = {
        "a loop device": "ls /dev/loop*",
        "writing": "printf x > /dev/mooring-volume",
        "mknod": "mknod /tmp/disk b 7 0",
        "a token": "ls /var/run/secrets/kubernetes.io/serviceaccount",
        "other repositories": "ls /repository/.. | grep shop",
        "the image": "touch /usr/x",
    }
    tries = [
        f"({command}) >/dev/null 2>&1 && echo did || echo refused" for command in attempts.values()
    ]
    reading = "head -c 1 /dev/mooring-volume >/dev/null && echo reads"
    # One call, since a mover is soon done.
    script = "; ".join(["id -u", "id -G", reading, *tries])
    answers = shop.in_pod(mover["metadata"]["name"], script).splitlines()
    assert answers[:3] == ["65532", "65532", "reads"]
    assert dict(zip(attempts, answers[3:], strict=True)) == dict.fromkeys(attempts, "refused")
    shop.until_condition("backup", "one", "Succeeded", "True")


def test_an_operator_that_is_killed_goes_on_where_it_was(shop: Shop) -> None:
    _filled(shop)
    body = {"source": {"volumeClaimName": "data"}, "repositoryName": "main"}
    shop.create("Backup", "one", body)
    shop.until("its beginning", lambda: shop.get("backup", "one").get("status", {}).get("node"))
    shop.kubectl.run(
        *("delete", "pod", "-n", "mooring-system", "-l", "app.kubernetes.io/component=operator"),
        *("--grace-period=0", "--force"),
    )
    shop.until_condition("backup", "one", "Succeeded", "True")
    shop.until("everything put away", lambda: shop.get("backup", "one")["status"].get("released"))
    jobs = shop.kubectl.json("get", "jobs", "-n", shop.namespace)["items"]
    assert [job["metadata"]["name"] for job in jobs if "backup" in job["metadata"]["name"]] == []


def test_bytes_go_only_when_told_and_a_wrong_key_opens_nothing(shop: Shop) -> None:
    _filled(shop, megabytes=4)
    kept = _backed_up(shop, "kept")["backupId"]
    gone = _backed_up(shop, "gone", deletionPolicy="Delete")["backupId"]
    shop.delete("backup", "kept")
    shop.delete("backup", "gone")
    folder = f"/srv/mooring-backups/{shop.namespace}/main"
    files = shop.cluster.on_node(shop.cluster.node_names[0], "find", folder, "-type", "f")
    assert f"manifests/{kept}" in files
    assert f"manifests/{gone}" not in files
    shop.delete("backuprepository", "main")
    shop.key("other")
    shop.repository(key="other")
    ready = shop.until_condition("backuprepository", "main", "Stalled", "True")
    assert ready["reason"] == "WrongKey"


def test_a_missing_key_and_a_missing_claim_say_what_to_do(shop: Shop) -> None:
    shop.repository("keyless", key="nowhere")
    stalled = shop.until_condition("backuprepository", "keyless", "Stalled", "True")
    assert stalled["reason"] == "KeyMissing"
    assert "kubectl" in stalled["message"]
    spec = {"directory": {"claimName": "nowhere"}, "encryption": {"keySecretName": "key"}}
    shop.create("BackupRepository", "claimless", spec)
    stalled = shop.until_condition("backuprepository", "claimless", "Stalled", "True")
    assert stalled["reason"] == "ClaimNotFound"


def test_a_claim_grows_with_its_next_pod_at_the_latest(shop: Shop) -> None:
    checksum = _filled(shop, megabytes=4)
    patch = json.dumps({"spec": {"size": "320Mi"}})
    shop.kubectl.run("patch", "vcl", "data", "-n", shop.namespace, "--type=merge", "-p", patch)
    shop.until(
        "the volume to grow",
        lambda: condition(shop.get("volumeclaim", "data"), "Ready").get("reason") == "Growing",
    )
    shop.delete("pod", "writer")
    # Where ext4 cannot grow while mounted (no CAP_SYS_RESOURCE), it grows at its next mount.
    home = shop.cluster.node_names[0]
    volume = shop.get("pvc", "data")["spec"]["volumeName"]
    shop.until("its unmounting", lambda: volume not in shop.mounts(home))
    shop.until("no stage of it", lambda: "globalmount" not in shop.mounts(home))
    shop.pod("reader", "data", "exec sleep 3600")
    shop.until(
        "its new size",
        lambda: shop.get("volumeclaim", "data")["status"].get("capacity") == "320Mi",
    )
    shop.until_condition("volumeclaim", "data", "Ready", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.in_pod("reader", "sha256sum /data/file").split()[0] == checksum
    size = int(shop.in_pod("reader", "df -k /data | tail -1 | awk '{print $2}'"))
    assert size > 280_000
