"""One copy only, whatever dies in between, and what happens when a node is silent."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.domain import errors, ids, volumes
from mooring.planning import placement, sizes
from mooring.volumes.fleet import surveys, tombstones
from support.fake_nodes import GIB, FakeNode, FakeNodes
from support.fleet_world import World, ask, only


@pytest.fixture
def world() -> World:
    return World()


def test_the_node_with_most_room_gets_it_and_a_retry_the_same(world):
    first = world.fleet.create_volume(ask())
    assert first.node == "node-b"
    world.b.size_bytes = GIB  # no room any more: a new choice would fall on node-a
    assert world.restart().create_volume(ask()).node == "node-b"
    assert world.copies() == 1


def test_killed_between_intent_and_call_a_retry_makes_one_volume_on_that_node(world):
    class KilledError(BaseException):
        pass

    class DyingNode(FakeNode):
        def create_volume(self, spec):
            raise KilledError

    alive, world.b = world.b, DyingNode("node-b", size_bytes=200 * GIB)
    world.nodes = FakeNodes(world.a, world.b)
    with pytest.raises(KilledError):
        world.restart().create_volume(ask())
    assert world.catalogue.entry(ids.volume_id_for("pvc-1")).node == "node-b"

    world.nodes, world.b = FakeNodes(world.a, alive), alive
    alive.size_bytes = 50 * GIB  # node-a has more room now, and must not be chosen
    assert world.restart().create_volume(ask()).node == "node-b"
    assert (len(world.a.volumes), len(alive.volumes)) == (0, 1)


def test_a_lost_answer_is_unreachable_and_the_retry_finds_the_volume(world):
    world.b.loses_answers = True
    with pytest.raises(errors.Unreachable):
        world.fleet.create_volume(ask())
    assert world.copies() == 1
    world.b.silent = True
    with pytest.raises(errors.Unreachable):  # never reached now, but the first call acted
        world.fleet.create_volume(ask())
    assert world.catalogue.entry(ids.volume_id_for("pvc-1")) is not None
    world.b.silent = world.b.loses_answers = False
    world.fleet.create_volume(ask())
    assert world.copies() == 1


def test_a_node_that_was_never_reached_loses_the_intent(world):
    class GoneAfterOffering(FakeNode):
        def create_volume(self, spec):
            raise errors.NeverReached("no answer")

    world.nodes = FakeNodes(world.a, GoneAfterOffering("node-b", size_bytes=200 * GIB))
    fleet = world.restart()
    with pytest.raises(errors.SpaceExhausted, match="nothing was created"):
        fleet.create_volume(ask())
    assert world.catalogue.entries() == []
    assert fleet.create_volume(ask(topology=only("node-a"))).node == "node-a"


def test_a_full_node_loses_the_intent_so_that_another_can_be_tried(world):
    class Refuses(FakeNode):
        def create_volume(self, spec):
            raise errors.SpaceExhausted("full after all")

    world.nodes = FakeNodes(world.a, Refuses("node-b", size_bytes=200 * GIB))
    fleet = world.restart()
    with pytest.raises(errors.SpaceExhausted):
        fleet.create_volume(ask())
    assert fleet.create_volume(ask(topology=only("node-a"))).node == "node-a"


@pytest.mark.parametrize("silent", ["node-a", "node-b"])
def test_a_silent_node_is_not_chosen(world, silent):
    world.nodes.storage(ids.NodeName(silent)).silent = True
    assert world.fleet.create_volume(ask()).node != silent
    world.a.silent = world.b.silent = True
    with pytest.raises(errors.SpaceExhausted, match="does not answer"):
        world.fleet.create_volume(ask("pvc-2"))


def test_fifty_parallel_calls_make_one_volume(world):
    def create(_):
        try:
            return world.fleet.create_volume(ask()).spec.volume_id
        except errors.Busy:
            return None

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(create, range(50)))
    assert answers <= {ids.volume_id_for("pvc-1"), None}
    assert world.copies() == 1


def test_the_same_name_for_something_else_is_refused(world):
    world.fleet.create_volume(ask())
    for other in (
        ask(required=2 * GIB),
        replace(ask(), size=sizes.SizeRange(limit_bytes=GIB // 2)),
        ask(mode=volumes.VolumeMode.BLOCK),
        ask(filesystem=volumes.FilesystemType.XFS),
        ask(pool=ids.PoolName("other")),
        ask(preallocated=True),
        ask(source=volumes.Source(volume_id=ids.volume_id_for("x"))),
        ask(topology=only("node-a")),
    ):
        with pytest.raises(errors.AlreadyExists):
            world.fleet.create_volume(other)
    assert world.copies() == 1


def test_a_copy_lies_with_its_source_where_it_may_and_there_is_room(world):
    source = world.fleet.create_volume(ask(topology=only("node-a")))
    clone = ask("pvc-2", source=volumes.Source(volume_id=source.spec.volume_id))
    assert world.fleet.create_volume(clone).node == "node-a"
    world.a.size_bytes = GIB // 2
    assert world.fleet.create_volume(replace(clone, name="pvc-3")).node == "node-b"
    world.a.size_bytes = 100 * GIB
    snapshot = world.fleet.create_snapshot(source.spec.volume_id, "s")
    restore = ask("pvc-4", source=volumes.Source(snapshot_id=snapshot.snapshot_id))
    assert world.fleet.create_volume(restore).node == "node-a"
    world.a.silent = True
    with pytest.raises((errors.Unreachable, errors.NotFound)):
        world.fleet.create_volume(replace(restore, name="pvc-5"))


def test_deleting_on_a_silent_node_is_recorded_and_carried_out_on_its_return(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    kept = world.fleet.create_volume(ask("pvc-2", topology=only("node-a")))
    world.report(world.a)
    world.a.silent = True
    for _ in range(2):
        world.fleet.delete_volume(entry.spec.volume_id)
    assert [one.spec.volume_id for one in world.fleet.list_volumes()] == [kept.spec.volume_id]
    with pytest.raises(errors.Busy):
        world.fleet.create_volume(ask(topology=only("node-a")))

    world.a.silent = False
    carried = tombstones.carry_out(world.catalogue, world.a.name, world.a)
    assert carried.volumes == (entry.spec.volume_id,)
    assert list(world.a.volumes) == [kept.spec.volume_id]
    assert [one.spec.volume_id for one in world.catalogue.entries()] == [kept.spec.volume_id]


def test_a_returning_node_refuses_to_delete_what_is_mounted(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    world.a.silent = True
    world.fleet.delete_volume(entry.spec.volume_id)
    world.a.silent = False
    world.a.in_use.add(entry.spec.volume_id)
    carried = tombstones.carry_out(world.catalogue, world.a.name, world.a)
    assert carried.volumes == ()
    assert carried.refused == (f"{entry.spec.volume_id} is mounted",)
    assert list(world.a.volumes) == [entry.spec.volume_id]
    world.a.in_use.clear()
    assert tombstones.carry_out(world.catalogue, world.a.name, world.a).volumes


def test_a_node_that_left_the_fleet_blocks_no_deletion(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    world.nodes.remove(world.a)
    world.fleet.delete_volume(entry.spec.volume_id)
    assert world.catalogue.entry(entry.spec.volume_id).deletion_requested


def test_a_volume_in_use_is_not_deleted_and_leaves_no_tombstone(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    world.a.in_use.add(entry.spec.volume_id)
    with pytest.raises(errors.InUse):
        world.fleet.delete_volume(entry.spec.volume_id)
    assert not world.catalogue.entry(entry.spec.volume_id).deletion_requested


def test_deleting_a_snapshot_on_a_silent_node(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    world.report(world.a)
    world.a.silent = True
    world.fleet.delete_snapshot(snapshot.snapshot_id)
    assert world.fleet.list_snapshots() == []
    world.a.silent = False
    assert world.fleet.list_snapshots() == []
    with pytest.raises(errors.NotFound):
        world.fleet.get_snapshot(snapshot.snapshot_id)
    carried = tombstones.carry_out(world.catalogue, world.a.name, world.a)
    assert carried.snapshots == (snapshot.snapshot_id,)
    world.report(world.a)
    assert world.catalogue.entry(entry.spec.volume_id).snapshot_deletions == ()


def test_a_deleted_volumes_entry_stays_while_snapshots_lead_to_it(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    world.fleet.delete_volume(entry.spec.volume_id)
    world.report(world.a)
    assert world.fleet.list_volumes() == []
    assert world.restart().get_snapshot(snapshot.snapshot_id) == snapshot
    world.fleet.delete_snapshot(snapshot.snapshot_id)
    assert world.catalogue.entries() == []


def test_losing_the_catalogue_loses_no_volume(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    world.catalogue = MemoryCatalogue()
    fleet = world.restart()
    assert fleet.get_volume(entry.spec.volume_id).node == "node-a"
    assert [one.spec for one in fleet.list_volumes()] == [entry.spec]
    assert fleet.list_snapshots() == [snapshot]
    fleet.delete_volume(entry.spec.volume_id)
    assert world.copies() == 0


def test_expansion_is_recorded_and_a_silent_node_is_said(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    volume_id = entry.spec.volume_id
    assert world.fleet.expand_volume(volume_id, sizes.SizeRange(3 * GIB)).size_bytes == 3 * GIB
    assert world.catalogue.entry(volume_id).spec.size_bytes == 3 * GIB
    world.report(world.a)
    world.a.silent = True
    with pytest.raises(errors.Unreachable):
        world.fleet.expand_volume(volume_id, sizes.SizeRange(4 * GIB))
    found = world.fleet.get_volume(volume_id)
    assert found.status.condition.abnormal
    assert "node-a does not answer" in found.status.condition.message


def test_capacity_of_a_silent_node_is_nothing(world):
    assert world.fleet.capacity(only("node-a")).available_bytes == 100 * GIB
    assert world.fleet.capacity(placement.Topology()).largest_volume_bytes == 200 * GIB
    world.a.silent = True
    assert world.fleet.capacity(only("node-a")).available_bytes == 0


def test_what_is_in_the_trash_is_nobodys_volume_and_its_name_is_free(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    trashed = world.a.trash(entry.spec.volume_id)
    world.fleet.delete_volume(entry.spec.volume_id)
    world.report(world.a)
    assert world.catalogue.entry(trashed).trashed
    assert world.fleet.list_volumes() == []
    with pytest.raises(errors.NotFound, match="trash"):
        world.fleet.get_volume(trashed)
    anew = world.fleet.create_volume(ask(topology=only("node-a")))
    assert (anew.spec.volume_id, world.copies()) == (entry.spec.volume_id, 2)


def test_a_node_without_the_pool_of_a_volume_cannot_say_that_it_is_gone(world):
    entry = world.fleet.create_volume(ask())
    volume_id, node = entry.spec.volume_id, world.b
    snapshot = world.fleet.create_snapshot(volume_id, "s")
    world.report(node)
    volumes_before, snapshots_before = node.volumes, node.snapshots
    node.pool, node.volumes, node.snapshots = ids.PoolName("other"), {}, {}
    world.report(node)
    for delete in (
        lambda: world.fleet.delete_snapshot(snapshot.snapshot_id),
        lambda: world.fleet.delete_volume(volume_id),
    ):
        with pytest.raises(errors.PreconditionFailed, match="no pool main any more"):
            delete()
    shown = world.fleet.get_volume(volume_id)
    assert "no pool main any more" in shown.status.condition.message
    assert [one.snapshot_id for one in shown.snapshots] == [snapshot.snapshot_id]

    world.catalogue.request_deletion(volume_id)
    carried = tombstones.carry_out(world.catalogue, node.name, node)
    assert not carried.volumes
    assert "no pool main any more" in carried.refused[0]

    node.pool, node.volumes, node.snapshots = ids.PoolName("main"), volumes_before, snapshots_before
    assert tombstones.carry_out(world.catalogue, node.name, node).volumes == (volume_id,)


def test_what_was_never_made_for_want_of_its_pool_can_be_deleted(world):
    spec = replace(world.fleet.create_volume(ask()).spec, pool=ids.PoolName("nowhere"))
    other = replace(spec, volume_id=ids.volume_id_for("pvc-2"), name="pvc-2")
    world.catalogue.reserve(other, world.b.name)
    world.fleet.delete_volume(other.volume_id)
    assert world.catalogue.entry(other.volume_id) is None


def test_a_snapshot_of_a_volume_whose_record_cannot_be_read_is_no_sign_of_its_deletion(world):
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    snapshot = world.fleet.create_snapshot(entry.spec.volume_id, "s")
    record = world.a.volumes.pop(entry.spec.volume_id)
    world.a.damage = "the record cannot be read"
    world.catalogue = MemoryCatalogue()
    fleet = world.restart()
    world.report(world.a)
    fleet.delete_snapshot(ids.snapshot_id_for("other", entry.spec.volume_id))
    assert fleet.get_snapshot(snapshot.snapshot_id) == snapshot
    world.a.damage, world.a.volumes = "", {entry.spec.volume_id: record}
    world.report(world.a)
    assert tombstones.carry_out(world.catalogue, world.a.name, world.a).volumes == ()
    assert fleet.get_volume(entry.spec.volume_id).spec == entry.spec


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_pool_that_fails_or_returns_during_a_report_takes_nothing_away(world, moment):
    """Which is seen in the pools before the volumes are listed, or after it."""
    entry = world.fleet.create_volume(ask(topology=only("node-a")))
    trashed = world.a.trash(entry.spec.volume_id)
    world.report(world.a)
    in_trash = [one for one in world.catalogue.entries() if one.trashed]
    record, listed = world.a.volumes.pop(trashed), world.a.list_volumes

    def list_volumes():
        world.a.damage = "" if moment == "before" else "its disk fails"
        return listed()

    world.a.damage = "its disk fails" if moment == "before" else ""
    world.a.list_volumes = list_volumes
    report = surveys.node_report(world.a)
    tombstones.forget_freed(world.catalogue, in_trash, report)
    world.catalogue.report(world.a.name, report)
    assert world.catalogue.entry(trashed).status.condition.abnormal
    world.a.list_volumes, world.a.damage = listed, ""
    world.a.volumes[trashed] = record
    world.report(world.a)
    assert world.catalogue.entry(trashed).trashed
