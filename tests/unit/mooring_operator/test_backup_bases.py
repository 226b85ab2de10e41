"""What is kept after a backup, and how the next one's mover learns what changed since."""

import json
from typing import Any

import pytest

from mooring.api import keys
from mooring.backup import mover_spec
from mooring.domain import errors, ids, volumes
from mooring.ports import cluster
from mooring_operator import resources
from support.operator_world import NAMESPACE, OperatorWorld

REPOSITORY = "r" * 32


@pytest.fixture
def world() -> OperatorWorld:
    return OperatorWorld.with_volume(REPOSITORY)


def bases(world: OperatorWorld) -> list[volumes.BackupBase | None]:
    return [record.base for record in world.nodes[0].snapshots.values()]


def running(world: OperatorWorld, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Starts a backup; returns its mover's pod and what the mover is told."""
    world.paused.add("backup")
    world.make_backup(name)
    world.settle()
    (job,) = world.cluster.find(cluster.JOBS)
    config = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    return job["spec"]["template"]["spec"], json.loads(config["data"]["spec.json"])


def exposed(world: OperatorWorld) -> list[str]:
    found = world.cluster.find(cluster.PERSISTENT_VOLUMES)
    handles = [volume["spec"]["csi"]["volumeHandle"].partition("/")[0] for volume in found]
    return sorted(handle for handle in handles if handle in ("snapshot", "changes"))


def test_the_snapshot_of_a_backup_is_kept_until_the_next_one_stands(world: OperatorWorld) -> None:
    world.make_backup("one")
    world.settle()
    first = volumes.BackupBase(REPOSITORY, world.backup_id("one"))
    assert bases(world) == [first]
    running(world, "two")
    assert sorted(map(str, bases(world))) == sorted(map(str, [first, None]))
    world.paused.clear()
    world.settle()
    assert bases(world) == [volumes.BackupBase(REPOSITORY, world.backup_id("two"))]
    assert world.status(resources.BACKUPS, "two")["released"] is True
    assert exposed(world) == []
    assert world.nodes[0].calls.count("keep_base") == 2


def test_the_first_mover_reads_everything_and_the_next_is_told_what_changed(
    world: OperatorWorld,
) -> None:
    pod, told = running(world, "one")
    assert exposed(world) == ["snapshot"]
    assert "changes" not in told
    assert not any(volume["name"] == "changes" for volume in pod["volumes"])
    world.paused.clear()
    world.settle()
    pod, told = running(world, "two")
    assert exposed(world) == ["changes", "snapshot"]
    parsed = mover_spec.BackupSpec.model_validate(told)
    assert (str(parsed.changes), parsed.read_everything) == (keys.CHANGES_PATH, False)
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "changes"]
    assert mount == {"name": "changes", "mountPath": "/changes", "readOnly": True}
    claim = next(one for one in pod["volumes"] if one["name"] == "changes")
    assert claim["persistentVolumeClaim"]["readOnly"] is True
    volume = world.cluster.must_get(
        cluster.PERSISTENT_VOLUMES, claim["persistentVolumeClaim"]["claimName"]
    )
    snapshot_id = world.status(resources.BACKUPS, "two")["snapshotId"]
    assert volume["spec"]["csi"]["volumeHandle"] == f"changes/{snapshot_id}"
    assert (volume["spec"]["volumeMode"], volume["spec"]["csi"]["readOnly"]) == ("Filesystem", True)
    assert volume["spec"]["nodeAffinity"]


def test_a_failed_backup_leaves_what_was_kept(world: OperatorWorld) -> None:
    world.make_backup("one")
    world.settle()
    world.failing["backup"] = {"reason": "SpaceExhausted", "message": "no room"}
    world.make_backup("two")
    world.settle()
    assert bases(world) == [volumes.BackupBase(REPOSITORY, world.backup_id("one"))]
    assert exposed(world) == []


def test_where_nothing_can_be_kept_the_snapshot_goes(world: OperatorWorld) -> None:
    world.nodes[0].keeps_no_bases = True
    world.make_backup("one")
    world.settle()
    assert world.nodes[0].snapshots == {}
    assert world.status(resources.BACKUPS, "one")["released"] is True


def test_what_is_kept_may_go_between_two_looks(world: OperatorWorld) -> None:
    world.make_backup("one")
    world.settle()
    world.paused.add("backup")
    world.make_backup("two")
    while "changes" not in exposed(world):
        world.step()
    node = world.nodes[0]
    for snapshot_id, record in list(node.snapshots.items()):
        if record.base is not None:
            del node.snapshots[snapshot_id]
    world.settle()
    world.paused.clear()
    world.settle()
    assert world.succeeded(resources.BACKUPS, "two")["status"] == "True"
    assert bases(world) == [volumes.BackupBase(REPOSITORY, world.backup_id("two"))]
    assert exposed(world) == []


def test_a_backup_that_is_deleted_takes_nothing_along(world: OperatorWorld) -> None:
    world.make_backup("one")
    world.settle()
    kept = bases(world)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == []
    assert bases(world) == kept


def test_a_snapshot_still_in_use_is_kept_later(
    world: OperatorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, keep = [3], world.nodes[0].keep_base

    def keep_base(snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        if busy[0]:
            busy[0] -= 1
            raise errors.InUse("still attached")
        keep(snapshot_id, base)

    monkeypatch.setattr(world.nodes[0], "keep_base", keep_base)
    world.make_backup("one")
    world.settle()
    assert bases(world) == [volumes.BackupBase(REPOSITORY, world.backup_id("one"))]


def test_asked_for_everything_the_mover_compares_with_what_was_kept(
    world: OperatorWorld,
) -> None:
    world.make_backup("one")
    world.settle()
    world.mover_answers["backup"] |= {"reading": "Everything", "readingReason": "nothing told"}
    world.paused.add("backup")
    world.make_backup("two", reading="Everything", bytesPerSecond="50Mi")
    world.settle()
    assert exposed(world) == ["changes", "snapshot"]
    (job,) = world.cluster.find(cluster.JOBS)
    config = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    told = mover_spec.BackupSpec.model_validate_json(config["data"]["spec.json"])
    assert (str(told.changes), told.read_everything) == (keys.CHANGES_PATH, True)
    assert told.bytes_per_second == 50 << 20
    world.paused.clear()
    world.settle()
    status = world.status(resources.BACKUPS, "two")
    assert (status["reading"], status["readingReason"]) == (
        "Everything",
        "spec.reading asks for it",
    )
    assert bases(world) == [volumes.BackupBase(REPOSITORY, world.backup_id("two"))]
    world.mover_answers["backup"] |= {"reading": "Changed", "readingReason": ""}
    world.make_backup("three")
    world.settle()
    status = world.status(resources.BACKUPS, "three")
    assert (status["reading"], "readingReason" in status) == ("Changed", False)
