"""Volumes of a node that was removed: noted, never acted upon, and only when it is silent."""

from typing import Any

import pytest

from mooring.domain import ids
from mooring.ports import cluster
from mooring.volumes.fleet import surveys
from mooring_operator import lost_nodes, resources, statuses
from support.operator_world import OperatorWorld

LONG_SECONDS = 301.0


class World(OperatorWorld):
    """Two nodes, of which the second has one volume and is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.make_volume("data", node=1)
        self.node = self.nodes[1]
        self.report()

    def report(self) -> None:
        self.catalogue.report(self.node.name, surveys.node_report(self.node))

    def round(self, seconds: float = 0.0) -> dict[str, Any]:
        """Lets time pass and the operator look; returns the Volume's status."""
        self.clock.advance(seconds)
        self.reconcilers[lost_nodes.KIND](lost_nodes.KEY)
        status: dict[str, Any] = self.volume()["status"]
        return status

    def volume(self) -> cluster.Object:
        (found,) = self.cluster.find(resources.VOLUMES)
        return found

    def lost(self) -> str:
        return str(statuses.condition(self.volume(), "Lost").get("status"))

    def remove_node(self) -> None:
        self.cluster.delete(cluster.NODES, self.node.name)
        self.node.silent = True

    def bring_node_back(self) -> None:
        body = {"metadata": {"name": self.node.name}, "spec": {}}
        self.cluster.create(cluster.NODES, body)
        self.node.silent = False


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_noted_while_the_node_is_there_or_merely_silent(world: World) -> None:
    before = world.volume()
    world.node.silent = True
    world.round(LONG_SECONDS)
    assert world.volume() == before


def test_a_removed_node_makes_its_volumes_lost_after_a_while(world: World) -> None:
    world.remove_node()
    assert world.round()["health"] == "Abnormal"
    assert world.round(200)["health"] == "Abnormal"
    assert world.lost() == "False"
    status = world.round(101)
    assert (status["health"], world.lost()) == ("Lost", "True")
    assert f"kubectl mooring forget-node {world.node.name}" in status["message"]
    assert status["state"] == "Ready", "its agent's words stay"
    told = [e for e in world.cluster.find(cluster.EVENTS) if e["reason"] == "Lost"]
    assert [e["type"] for e in told] == ["Warning"]
    before = world.volume()
    world.round(60)
    assert world.volume() == before, "nothing is written at rest"
    (entry,) = world.catalogue.entries()
    assert entry.lost
    assert not entry.gone


def test_an_agent_that_still_reports_or_answers_is_not_lost(world: World) -> None:
    world.remove_node()
    for _ in range(5):
        world.round(200)
        world.node.silent = False
        world.report()
        world.node.silent = True
    world.round(200)
    assert world.lost() == "False"
    world.node.silent = False
    world.round(LONG_SECONDS)
    assert world.lost() == "None", "it answers"


def test_a_report_of_a_lost_one_begins_the_while_anew(world: World) -> None:
    world.remove_node()
    world.round()
    world.round(LONG_SECONDS)
    assert world.lost() == "True"
    world.node.silent = False
    world.report()
    world.node.silent = True
    assert world.volume()["status"]["health"] == "Healthy"
    world.round()
    assert world.lost() == "False"


def test_a_node_that_returns_under_its_name_has_its_volumes_again(world: World) -> None:
    world.remove_node()
    world.round()
    world.round(LONG_SECONDS)
    world.bring_node_back()
    status = world.round()
    assert status["health"] == "Abnormal", "until its agent has said more"
    assert world.lost() == "None"
    world.report()
    status = world.round()
    assert (status["health"], status["message"]) == ("Healthy", "in order")


def test_pools_forget_a_node_that_is_gone_with_all_that_it_had(world: World) -> None:
    def nodes() -> list[str]:
        pool = world.cluster.must_get(resources.POOLS, "default")
        return [entry["node"] for entry in pool["status"]["nodes"]]

    world.remove_node()
    world.round()
    assert nodes() == ["node-1", "node-2"], "it has a volume"
    world.catalogue.drop(ids.parse_volume_id(world.volume()["metadata"]["name"]))
    world.reconcilers[lost_nodes.KIND](lost_nodes.KEY)
    assert nodes() == ["node-1"]


def test_a_deletion_of_a_forgotten_volume_waits_for_nothing(world: World) -> None:
    (volume_id,) = [entry.spec.volume_id for entry in world.catalogue.entries()]
    world.remove_node()
    world.catalogue.forget(ids.parse_volume_id(volume_id))
    world.fleet.delete_volume(volume_id)
    assert world.catalogue.entries() == []
    world.bring_node_back()
    world.report()
    (entry,) = world.catalogue.entries()
    assert not entry.deletion_requested, "its bytes are shown again, and stay"
    assert volume_id in world.node.volumes


def test_a_forgotten_volume_whose_node_returns_is_an_ordinary_one_again(world: World) -> None:
    (volume_id,) = [entry.spec.volume_id for entry in world.catalogue.entries()]
    world.remove_node()
    world.catalogue.forget(volume_id)
    world.bring_node_back()
    world.report()
    (entry,) = world.catalogue.entries()
    assert not entry.forgotten
    world.node.silent = True
    world.fleet.delete_volume(volume_id)
    (entry,) = world.catalogue.entries()
    assert entry.deletion_requested
