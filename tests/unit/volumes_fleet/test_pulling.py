"""A volume whose source lies on another node: what the fleet asks of both, and what it leaves."""

from dataclasses import replace

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.domain import errors, ids, transfers, volumes
from mooring.planning import placement, sizes
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet import requests, surveys, tombstones
from mooring.volumes.fleet.fleet import Fleet
from support.fake_nodes import GIB, FakeNode, FakeNodes

COPY = ids.volume_id_for("pvc-2")


class World:
    """A source volume on node-a, and the clone of it that has to lie on node-b."""

    def __init__(self) -> None:
        self.a, self.b = FakeNode("node-a"), FakeNode("node-b")
        self.nodes = FakeNodes(self.a, self.b)
        self.catalogue = MemoryCatalogue()
        self.fleet = Fleet(self.catalogue, self.nodes, ThreadLocks())
        self.source = self.fleet.create_volume(self.asked("pvc-1", "node-a")).spec.volume_id
        self.clone = self.asked("pvc-2", "node-b", source=volumes.Source(volume_id=self.source))

    def asked(self, name: str, node: str, **fields: object) -> requests.VolumeRequest:
        topology = placement.Topology(requisite=(ids.NodeName(node),))
        return requests.VolumeRequest(
            name,
            sizes.SizeRange(GIB),
            topology=topology,
            **fields,  # type: ignore[arg-type]
        )

    def move_source_to(self, name: str) -> None:
        """The source's node is gone, and its disk is in another one."""
        self.c = FakeNode(name)
        self.c.volumes, self.c.snapshots = self.a.volumes, self.a.snapshots
        self.nodes.remove(self.a)
        self.nodes.add(self.c)
        report = surveys.node_report(self.c)
        adopted = {self.c.pool: (self.a.name,)}
        self.catalogue.report(self.c.name, replace(report, adopted_from=adopted))

    def carry_out(self) -> tombstones.Carried:
        return tombstones.carry_out(self.catalogue, self.a.name, self.a)

    def report(self, node: FakeNode) -> None:
        self.catalogue.report(node.name, surveys.node_report(node))


@pytest.fixture
def world() -> World:
    return World()


def test_a_clone_is_read_from_a_snapshot_of_its_own_that_goes_afterwards(world):
    world.b.pulls_left = 2
    for _ in range(2):
        with pytest.raises(errors.Busy):
            world.fleet.create_volume(world.clone)
    [snapshot_id] = world.a.snapshots
    assert world.a.offers == {(snapshot_id, world.b.name)}
    assert world.carry_out().snapshots == (), "it is needed still"
    for _ in range(2):
        entry = world.fleet.create_volume(world.clone)
        assert (entry.node, entry.spec.source.node) == ("node-b", "node-a")
        assert world.a.snapshots == {}
    assert world.a.calls.count("create_snapshot") == 3, "another freeze after the end"


def test_a_snapshot_is_read_itself_and_stays(world):
    taken = world.fleet.create_snapshot(world.source, "s")
    source = volumes.Source(snapshot_id=taken.snapshot_id)
    assert world.fleet.create_volume(world.asked("pvc-2", "node-b", source=source))
    assert list(world.a.snapshots) == [taken.snapshot_id]


@pytest.mark.parametrize("target_is_silent", [False, True])
def test_deleted_meanwhile_nothing_is_left_at_the_source(world, target_is_silent):
    world.b.pulls_left = 1
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(world.clone)
    world.b.silent = target_is_silent
    world.fleet.delete_volume(COPY)
    assert world.a.snapshots == {}


@pytest.mark.parametrize("end", ["deleted", "forgotten", "whole"])
def test_a_source_that_was_away_at_the_end_cleans_up_by_itself(world, end):
    world.b.pulls_left = 1
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(world.clone)
    assert len(world.a.snapshots) == 1
    world.a.silent = True
    if end == "deleted":
        world.fleet.delete_volume(COPY)
    elif end == "forgotten":
        world.catalogue.drop(COPY)
    else:
        world.b.create_volume(world.catalogue.entry(COPY).spec)
        world.report(world.b)
    world.a.silent = False
    assert len(world.carry_out().snapshots) == 1
    assert world.a.snapshots == {}


def test_a_source_on_a_silent_node_is_an_error_that_says_so_and_leaves_nothing(world):
    world.report(world.a)
    world.a.silent = True
    for _ in range(2):
        with pytest.raises(errors.PreconditionFailed, match=r"node node-a, which does not answer"):
            world.fleet.create_volume(world.clone)
    assert world.catalogue.entry(COPY) is None
    assert world.b.volumes == {}


def test_a_source_that_falls_silent_meanwhile_costs_nothing_that_has_come(world):
    world.b.pulls_left = 1
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(world.clone)
    world.a.silent = True
    with pytest.raises(errors.Unreachable, match="bring node-a back"):
        world.fleet.create_volume(world.clone)
    assert world.catalogue.entry(COPY) is not None
    world.a.silent = False
    assert world.fleet.create_volume(world.clone).node == "node-b"


@pytest.mark.parametrize("of_snapshot", [False, True])
def test_a_source_that_comes_to_another_node_with_its_pool_is_copied_from_there(world, of_snapshot):
    asked = world.clone
    if of_snapshot:
        taken = world.fleet.create_snapshot(world.source, "s")
        source = volumes.Source(snapshot_id=taken.snapshot_id)
        asked = world.asked("pvc-2", "node-b", source=source)
    world.b.pulls_left = 2
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(asked)
    world.move_source_to("node-c")
    with pytest.raises(errors.Busy, match="from node node-a to node-c"):
        world.fleet.create_volume(asked)
    assert world.catalogue.entry(COPY) is None
    assert world.b.volumes == {}
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(asked)
    assert {name for name, _ in world.c.offers} == set(world.c.snapshots)
    entry = world.fleet.create_volume(asked)
    assert (entry.node, entry.spec.source.node) == ("node-b", "node-c")
    assert len(world.c.snapshots) == int(of_snapshot), "only what a user took stays"


def test_a_copy_whose_target_is_away_too_is_taken_back_later(world):
    world.b.pulls_left = 1
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(world.clone)
    world.move_source_to("node-c")
    world.b.silent = True
    with pytest.raises(errors.Unreachable):
        world.fleet.create_volume(world.clone)
    assert world.catalogue.entry(COPY) is not None, "the target has something of it"


def test_what_no_retry_mends_is_taken_back_on_both_nodes(world):
    def full(spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        raise errors.SpaceExhausted(f"no room for {spec.volume_id}")

    world.b.create_volume = full
    with pytest.raises(errors.SpaceExhausted):
        world.fleet.create_volume(world.clone)
    assert world.a.snapshots == {}
    assert world.catalogue.entry(COPY) is None


def test_the_name_of_a_copys_snapshot_is_nobody_elses(world):
    with pytest.raises(errors.InvalidInput):
        world.fleet.create_snapshot(world.source, transfers.snapshot_name(COPY))
