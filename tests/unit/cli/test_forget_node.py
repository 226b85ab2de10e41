"""`mooring forget-node` against a cluster in memory."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from mooring.adapters.kubernetes import volume_catalogue
from mooring.api import keys
from mooring.domain import ids, volumes
from mooring.ports import cluster
from mooring.volumes.fleet.farewell import Farewell
from mooring_cli import compose
from support.fake_cluster import FakeCluster

NODE = ids.NodeName("node-b")
CLAIMED, KEPT, LOOSE = (ids.volume_id_for(f"pvc-{name}") for name in ("claimed", "kept", "loose"))


class World:
    """Three lost volumes of a removed node, two of which have PersistentVolumes, and another's."""

    def __init__(self, run: Callable[..., tuple[int, str, str]]) -> None:
        self.objects = FakeCluster()
        self.catalogue = volume_catalogue.KubernetesCatalogue(self.objects)
        self.run = run
        for name in ("claimed", "kept", "loose"):
            self._volume(f"pvc-{name}", NODE)
        self._volume("pvc-other", ids.NodeName("node-a"))
        self._persistent_volume("pvc-claimed", CLAIMED, "Delete")
        self._persistent_volume("pvc-kept", KEPT, "Retain")
        self.catalogue.request_deletion(LOOSE)
        for volume_id in (CLAIMED, KEPT, LOOSE):
            self.set_health(volume_id, "Lost")

    def _volume(self, csi_name: str, node: ids.NodeName) -> None:
        volume_id = ids.volume_id_for(csi_name)
        spec = volumes.VolumeSpec(volume_id, csi_name, ids.PoolName("fast"), 1 << 30)
        self.catalogue.reserve(spec, node)

    def _persistent_volume(self, name: str, volume_id: ids.VolumeId, policy: str) -> None:
        spec = {
            "csi": {"driver": keys.DRIVER, "volumeHandle": volume_id},
            "claimRef": {"namespace": "shop", "name": name.removeprefix("pvc-")},
            "persistentVolumeReclaimPolicy": policy,
        }
        self.objects.create(cluster.PERSISTENT_VOLUMES, {"metadata": {"name": name}, "spec": spec})

    def set_health(self, volume_id: ids.VolumeId, health: str) -> None:
        self.objects.set_status(volume_catalogue.VOLUMES, volume_id, "", {"health": health})

    def farewell(self, kubeconfig: str | None, context: str | None) -> Farewell:
        del kubeconfig, context
        return Farewell(self.catalogue, self.catalogue, self.objects)

    def unchanged(self) -> bool:
        found = self.catalogue.entries()
        return len(found) == 4 and not any(entry.forgotten for entry in found)


@pytest.fixture
def world(mooring: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(partial(mooring, "forget-node"))
    monkeypatch.setattr(compose, "open_farewell", world.farewell)
    return world


def test_without_yes_it_only_shows_what_would_be_forgotten(world: World) -> None:
    code, out, _ = world.run(NODE)
    assert code == 0
    assert all(volume_id in out for volume_id in (CLAIMED, KEPT, LOOSE))
    assert ids.volume_id_for("pvc-other") not in out
    assert f"kubectl mooring forget-node {NODE} --yes" in out
    assert world.unchanged()


def test_with_yes_what_has_a_volume_is_marked_and_the_rest_goes(world: World) -> None:
    code, out, _ = world.run(NODE, "--yes")
    assert code == 0
    assert "kubectl delete pvc claimed -n shop\n" in out
    assert "kubectl delete pvc kept -n shop; kubectl delete pv pvc-kept\n" in out
    left = {entry.spec.volume_id: entry.forgotten for entry in world.catalogue.entries()}
    assert left == {CLAIMED: True, KEPT: True, ids.volume_id_for("pvc-other"): False}
    world.objects.delete(cluster.PERSISTENT_VOLUMES, "pvc-kept")
    code, out, _ = world.run(NODE, "--yes", "--output", "json")
    assert code == 0
    assert [row["volume"] for row in json.loads(out)] == sorted([CLAIMED, KEPT])
    assert world.catalogue.entry(KEPT) is None


def test_a_node_that_is_there_is_not_forgotten(world: World) -> None:
    world.objects.create(cluster.NODES, {"metadata": {"name": NODE}})
    code, _, err = world.run(NODE, "--yes")
    assert code == 5
    assert f"kubectl delete node {NODE}" in err
    assert world.unchanged()


def test_a_node_whose_agent_runs_or_may_run_is_not_forgotten(world: World) -> None:
    world.set_health(KEPT, "Healthy")
    code, _, err = world.run(NODE, "--yes")
    assert code == 5
    assert f"1 of 3 volumes on node {NODE} are not Lost yet, such as {KEPT}" in err
    world.set_health(KEPT, "Lost")
    labels = {keys.NAME: keys.NAME_VALUE, keys.COMPONENT: keys.COMPONENT_NODE}
    metadata = {"name": "mooring-csi-node-x", "namespace": keys.NAMESPACE, "labels": labels}
    world.objects.create(cluster.PODS, {"metadata": metadata, "spec": {"nodeName": NODE}})
    code, _, err = world.run(NODE, "--yes")
    assert code == 5
    assert "pod mooring-csi-node-x" in err
    assert world.unchanged()


def test_a_node_without_volumes_leaves_nothing_to_forget(world: World) -> None:
    code, out, _ = world.run("node-z", "--yes")
    assert code == 0
    assert "nothing to forget" in out
    assert world.unchanged()
