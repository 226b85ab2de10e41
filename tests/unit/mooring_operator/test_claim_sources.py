"""VolumeClaims that are copies: made once their source is there, on its node, or told why not."""

from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import ids
from mooring.ports import cluster
from mooring_operator import resources, statuses
from support.operator_world import GIB, NAMESPACE, OperatorWorld

_SOURCES = [{"snapshotName": "gone"}, {"volumeClaimName": "gone"}, {"backupName": "gone"}]


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_repository()
    world.make_volume(node=1)
    return world


def ask(world: OperatorWorld, source: dict[str, str], size: str = "1Gi", **spec: Any) -> None:
    body = {"size": size, "source": source, **spec}
    world.apply(resources.VOLUME_CLAIMS, "copy", body)


def ready(world: OperatorWorld) -> dict[str, str]:
    for _ in range(3):
        world.step()
    obj = world.cluster.must_get(resources.VOLUME_CLAIMS, "copy", NAMESPACE)
    return statuses.condition(obj, "Ready")


def take_snapshot(world: OperatorWorld, *, usable: bool = True, handle: str = "") -> None:
    volume_id = next(iter(world.nodes[1].volumes))
    handle = handle or ids.snapshot_id_for("monday", volume_id)
    world.cluster.create(cluster.VOLUME_SNAPSHOT_CONTENTS, {"metadata": {"name": "content"}})
    world.cluster.set_status(
        cluster.VOLUME_SNAPSHOT_CONTENTS, "content", "", {"snapshotHandle": handle}
    )
    body = {"metadata": {"name": "monday", "namespace": NAMESPACE}, "spec": {}}
    world.cluster.create(cluster.VOLUME_SNAPSHOTS, body)
    status = {
        "readyToUse": usable,
        "restoreSize": "1Gi",
        "boundVolumeSnapshotContentName": "content",
        "error": {"message": "the pool is full"},
    }
    world.cluster.set_status(cluster.VOLUME_SNAPSHOTS, "monday", NAMESPACE, status)


@pytest.mark.parametrize("source", _SOURCES)
def test_a_missing_source_is_named_and_no_claim_is_made(
    world: OperatorWorld, source: dict[str, str]
) -> None:
    ask(world, source)
    said = ready(world)
    assert said["reason"] == "SourceNotFound"
    assert "gone" in said["message"]
    assert "copy" not in world.cluster.names(cluster.CLAIMS)
    obj = world.cluster.must_get(resources.VOLUME_CLAIMS, "copy", NAMESPACE)
    assert statuses.condition(obj, "Stalled")["status"] == "True"


@pytest.mark.parametrize("source", [{"snapshotName": "monday"}, {"volumeClaimName": "data"}])
def test_a_copy_goes_where_its_source_is(world: OperatorWorld, source: dict[str, str]) -> None:
    take_snapshot(world)
    ask(world, source)
    assert ready(world)["reason"] == "Provisioning"
    claim = world.cluster.must_get(cluster.CLAIMS, "copy", NAMESPACE)
    assert claim["metadata"]["annotations"][keys.SELECTED_NODE] == "node-2"
    assert "is there" in claim["metadata"]["annotations"][keys.PLACEMENT_REASON]


def test_a_copy_goes_elsewhere_if_that_is_asked_for(world: OperatorWorld) -> None:
    ask(world, {"volumeClaimName": "data"}, placement={"node": "node-1"})
    assert ready(world)["reason"] == "Provisioning"
    claim = world.cluster.must_get(cluster.CLAIMS, "copy", NAMESPACE)
    assert claim["metadata"]["annotations"][keys.SELECTED_NODE] == "node-1"


def test_a_copy_smaller_than_its_source_is_refused(world: OperatorWorld) -> None:
    ask(world, {"volumeClaimName": "data"}, size="512Mi")
    said = ready(world)
    assert (said["reason"], "1Gi" in said["message"]) == ("SizeOutOfRange", True)


def test_an_unready_snapshot_is_waited_for_with_its_reason(world: OperatorWorld) -> None:
    take_snapshot(world, usable=False)
    ask(world, {"snapshotName": "monday"})
    said = ready(world)
    assert said["reason"] == "SourceNotReady"
    assert "the pool is full" in said["message"]


def test_a_snapshot_of_another_driver_is_refused(world: OperatorWorld) -> None:
    take_snapshot(world, handle="somebody-elses")
    ask(world, {"snapshotName": "monday"})
    assert ready(world)["reason"] == "SourceNotUsable"


def test_a_backup_is_waited_for_and_then_copied(world: OperatorWorld) -> None:
    ask(world, {"backupName": "one"})
    assert ready(world)["reason"] == "SourceNotFound"
    world.paused.add("backup")
    world.make_backup()
    world.settle(8)
    assert ready(world)["reason"] == "SourceNotReady"
    world.paused.clear()
    world.settle()
    assert ready(world)["reason"] == "WaitingForFirstPod"
    claim = world.cluster.must_get(cluster.CLAIMS, "copy", NAMESPACE)
    assert claim["spec"]["dataSourceRef"]["kind"] == "Backup"


def test_what_hinders_a_copy_is_shown(world: OperatorWorld) -> None:
    ask(world, {"volumeClaimName": "data"}, size=str(2 * GIB))
    ready(world)
    claim = world.cluster.must_get(cluster.CLAIMS, "copy", NAMESPACE)
    event = {
        "metadata": {"name": "trouble", "namespace": NAMESPACE},
        "involvedObject": {"uid": claim["metadata"]["uid"]},
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": "use a StorageClass with pool fast",
    }
    world.cluster.create(cluster.EVENTS, event)
    assert "use a StorageClass with pool fast" in ready(world)["message"]
