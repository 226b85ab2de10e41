"""A pool's disk goes to another node and back, and its volumes and their pods follow."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mooring_dev.cluster import lifecycle
from mooring_dev.kubectl import Kubectl, condition
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
POOL = "travelling"
SYSTEM = ("-n", "mooring-system")
SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
_WHERE = "var/lib/mooring/travelling"


class Configuration:
    """mooring-config, with one pool more; the agents are started again with each change."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        found = kubectl.json("get", "configmap", "mooring-config", *SYSTEM)
        self._original: str = found["data"]["agent.yaml"]

    def set(self, nodes: list[str] | None, **others: Any) -> None:
        document = yaml.safe_load(self._original)
        if nodes is not None:
            pool = {"name": POOL, "path": f"/{_WHERE}", "imageSize": "400Mi", "trashRetention": "0"}
            document["pools"].append({**pool, "nodes": nodes})
        self._write(yaml.safe_dump({**document, **others}))

    def restore(self) -> None:
        self._write(self._original)

    def _write(self, text: str) -> None:
        change = json.dumps({"data": {"agent.yaml": text}})
        self._kubectl.run("patch", "configmap", "mooring-config", *SYSTEM, "-p", change)
        self._kubectl.run("rollout", "restart", "daemonset/mooring-csi-node", *SYSTEM)
        self._kubectl.wait_rolled_out("daemonset/mooring-csi-node", "mooring-system")


@pytest.fixture
def configuration(shop: Shop) -> Iterator[Configuration]:
    found = Configuration(shop.kubectl)
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": POOL},
        "provisioner": "csi.mooring.dev",
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": {"pool": POOL, "csi.storage.k8s.io/fstype": "ext4"},
    }
    shop.kubectl.apply(json.dumps(storage_class))
    yield found
    shop.kubectl.run("delete", "storageclass", POOL)
    found.restore()


def disk(shop: Shop, node: str) -> Path:
    """Where a node's part of the pool is on the machine that plays all of them."""
    return lifecycle.node_named(lifecycle.current(), node).folder / _WHERE


def claim(shop: Shop, name: str, **source: Any) -> None:
    spec = {
        "storageClassName": POOL,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "64Mi"}},
        **source,
    }
    shop.create("PersistentVolumeClaim", name, spec, "v1")


def content(shop: Shop, name: str) -> str:
    """What a new pod reads in a claim."""
    shop.pod(name, name, "exec sleep 3600")
    shop.until(f"pod {name}", lambda: shop.running(name))
    return shop.checksum(name)


def pool_nodes(shop: Shop) -> dict[str, str]:
    """What the Pool says of each node."""
    found = shop.kubectl.find("pool", POOL) or {}
    return {one["node"]: one["message"] for one in found.get("status", {}).get("nodes", [])}


def volume_node(shop: Shop, name: str) -> str:
    handle = pv(shop, name)["spec"]["csi"]["volumeHandle"]
    return str(shop.kubectl.json("get", "volume.mooring.dev", handle)["spec"]["node"])


def pv(shop: Shop, name: str) -> dict[str, Any]:
    return shop.kubectl.json("get", "pv", shop.get("pvc", name)["spec"]["volumeName"])


def follows(shop: Shop, name: str, node: str) -> bool:
    """Whether volume, PersistentVolume and claim are all in order on a node."""
    terms = pv(shop, name)["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    on = [one["values"] for term in terms for one in term["matchExpressions"]]
    bound = shop.get("pvc", name)["status"]["phase"] == "Bound"
    return volume_node(shop, name) == node and on == [[node]] and bound


def filled(shop: Shop) -> str:
    """Makes a claim with random bytes and a snapshot of it; returns their checksum."""
    claim(shop, "data")
    command = "dd if=/dev/urandom of=/data/file bs=1M count=16 2>/dev/null && sync && touch /data/x"
    shop.pod("writer", "data", f"{command} && exec sleep 3600")
    shop.until("the writer", lambda: shop.running("writer"))
    shop.until("its file", lambda: "x" in shop.in_pod("writer", "ls /data").split())
    source = {"persistentVolumeClaimName": "data"}
    spec = {"volumeSnapshotClassName": "mooring", "source": source}
    shop.create("VolumeSnapshot", "kept", spec, SNAPSHOT_API)

    def ready() -> Any:
        return shop.get("volumesnapshot", "kept").get("status", {}).get("readyToUse")

    shop.until("the snapshot", ready)
    return shop.checksum("writer")


def refuse_a_copy(shop: Shop, configuration: Configuration) -> None:
    first, second = shop.cluster.node_names
    shutil.copytree(disk(shop, first), disk(shop, second))
    configuration.set([first, second])
    shop.until("the copy to be refused", lambda: "has it now" in pool_nodes(shop).get(second, ""))
    configuration.set([first])
    shutil.rmtree(disk(shop, second))


def move_from_a_dead_node(shop: Shop, configuration: Configuration, expected: str) -> None:
    first, second = shop.cluster.node_names
    uid = pv(shop, "data")["spec"]["claimRef"]["uid"]
    lifecycle.stop_node(first)
    disk(shop, first).rename(disk(shop, second))
    shop.kubectl.run("delete", "node", first)
    configuration.set([second])
    shop.until("the volume on its new node", lambda: follows(shop, "data", second))
    assert pv(shop, "data")["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert pv(shop, "data")["spec"]["claimRef"]["uid"] == uid
    assert content(shop, "data") == expected
    group = SNAPSHOT_API.split("/", maxsplit=1)[0]
    source = {"apiGroup": group, "kind": "VolumeSnapshot", "name": "kept"}
    claim(shop, "restored", dataSource=source)
    assert content(shop, "restored") == expected
    lifecycle.start_node(first)
    shop.kubectl.wait_rolled_out("daemonset/mooring-csi-node", "mooring-system")
    shop.until("the first node to know it no more", lambda: list(pool_nodes(shop)) == [second])


def move_between_running_nodes(shop: Shop, configuration: Configuration, expected: str) -> None:
    first, second = shop.cluster.node_names
    pool_uuid = shop.kubectl.json("get", "pool", POOL)["status"]["nodes"][0]["poolUuid"]
    for name in ("data", "restored"):
        shop.delete("pod", name)
    configuration.set([second], forgetPools=[pool_uuid])
    shop.until("the pool to be let go", lambda: not pool_nodes(shop))
    disk(shop, second).rename(disk(shop, first))
    configuration.set([first])
    for name in ("data", "restored"):
        shop.until(f"{name} back", lambda name=name: follows(shop, name, first))  # type: ignore[misc]
    assert content(shop, "data") == expected


def remove_it(shop: Shop, configuration: Configuration, expected: str) -> None:
    """Taken out of the configuration it serves on, until it is empty."""
    first, _ = shop.cluster.node_names
    configuration.set(None)
    shop.until("what is left in it", lambda: "taken out" in pool_nodes(shop).get(first, ""))
    status = shop.kubectl.json("get", "pool", POOL)
    assert condition(status, "Ready")["reason"] == "Evacuating"
    held = status["status"]["nodes"][0]["held"]
    assert sorted(one["kind"] for one in held) == ["Snapshot", "Volume", "Volume"]
    assert content(shop, "restored") == expected
    for kind, name in (
        *(("pod", one) for one in ("data", "restored")),
        ("volumesnapshot", "kept"),
        *(("pvc", one) for one in ("data", "restored")),
    ):
        shop.delete(kind, name)
    shop.until("the empty pool to be gone", lambda: not pool_nodes(shop))
    assert disk(shop, first).joinpath("pool.img").exists()


def test_a_disk_goes_to_another_node_and_back_with_its_volumes(
    shop: Shop, configuration: Configuration
) -> None:
    configuration.set([shop.cluster.node_names[0]])
    expected = filled(shop)
    refuse_a_copy(shop, configuration)
    move_from_a_dead_node(shop, configuration, expected)
    move_between_running_nodes(shop, configuration, expected)
    remove_it(shop, configuration, expected)
