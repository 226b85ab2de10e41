"""What movers tolerate: what was decided of the one node that they can run on, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest

from mooring.api import keys
from mooring.ports import cluster
from mooring_operator import resources
from support.fake_foreign_driver import FakeForeignDriver
from support.operator_world import NAMESPACE, RECOVERY_KEY, OperatorWorld

CORDONED = "node.kubernetes.io/unschedulable"
PRESSED = "node.kubernetes.io/disk-pressure"


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_repository()
    world.make_volume()
    for node in world.nodes:
        taints = [{"key": "for", "value": node.name, "effect": "NoSchedule"}]
        taints += [{"key": key, "effect": "NoSchedule"} for key in (CORDONED, PRESSED)]
        world.cluster.patch(cluster.NODES, node.name, {"spec": {"taints": taints}})
    return world


def label(world: OperatorWorld, node: str, **labels: str) -> None:
    world.cluster.patch(cluster.NODES, node, {"metadata": {"labels": labels}})


def tolerated(world: OperatorWorld) -> Iterator[tuple[str, str]]:
    """Yields key and value of what the only mover tolerates."""
    (job,) = world.cluster.find(cluster.JOBS, NAMESPACE)
    for entry in job["spec"]["template"]["spec"].get("tolerations", []):
        yield entry["key"], entry.get("value", "")


def on(node: str) -> list[tuple[str, str]]:
    return [(CORDONED, ""), ("for", node)]


def test_a_volume_on_a_cordoned_node_is_backed_up(world: OperatorWorld) -> None:
    world.settle(6)
    world.paused.add("backup")
    world.make_backup()
    world.settle()
    assert list(tolerated(world)) == on("node-1")


def test_a_restore_onto_a_node_that_was_cordoned_meanwhile_goes_on(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.paused.add("restore")
    world.make_restore(placement={"node": "node-2"})
    world.settle(6)
    assert list(tolerated(world)) == on("node-2")


def test_whoever_opens_a_repository_that_any_node_can_reach_goes_elsewhere(
    world: OperatorWorld,
) -> None:
    world.paused.add("probe")
    world.settle(6)
    assert list(tolerated(world)) == []


def test_a_repository_on_a_claim_is_opened_where_that_is(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_volume("vault", node=1)
    world.paused.add("probe")
    encryption = {"keySecretName": "key", "recoveryKeys": [RECOVERY_KEY]}
    spec = {"directory": {"claimName": "vault"}, "encryption": encryption}
    world.apply(resources.BACKUP_REPOSITORIES, "vault", spec)
    label(world, "node-2", **{keys.TOPOLOGY_NODE: "node-2"})
    world.settle(6)
    assert list(tolerated(world)) == on("node-2")


@pytest.mark.parametrize(
    ("zones", "wanted"),
    [
        ({"node-1": "other", "node-2": "a"}, on("node-2")),
        ({"node-1": "a", "node-2": "a"}, []),
        ({}, []),
    ],
)
def test_another_drivers_volume_that_one_node_alone_can_use(
    world: OperatorWorld, zones: dict[str, str], wanted: Any
) -> None:
    for node, zone in zones.items():
        label(world, node, zone=zone)
    world.settle(6)
    FakeForeignDriver(world).claim()
    world.paused.add("backup")
    world.make_backup("one", claim="disk")
    world.settle()
    assert list(tolerated(world)) == wanted
