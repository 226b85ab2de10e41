"""The development cluster itself: it behaves as a real one, and leaves nothing behind."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring_dev.cluster import cgroups, machines
from mooring_dev.cluster.layout import BACKUPS_FOLDER, ClusterLayout, layout_of
from mooring_dev.kubectl import Kubectl, condition
from support.development_cluster import DevelopmentCluster, run_tool, traces

pytestmark = pytest.mark.cluster

WEB_MANIFEST = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: localhost/busybox:dev
          command:
            - sh
            - -c
            - echo started; mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""

PRIVILEGED_MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: mounter}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers:
    - name: mounter
      image: localhost/busybox:dev
      command: [sleep, "3600"]
      securityContext: {privileged: true}
      volumeMounts:
        - {name: dev, mountPath: /dev}
        - {name: kubelet, mountPath: /var/lib/kubelet, mountPropagation: Bidirectional}
        - {name: state, mountPath: /var/lib/mooring, mountPropagation: Bidirectional}
  volumes:
    - {name: dev, hostPath: {path: /dev}}
    - {name: kubelet, hostPath: {path: /var/lib/kubelet}}
    - {name: state, hostPath: {path: /var/lib/mooring}}
"""


def pods_by_node(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """Returns node name to the name of the web pod there."""
    found = kubectl.json("-n", namespace, "get", "pods", "-l", "app=web")["items"]
    return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in found}


def fetch(kubectl: Kubectl, namespace: str, pod: str, url: str) -> str:
    """Fetches a page from inside a pod."""
    fetched = kubectl.run("-n", namespace, "exec", pod, "--", "wget", "-qO-", url)
    return fetched.strip()


@pytest.fixture
def web(kubectl: Kubectl, namespace: str) -> str:
    """A web server on every node, and a Service over them; the namespace's name."""
    kubectl.run("-n", namespace, "apply", "-f", "-", stdin=WEB_MANIFEST)
    kubectl.run("-n", namespace, "rollout", "status", "daemonset/web", "--timeout=60s")
    return namespace


def test_nodes_are_ready(cluster: DevelopmentCluster) -> None:
    for name in cluster.node_names:
        found = cluster.kubectl.json("get", "node", name)
        assert condition(found, "Ready")["status"] == "True"
        assert cluster.on_node(name, "hostname").strip() == name


def test_a_pod_runs_on_each_node_and_pods_reach_each_other(
    cluster: DevelopmentCluster, web: str
) -> None:
    pods = pods_by_node(cluster.kubectl, web)
    assert set(pods) == set(cluster.node_names)
    for source in pods.values():
        for target in pods.values():
            found = cluster.kubectl.json("-n", web, "get", "pod", target)
            url = f"http://{found['status']['podIP']}:8080/"
            assert fetch(cluster.kubectl, web, source, url) == target


def test_service_names_resolve_and_reach_every_pod(cluster: DevelopmentCluster, web: str) -> None:
    pods = pods_by_node(cluster.kubectl, web)
    for source in pods.values():
        seen: set[str] = set()
        for _ in range(40):
            seen.add(fetch(cluster.kubectl, web, source, f"http://web.{web}.svc.cluster.local/"))
            if seen == set(pods.values()):
                break
        assert seen == set(pods.values())


def test_logs_are_served(cluster: DevelopmentCluster, web: str) -> None:
    for pod in pods_by_node(cluster.kubectl, web).values():
        assert cluster.kubectl.run("-n", web, "logs", pod).strip() == "started"


def test_a_privileged_pods_mounts_reach_its_node_and_no_other(
    cluster: DevelopmentCluster, namespace: str
) -> None:
    kubectl = cluster.kubectl
    kubectl.run("-n", namespace, "apply", "-f", "-", stdin=PRIVILEGED_MANIFEST)
    kubectl.run("-n", namespace, "wait", "--for=condition=Ready", "pod/mounter", "--timeout=60s")
    target = "/var/lib/mooring/shown"
    script = f"mkdir -p {target} && mount -t tmpfs shown {target} && touch {target}/file"
    kubectl.run("-n", namespace, "exec", "mounter", "--", "sh", "-c", script)
    assert cluster.on_node("node1", "ls", target).split() == ["file"]
    assert "shown" not in cluster.on_node("node2", "ls", "/var/lib/mooring")
    assert target not in Path("/proc/self/mountinfo").read_text()
    assert kubectl.run("-n", namespace, "exec", "mounter", "--", "ls", "/dev/loop-control")
    kubectl.run("-n", namespace, "exec", "mounter", "--", "umount", target)


def test_the_backups_folder_is_shared_by_all_nodes(cluster: DevelopmentCluster) -> None:
    first, second = cluster.node_names
    cluster.on_node(first, "touch", f"{BACKUPS_FOLDER}/from-first")
    assert "from-first" in cluster.on_node(second, "ls", str(BACKUPS_FOLDER))


SECOND = "second"


@pytest.fixture
def second(cluster: DevelopmentCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterLayout]:
    """The layout of a second cluster beside the shared one, as a second checkout has it; off."""
    monkeypatch.setenv("MOORING_CLUSTER", SECOND)
    layout = layout_of(node_count=1)
    assert layout.key != cluster.layout.key
    run_tool("cluster", "down", cluster=SECOND)
    yield layout
    run_tool("cluster", "down", cluster=SECOND)


def start_second(layout: ClusterLayout) -> None:
    """Starts the second cluster, and on its node a pool in a file with a disk image inside it."""
    run_tool("cluster", "up", "--nodes=1", cluster=SECOND)
    for number, kind in enumerate(("xfs", "btrfs")):
        pool = f"/var/lib/mooring/{kind}"
        script = (
            f"mkdir {pool} && truncate -s 400M {pool}.img && mkfs.{kind} -q {pool}.img"
            f" && mount -o loop {pool}.img {pool} && truncate -s {number + 1}M {pool}/disk.img"
            f" && losetup --find {pool}/disk.img"
        )
        run_tool("cluster", "exec", "node1", "--", "sh", "-c", script, cluster=SECOND)
    assert machines.node_process(layout.node(1)) is not None


def assert_no_trace(before: dict[str, set[str]], kinds_seen: dict[str, set[str]]) -> None:
    """Fails when something that was not there before is left after a short while."""
    for kind in ("loops", "links", "cgroups", "folders", "programs"):
        assert kinds_seen[kind] - before[kind], f"the cluster showed no {kind}: nothing was tested"
    end = time.monotonic() + 10
    left: dict[str, set[str]] = {"unknown": set()}
    while left and time.monotonic() < end:
        now = traces()
        left = {kind: now[kind] - before[kind] for kind in now if now[kind] - before[kind]}
        time.sleep(0.2)
    assert not left


def test_down_leaves_nothing(cluster: DevelopmentCluster, second: ClusterLayout) -> None:
    before = traces()
    start_second(second)
    during = traces()
    run_tool("cluster", "down", cluster=SECOND)
    assert_no_trace(before, during)
    assert condition(cluster.kubectl.json("get", "node", "node1"), "Ready")["status"] == "True"


def test_down_leaves_nothing_after_a_kill(
    cluster: DevelopmentCluster, second: ClusterLayout
) -> None:
    before = traces()
    start_second(second)
    during = traces()
    first_process = machines.cluster_process(second)
    assert first_process is not None
    os.kill(first_process, signal.SIGKILL)
    end = time.monotonic() + 10
    while cgroups.processes(second.cgroup) and time.monotonic() < end:
        time.sleep(0.1)
    assert not cgroups.processes(second.cgroup), "the namespace's end did not end its processes"
    run_tool("cluster", "down", cluster=SECOND)
    assert_no_trace(before, during)


def test_a_node_that_lost_its_power_comes_back(cluster: DevelopmentCluster, web: str) -> None:
    script = (
        "truncate -s 1M /var/lib/mooring/lost.img && losetup -f --show /var/lib/mooring/lost.img"
    )
    device = cluster.on_node("node2", "sh", "-c", script).strip()
    before = cluster.on_node("node2", "cat", "/proc/sys/kernel/random/boot_id")
    run_tool("cluster", "node-stop", "node2")
    assert machines.node_process(cluster.layout.node(2)) is None
    backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
    assert not backing.exists() or "lost.img" not in backing.read_text()
    run_tool("cluster", "node-start", "node2")
    assert cluster.on_node("node2", "cat", "/proc/sys/kernel/random/boot_id") != before
    assert cluster.on_node("node2", "cat", "/var/lib/mooring/lost.img") != ""
    cluster.kubectl.run("-n", web, "rollout", "status", "daemonset/web", "--timeout=60s")
