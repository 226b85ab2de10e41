"""Deletions of what the catalogue has lost, while nodes are silent."""

from collections.abc import Callable

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.domain import errors, ids
from mooring.volumes.fleet import tombstones
from support.fleet_world import World, ask, only


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("silent", ["node-a", "node-b"])
def test_what_no_catalogue_has_is_not_called_gone_while_a_node_is_silent(world, silent):
    entry = world.fleet.create_volume(ask(topology=only(silent)))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    node = world.nodes.storage(ids.NodeName(silent))
    node.silent, world.catalogue = True, MemoryCatalogue()
    fleet = world.restart()
    for ask_for in (
        lambda: fleet.delete_volume(entry.spec.volume_id),
        lambda: fleet.delete_snapshot(snapshot.snapshot_id),
        lambda: fleet.get_volume(entry.spec.volume_id),
        lambda: fleet.get_snapshot(snapshot.snapshot_id),
    ):
        with pytest.raises(errors.Unreachable, match=f"{silent}.*kubectl delete node"):
            ask_for()
    node.silent = False
    fleet.delete_snapshot(snapshot.snapshot_id)
    fleet.delete_volume(entry.spec.volume_id)
    assert (world.copies(), len(node.snapshots)) == (0, 0)


def test_what_another_node_has_is_found_past_a_silent_one(world):
    entry = world.fleet.create_volume(ask(topology=only("node-b")))
    world.a.silent, world.catalogue = True, MemoryCatalogue()
    world.restart().delete_volume(entry.spec.volume_id)
    assert world.copies() == 0


def test_a_silent_node_holds_up_no_deletion_of_what_the_catalogue_has(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    world.b.silent = True
    world.fleet.delete_volume(entry.spec.volume_id)
    assert world.copies() == 0


def _falls_silent(world: World, method: str) -> Callable[[], None]:
    """Has a node answer what it has, and nothing that is asked of it then."""
    node, kept = world.a, getattr(world.a, method)

    def silent(*_: object) -> None:
        node.silent = True
        raise errors.NeverReached("no answer")

    setattr(node, method, silent)

    def back() -> None:
        node.silent = False
        setattr(node, method, kept)

    return back


def test_a_deletion_is_recorded_also_of_what_only_its_silent_node_knows(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    world.catalogue = MemoryCatalogue()
    back = _falls_silent(world, "delete_volume")
    world.restart().delete_volume(entry.spec.volume_id)
    back()
    carried = tombstones.carry_out(world.catalogue, world.a.name, world.a)
    assert carried.volumes == (entry.spec.volume_id,)
    assert (world.copies(), world.catalogue.entries()) == (0, [])


@pytest.mark.parametrize("volume_first", [False, True])
def test_so_is_that_of_a_snapshot(world, volume_first):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    if volume_first:
        world.fleet.delete_volume(entry.spec.volume_id)
    world.catalogue = MemoryCatalogue()
    back = _falls_silent(world, "delete_snapshot")
    world.restart().delete_snapshot(snapshot.snapshot_id)
    back()
    carried = tombstones.carry_out(world.catalogue, world.a.name, world.a)
    assert carried.snapshots == (snapshot.snapshot_id,)
    world.report(world.a)
    left = [one.spec.volume_id for one in world.catalogue.entries()]
    assert left == ([] if volume_first else [entry.spec.volume_id])
    assert len(world.a.volumes) == len(left)


def test_a_snapshot_alone_is_too_little_to_record_the_deletion_of_another(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    world.a.volumes.clear()
    world.a.damage, world.catalogue = "the record cannot be read", MemoryCatalogue()
    _falls_silent(world, "delete_snapshot")
    with pytest.raises(errors.Unreachable, match="try again when the node is back"):
        world.restart().delete_snapshot(snapshot.snapshot_id)
    assert world.catalogue.entries() == []
