"""A claim that says where its data shall be gets it there, whichever node was picked."""

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.api import keys
from mooring.domain import ids
from mooring.planning import placement
from mooring.ports import cluster
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet.claim_placements import ClaimPlacements
from mooring.volumes.fleet.fleet import Fleet
from mooring.volumes.fleet.requests import VolumeRequest
from support.fake_cluster import FakeCluster
from support.fake_nodes import FakeNode, FakeNodes

PICKED = placement.Topology(requisite=(ids.NodeName("node-b"),))


@pytest.fixture
def objects() -> FakeCluster:
    return FakeCluster()


def _made_on(objects: FakeCluster, claim: str = "data", name: str = "pvc-1") -> str:
    nodes = FakeNodes(FakeNode("node-a"), FakeNode("node-b"))
    fleet = Fleet(MemoryCatalogue(), nodes, ThreadLocks(), ClaimPlacements(objects))
    labels = {"namespace": "apps", "claim": claim}
    return fleet.create_volume(VolumeRequest(name, topology=PICKED, labels=labels)).node


def _claim(objects: FakeCluster, **notes: str) -> None:
    body = {"metadata": {"name": "data", "namespace": "apps", "annotations": notes}}
    objects.create(cluster.CLAIMS, body)


def test_it_is_made_where_its_claim_is_bound_to(objects: FakeCluster) -> None:
    _claim(objects, **{keys.PLACEMENT_NODE: "node-a"})
    assert _made_on(objects) == "node-a"


def test_a_claim_that_does_not_say_gets_the_node_that_was_picked(objects: FakeCluster) -> None:
    _claim(objects)
    assert _made_on(objects) == "node-b"


def test_a_claim_that_is_gone_does_not_say(objects: FakeCluster) -> None:
    assert _made_on(objects, "other") == "node-b"
