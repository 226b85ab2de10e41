"""A restore begins with a clone of what its node keeps of the volume, and with no other's bytes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mooring.domain import errors, ids, volumes
from mooring.ports import cluster
from mooring_operator import resources
from support.operator_world import NAMESPACE, OperatorWorld

REPOSITORY = "r" * 32


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.mover_answers["backup"]["repositoryId"] = REPOSITORY
    world.mover_answers["restore"]["bytesReused"] = 7
    world.make_repository()
    world.make_volume()
    world.settle(6)
    world.make_backup("one")
    world.settle()
    return world


def base(world: OperatorWorld) -> ids.SnapshotId:
    (record,) = world.nodes[0].snapshots.values()
    assert record.base is not None
    return record.snapshot_id


def restored(world: OperatorWorld, node: int = 0) -> volumes.Source | None:
    """Restores; returns what the new volume began as."""
    world.make_restore(placement={"node": world.nodes[node].name})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    claim = world.cluster.must_get(cluster.CLAIMS, "restored", NAMESPACE)
    volume_id = ids.volume_id_for(f"pvc-{claim['metadata']['uid']}")
    return world.nodes[node].volumes[volume_id].spec.source


def test_a_volume_is_set_back_on_its_node_from_what_is_there(world: OperatorWorld) -> None:
    assert restored(world) == volumes.Source(snapshot_id=base(world))
    progress = world.status(resources.RESTORES, "back")["progress"]
    assert (progress["bytesReused"], progress["percent"]) == (7, 100)


def test_on_another_node_it_begins_empty(world: OperatorWorld) -> None:
    assert restored(world, node=1) is None


def _found_in_a_repository(world: OperatorWorld) -> None:
    status = world.status(resources.BACKUPS, "one")
    told = {**status, "imported": True}
    world.cluster.set_status(resources.BACKUPS, "one", NAMESPACE, told)


def _of_another_repository(world: OperatorWorld) -> None:
    marked = volumes.BackupBase("f" * 32, "one")
    snapshot_id = base(world)
    snapshots = world.nodes[0].snapshots
    snapshots[snapshot_id] = replace(snapshots[snapshot_id], base=marked)


def _of_another_namespace(world: OperatorWorld) -> None:
    (entry,) = world.catalogue.entries()
    name = entry.spec.volume_id
    world.cluster.patch(resources.VOLUMES, name, {"spec": {"labels": {"namespace": "bank"}}}, "")


def _for_no_backup(world: OperatorWorld) -> None:
    snapshot_id = base(world)
    snapshots = world.nodes[0].snapshots
    snapshots[snapshot_id] = replace(snapshots[snapshot_id], base=None)


def _on_its_way_out(world: OperatorWorld) -> None:
    snapshot_id = base(world)
    snapshots = world.nodes[0].snapshots
    leaving = volumes.SnapshotState.DELETING
    snapshots[snapshot_id] = replace(snapshots[snapshot_id], state=leaving)


@pytest.mark.parametrize(
    "make_it",
    [
        _found_in_a_repository,
        _of_another_repository,
        _of_another_namespace,
        _for_no_backup,
        _on_its_way_out,
    ],
)
def test_nothing_is_shown_that_may_be_somebody_elses(
    world: OperatorWorld, make_it: Callable[[OperatorWorld], None]
) -> None:
    make_it(world)
    assert restored(world) is None


@pytest.mark.parametrize("refusal", [errors.InvalidInput, errors.NotFound, errors.SpaceExhausted])
def test_where_it_cannot_be_a_clone_it_begins_empty(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch, refusal: type[errors.MooringError]
) -> None:
    node = world.nodes[0]
    make = node.create_volume

    def refuse(spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        if spec.source is not None:
            raise refusal("an agent of the release before, or the base has just gone")
        return make(spec)

    monkeypatch.setattr(node, "create_volume", refuse)
    assert restored(world) is None


def test_a_try_that_was_cut_off_goes_on_with_what_it_had_chosen(world: OperatorWorld) -> None:
    node, snapshot_id = world.nodes[0], base(world)
    node.loses_answers = True
    world.make_restore(placement={"node": node.name})
    with pytest.raises(errors.Unreachable):
        world.settle(8)
    node.snapshots[snapshot_id] = replace(node.snapshots[snapshot_id], base=None)
    node.loses_answers = False
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    sources = [record.spec.source for record in node.volumes.values()]
    assert volumes.Source(snapshot_id=snapshot_id) in sources
