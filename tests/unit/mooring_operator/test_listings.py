"""An empty cluster, and a repository that holds backups: they are shown as Backup objects."""

import json
from typing import Any

import pytest

from mooring.api import keys
from mooring.ports import cluster
from mooring_operator import resources, statuses
from mooring_operator.work_queue import Key
from support.operator_world import GIB, NAMESPACE, OperatorWorld

REPOSITORIES = resources.BACKUP_REPOSITORIES


def entry(number: int, **changes: Any) -> dict[str, Any]:
    claim = {
        "metadata": {"name": "data", "namespace": NAMESPACE, "labels": {"app": "pg"}},
        "spec": {"storageClassName": "mooring", "accessModes": ["ReadWriteOnce"]},
    }
    return {
        "backupId": f"bk-{number:03}",
        "volumeUid": "vol-1",
        "claimName": "data",
        "namespace": NAMESPACE,
        "volumeMode": "Filesystem",
        "storageClassName": "mooring",
        "filesystem": "ext4",
        "sectorSizeBytes": 4096,
        "consistency": "Filesystem",
        "pointInTime": f"2026-01-01T00:{number % 60:02}:00+00:00",
        "finishedAt": "2026-01-01T02:00:00+00:00",
        "parent": None,
        "bytesTotal": GIB,
        "bytesRead": 5,
        "bytesSent": 4,
        "bytesStored": 3,
        "durationSeconds": 1.0,
        "manifests": {
            "persistentVolumeClaim": claim,
            "backup": {"metadata": {"name": f"pg-{number}", "namespace": NAMESPACE}},
        },
        **changes,
    }


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.held = [entry(number) for number in range(3)]
    world.mover_answers["probe"] |= {"backups": 3}
    return world


def listing(world: OperatorWorld) -> dict[str, Any]:
    found: dict[str, Any] = world.status(REPOSITORIES, "main")["listing"]
    return found


def test_what_was_suspect_still_is(world: OperatorWorld) -> None:
    said = {"message": "a byte differs", "placeCount": 1, "fresh": True, "holds": ["bk-000"]}
    world.held = [entry(0, suspect=None), entry(1, suspect=said)]
    world.make_repository()
    world.settle(12)
    found = [
        statuses.condition(backup, "Suspect").get("status")
        for backup in world.cluster.find(resources.BACKUPS, NAMESPACE)
    ]
    assert found == [None, "True"]
    assert world.status(resources.BACKUPS, "pg-1")["suspect"] == said


def test_backups_come_back_as_objects_and_nothing_is_run(world: OperatorWorld) -> None:
    world.make_repository()
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == ["pg-0", "pg-1", "pg-2"]
    assert world.ended == ["probe", "list"]
    assert world.cluster.names(cluster.JOBS) == []
    status = world.status(resources.BACKUPS, "pg-1")
    assert (status["imported"], status["backupId"]) == (True, "bk-001")
    assert (status["claimName"], status["size"]) == ("data", "1Gi")
    assert status["snapshotTime"] == "2026-01-01T00:01:00Z"
    assert status["manifests"]["persistentVolumeClaim"]["metadata"]["labels"] == {"app": "pg"}
    assert world.succeeded(resources.BACKUPS, "pg-1")["reason"] == "Imported"
    assert (listing(world)["done"], listing(world)["imported"]) == (True, 3)
    repository = world.cluster.must_get(REPOSITORIES, "main", NAMESPACE)
    assert statuses.condition(repository, "Ready")["status"] == "True"


def test_an_imported_backup_is_restored_by_its_name(world: OperatorWorld) -> None:
    world.make_repository()
    world.settle(12)
    world.make_restore(backupName="pg-2", placement={"node": "node-2"})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    assert world.status(resources.RESTORES, "back")["backupId"] == "bk-002"


def test_many_pages_are_read_some_objects_at_a_look(world: OperatorWorld) -> None:
    world.held = [entry(number) for number in range(70)]
    world.page_size = 30
    world.make_repository()
    created: list[int] = []
    for _ in range(40):
        before = len(world.cluster.names(resources.BACKUPS))
        world.step()
        world.play()
        created.append(len(world.cluster.names(resources.BACKUPS)) - before)
        world.clock.advance(1)
    assert len(world.cluster.names(resources.BACKUPS)) == 70
    assert max(created) == 25
    assert world.ended.count("list") == 3
    assert listing(world)["imported"] == 70


def test_a_kill_at_any_call_leaves_each_backup_once(world: OperatorWorld) -> None:
    world.held = [entry(number) for number in range(30)]
    world.page_size = 20
    world.make_repository()
    world.settle(4)
    for number in range(400):
        world.cut_short(Key("BackupRepository", NAMESPACE, "main"), number % 40 + 1)
        world.play()
    world.settle(6)
    ids = [b["status"]["backupId"] for b in world.cluster.find(resources.BACKUPS)]
    assert sorted(ids) == [held["backupId"] for held in world.held]
    assert "backup" not in world.ended


def test_a_deleted_object_keeps_its_bytes_and_stays_away_until_asked(world: OperatorWorld) -> None:
    world.make_repository()
    world.settle(12)
    world.cluster.delete(resources.BACKUPS, "pg-1", NAMESPACE)
    world.settle()
    world.clock.advance(3601)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == ["pg-0", "pg-2"]
    assert "forget" not in world.ended
    change = {"metadata": {"annotations": {keys.LIST: "again"}}}
    world.cluster.patch(REPOSITORIES, "main", change, NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == ["pg-0", "pg-1", "pg-2"]
    assert (listing(world)["imported"], listing(world)["request"]) == (1, "again")


def test_a_backup_made_here_is_not_shown_twice(world: OperatorWorld) -> None:
    world.held = []
    world.mover_answers["probe"] |= {"backups": 0}
    world.make_volume()
    world.make_repository()
    world.settle(6)
    world.make_backup()
    world.settle()
    made = world.status(resources.BACKUPS, "one")["backupId"]
    world.held = [entry(0, backupId=made)]
    change = {"metadata": {"annotations": {keys.LIST: "now"}}}
    world.cluster.patch(REPOSITORIES, "main", change, NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == ["one"]
    assert (listing(world)["done"], listing(world)["imported"]) == (True, 0)


def test_a_name_that_is_taken_gives_way_to_the_id(world: OperatorWorld) -> None:
    world.make_volume()
    world.make_backup("pg-1", repositoryName="elsewhere")
    world.make_repository()
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == ["bk-001", "pg-0", "pg-1", "pg-2"]
    assert "backupId" not in world.status(resources.BACKUPS, "pg-1")


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "bank"},
        {"claimName": "../x"},
        {"claimName": None},
        {"backupId": "UPPER"},
        {"bytesTotal": -1},
        {"bytesTotal": 1 << 70},
        {"volumeMode": "Odd"},
        {"pointInTime": "yesterday"},
        {"manifests": []},
    ],
    ids=str,
)
def test_what_is_no_backup_of_this_namespace_is_left_out(
    world: OperatorWorld, change: dict[str, Any]
) -> None:
    world.held = [entry(0), entry(1, **change), entry(2)]
    world.make_repository()
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == ["pg-0", "pg-2"]
    assert (listing(world)["done"], listing(world)["skipped"]) == (True, 1)


def test_backups_of_a_namespace_with_another_name_are_shown_when_asked_for(
    world: OperatorWorld,
) -> None:
    world.held = [entry(0, namespace="shop-of-old"), entry(1)]
    world.make_repository()
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == ["pg-1"]
    notes = {keys.LIST_NAMESPACE: "shop-of-old", keys.LIST: "again"}
    world.cluster.patch(REPOSITORIES, "main", {"metadata": {"annotations": notes}}, NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == ["pg-0", "pg-1"]
    assert world.cluster.must_get(resources.BACKUPS, "pg-0", NAMESPACE)


def test_a_log_that_was_cut_off_makes_nothing_and_is_read_again(world: OperatorWorld) -> None:
    world.make_repository()
    world.paused.add("list")
    world.settle(8)
    (pod,) = [name for name in world.cluster.names(cluster.PODS) if "list" in name]
    whole = world.cluster.log_tail(pod, NAMESPACE, lines=99)
    world.cluster.set_log(pod, NAMESPACE, "\n".join(whole.splitlines()[1:]))
    world.paused.clear()
    world.settle(6)
    assert world.cluster.names(resources.BACKUPS) == []
    assert "not whole" in listing(world)["message"]
    world.clock.advance(61)
    world.settle(10)
    assert len(world.cluster.names(resources.BACKUPS)) == 3
    assert "message" not in listing(world)


def test_a_listing_that_fails_says_why_and_the_repository_stays_ready(
    world: OperatorWorld,
) -> None:
    world.failing["list"] = {"reason": "Unreachable", "message": "the store does not answer"}
    world.make_repository()
    world.settle(12)
    assert "the store does not answer" in listing(world)["message"]
    repository = world.cluster.must_get(REPOSITORIES, "main", NAMESPACE)
    assert statuses.condition(repository, "Ready")["status"] == "True"
    world.failing.clear()
    world.clock.advance(61)
    world.settle(10)
    assert listing(world)["imported"] == 3


def test_after_an_update_what_was_deleted_before_does_not_come_back(world: OperatorWorld) -> None:
    world.make_repository()
    before = {"repositoryId": "r" * 32, "probed": "1", "lastCheckTime": "2020-01-01T00:00:00Z"}
    world.cluster.set_status(REPOSITORIES, "main", NAMESPACE, before)
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == []
    assert listing(world) == {"done": True}


def test_a_repository_that_goes_takes_its_listing_along(world: OperatorWorld) -> None:
    world.make_repository()
    world.paused.add("list")
    world.settle(8)
    assert [name for name in world.cluster.names(cluster.JOBS) if "list" in name]
    world.cluster.delete(REPOSITORIES, "main", NAMESPACE)
    world.settle(6)
    assert world.cluster.names(REPOSITORIES) == []
    assert world.cluster.names(cluster.JOBS) == []


def test_a_backup_keeps_the_manifests_that_bring_its_claim_back(world: OperatorWorld) -> None:
    world.held = []
    world.make_volume()
    labels = {"metadata": {"labels": {keys.VOLUME_CLAIM: "data", "app": "pg"}}}
    world.cluster.patch(cluster.CLAIMS, "data", labels, NAMESPACE)
    spec = {"size": "1Gi", "storageClassName": "mooring"}
    world.apply(resources.VOLUME_CLAIMS, "data", spec)
    world.make_repository()
    world.settle(6)
    world.paused.add("backup")
    world.make_backup()
    world.settle(4)
    maps = world.cluster.find(cluster.CONFIG_MAPS, NAMESPACE)
    (told,) = [m["data"]["spec.json"] for m in maps if "backup" in m["metadata"]["name"]]
    documents = json.loads(told)["documents"]
    assert set(documents) == {"backup", "persistentVolumeClaim", "storageClass", "volumeClaim"}
    assert documents["volumeClaim"]["spec"] == spec
    assert documents["backup"]["metadata"] == {"name": "one", "namespace": NAMESPACE}
    assert "uid" not in documents["persistentVolumeClaim"]["metadata"]
