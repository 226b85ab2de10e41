"""Data that has to get to another node, and nodes that are switched off, come back or do not."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mooring_dev.cluster import addons, lifecycle
from mooring_dev.kubectl import condition
from support import killing
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
COPIED_MEGABYTES = 400
CENTRAL = ("mooring-operator", "mooring-csi-controller")
LOST_AFTER_SECONDS = 60


def _copy(shop: Shop, name: str, source: dict[str, str]) -> None:
    """Asks for a copy of the size of its source, as a claim without a VolumeClaim."""
    spec = {
        "storageClassName": "mooring",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "512Mi"}},
        "dataSource": source,
    }
    shop.create("PersistentVolumeClaim", name, spec, "v1")


def _reader(shop: Shop, claim: str, node: str) -> None:
    """Starts a pod that uses a claim and may run on one node alone."""
    selector = {"kubernetes.io/hostname": node}
    shop.pod(claim, claim, "exec sleep 3600", nodeSelector=selector)


def _copies_under_way(shop: Shop, node: str) -> list[dict[str, Any]]:
    """Returns how far the volumes of a node are whose content still comes from another one."""
    find = "cat $(find /var/lib/mooring -path '*/records/volumes/vol-*.json') 2>&-; true"
    text = shop.cluster.on_node(node, "sh", "-c", find)
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        record, at = decoder.raw_decode(text, at)
        found.append(record["record"].get("pull"))
    return [pull for pull in found if pull]


def test_copies_follow_their_pod_to_the_other_node_though_an_agent_is_killed(shop: Shop) -> None:
    home, other = shop.cluster.node_names
    content = shop.filled(COPIED_MEGABYTES, size="512Mi")
    source = {"persistentVolumeClaimName": "data"}
    spec = {"volumeSnapshotClassName": "mooring", "source": source}
    shop.create("VolumeSnapshot", "point", spec, SNAPSHOT_API)
    group = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "point"}
    victim = lifecycle.node_named(shop.cluster.layout, other)
    for claim, origin in {
        "restored": group,
        "cloned": {"kind": "PersistentVolumeClaim", "name": "data"},
    }.items():
        _copy(shop, claim, origin)
        _reader(shop, claim, other)
        shop.until("the copy to be under way", lambda: _copies_under_way(shop, other))
        (agent,) = killing.processes_on(victim)["agent"]
        os.kill(agent, signal.SIGKILL)
        assert _copies_under_way(shop, other), "it was killed in the middle"
        shop.until(f"pod {claim}", lambda claim=claim: shop.running(claim))
        assert shop.checksum(claim) == content
        assert shop.get("pod", claim)["spec"]["nodeName"] == other
    places = {v["metadata"]["name"]: v["spec"]["node"] for v in shop.volumes()}
    assert sorted(places.values()) == sorted([home, other, other])
    shop.until("the clone's own snapshot to go", lambda: len(_snapshots(shop)) == 1)


def _snapshots(shop: Shop) -> list[str]:
    return [one["name"] for v in shop.volumes() for one in v["status"].get("snapshots", [])]


@contextmanager
def _only(shop: Shop, node: str) -> Iterator[None]:
    """New pods go to one node alone."""
    others = [name for name in shop.cluster.node_names if name != node]
    shop.kubectl.run("cordon", *others)
    try:
        yield
    finally:
        shop.kubectl.run("uncordon", *others)


def _move(shop: Shop, node: str, namespace: str, *deployments: str) -> None:
    """Lets the pods of some deployments start anew on a node, if they are elsewhere."""
    pods = shop.kubectl.json("get", "pods", "-n", namespace)["items"]
    away = {
        name
        for name in deployments
        for pod in pods
        if pod["metadata"]["name"].startswith(f"{name}-") and pod["spec"].get("nodeName") != node
    }
    with _only(shop, node):
        for name in away:
            shop.kubectl.run("rollout", "restart", f"deployment/{name}", "-n", namespace)
        for name in away:
            shop.kubectl.wait_rolled_out(f"deployment/{name}", namespace)


@contextmanager
def _switched_off(shop: Shop, node: str) -> Iterator[None]:
    """A node without power for a while."""
    lifecycle.stop_node(node)
    try:
        yield
    finally:
        lifecycle.start_node(node)


def _volume_of(shop: Shop, claim: str) -> dict[str, Any]:
    """Returns Mooring's record of a claim's volume, or nothing."""
    for one in shop.volumes():
        if one["spec"]["labels"].get("claim") == claim:
            return one
    return {}


def _is_recorded_to_go(shop: Shop, claim: str) -> bool:
    """Whether a claim and its PersistentVolume are gone, and the node is told on its return."""
    volumes = shop.kubectl.json("get", "pv")["items"]
    names = [one["spec"].get("claimRef", {}).get("name") for one in volumes]
    tombstone = bool(_volume_of(shop, claim).get("spec", {}).get("deletionRequested"))
    return not shop.get("pvc", claim) and claim not in names and tombstone


def _mooring(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    kubeconfig = ("--kubeconfig", str(shop.cluster.kubeconfig))
    command = [sys.executable, "-m", "mooring_cli.main", *words, *kubeconfig]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _events(shop: Shop, kind: str, name: str) -> list[str]:
    found = shop.kubectl.json("get", "events", "-n", shop.namespace)["items"]
    about = [(e["involvedObject"]["kind"], e["involvedObject"]["name"], e["reason"]) for e in found]
    return [reason for seen, subject, reason in about if (seen, subject) == (kind, name)]


def test_a_node_without_power_holds_nothing_up_and_returns_with_its_data(shop: Shop) -> None:
    home, other = shop.cluster.node_names
    _move(shop, home, "kube-system", *addons.DEPLOYMENTS)
    _move(shop, other, "mooring-system", *CENTRAL)
    content = shop.filled(8, node=other)
    for claim in ("unused", "held"):
        shop.claim(claim, other, deletionPolicy="Delete")
        shop.until_condition("volumeclaim", claim, "Ready", "True")
    command = "touch /data/file && sync && exec sleep 3600"
    # Without a time to end in, Kubernetes takes it away at once, whatever its node does.
    shop.pod("user", "held", command, terminationGracePeriodSeconds=5)
    shop.until("pod user", lambda: shop.running("user"))
    with _switched_off(shop, other):
        namespace = ("-n", shop.namespace)
        shop.kubectl.run("delete", "vcl", "unused", *namespace, "--wait=false")
        shop.kubectl.run("delete", "pod", "user", *namespace, "--wait=false")
        shop.kubectl.run("delete", "vcl", "held", *namespace, "--wait=false")
        shop.until("a deletion to be answered", lambda: _is_recorded_to_go(shop, "unused"))
        _command_frees(shop, "held", "user")
        away = shop.until_condition("volumeclaim", "data", "Ready", "False")
        assert (away["reason"], other in away["message"]) == ("NodeUnreachable", True)
        shop.create("VolumeClaim", "fresh", {"size": "256Mi"})
        shop.pod("fresh", "fresh", "exec sleep 3600")
        shop.until("a new volume", lambda: shop.running("fresh"))
        assert shop.get("pod", "fresh")["spec"]["nodeName"] == home
    shop.until("the deletions to be carried out", lambda: not _to_be_deleted(shop))
    shop.until("the bytes of one in the trash", lambda: _state(shop, "held") == "Trashed")
    assert not _volume_of(shop, "unused"), "it never held any"
    shop.until("the writer's return", lambda: _restarts(shop, "writer") and shop.running("writer"))
    assert shop.checksum("writer") == content
    shop.until_condition("volumeclaim", "data", "Ready", "True")


def _command_frees(shop: Shop, claim: str, pod: str) -> None:
    """What is said to free a claim that a dead node's pod holds does free it."""

    def said() -> str | None:
        found = condition(shop.get("volumeclaim", claim), "Stalled")
        return found["message"] if found.get("reason") == "NodeUnreachable" else None

    message = shop.until("what holds the claim", said)
    assert "NodeUnreachable" in _events(shop, "PersistentVolumeClaim", claim)
    command = re.search(r"kubectl (delete pod \S+ -n \S+ --force --grace-period=0)", message)
    assert command, message
    assert pod in command[1].split()
    assert shop.get("pvc", claim), "it is held"
    shop.kubectl.run(*command[1].split())
    shop.until("the claim to be free", lambda: _is_recorded_to_go(shop, claim))


def _state(shop: Shop, claim: str) -> str | None:
    found: str | None = _volume_of(shop, claim).get("status", {}).get("state")
    return found


def _to_be_deleted(shop: Shop) -> list[str]:
    return [
        one["metadata"]["name"] for one in shop.volumes() if one["spec"].get("deletionRequested")
    ]


def _restarts(shop: Shop, pod: str) -> int:
    found = shop.get("pod", pod).get("status", {}).get("containerStatuses", [])
    return sum(one["restartCount"] for one in found)


@pytest.fixture
def impatient(shop: Shop) -> Iterator[Shop]:
    """An operator that calls the volumes of a removed node lost as early as it may."""
    operator = ("deployment/mooring-operator", "-n", "mooring-system")
    home = shop.cluster.node_names[0]
    _move(shop, home, "kube-system", *addons.DEPLOYMENTS)
    setting = f"MOORING_LOST_AFTER_SECONDS={LOST_AFTER_SECONDS}"
    with _only(shop, home):
        shop.kubectl.run("set", "env", *operator, setting)
        shop.kubectl.wait_rolled_out(operator[0], "mooring-system")
    _move(shop, home, "mooring-system", *CENTRAL)
    yield shop
    shop.kubectl.run("set", "env", *operator, "MOORING_LOST_AFTER_SECONDS-")
    shop.kubectl.wait_rolled_out(operator[0], "mooring-system")


def test_a_removed_node_is_lost_can_be_forgotten_and_still_returns(impatient: Shop) -> None:
    shop = impatient
    other = shop.cluster.node_names[1]
    content = shop.filled(8, node=other)
    volume_id = _volume_of(shop, "data")["metadata"]["name"]
    refused = _mooring(shop, "forget-node", other, "--yes")
    assert (refused.returncode, f"kubectl delete node {other}" in refused.stderr) == (5, True)
    with _switched_off(shop, other):
        shop.kubectl.run("delete", "node", other)
        refused = _mooring(shop, "forget-node", other, "--yes")
        assert refused.returncode == 5, "its agent may still run"
        shop.until("the volume to be lost", lambda: _health(shop) == "Lost")
        gone = shop.until_condition("volumeclaim", "data", "Ready", "False")
        assert (gone["reason"], "forget-node" in gone["message"]) == ("NodeRemoved", True)
        shop.until("the node's pods to be taken away", lambda: not shop.get("pod", "writer"))
        done = shop.until("the node to be forgotten", lambda: _forgotten(shop, other))
        assert volume_id in done
        for kind in ("vcl", "pvc"):
            shop.delete(kind, "data")
        shop.until("the kept volume to be released", shop.kept)
        shop.let_go()
        shop.until("the volume's object to go", lambda: not shop.volumes())
    shop.until("the volume to be shown again", lambda: _health(shop) == "Healthy")
    assert _volume_of(shop, "data")["metadata"]["name"] == volume_id
    back = _mooring(shop, "undelete", volume_id)
    assert back.returncode == 0, back.stderr
    shop.kubectl.apply(back.stdout.split("---\n")[1])
    shop.pod("reader", "data", "exec sleep 3600")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == content


def _health(shop: Shop) -> str:
    return str(_volume_of(shop, "data").get("status", {}).get("health"))


def _forgotten(shop: Shop, node: str) -> str | None:
    done = _mooring(shop, "forget-node", node, "--yes")
    return done.stdout if done.returncode == 0 else None
