"""Backups of claims of another CSI driver, from end to end, against a cluster in memory."""

import json
from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import resources
from mooring_operator.builders import foreign_volumes as builders
from mooring_operator.builders import owners
from mooring_operator.work_queue import Key
from support.fake_foreign_driver import CLASS, DRIVER, ZONE, FakeForeignDriver
from support.operator_world import GIB, NAMESPACE, OperatorWorld

ANSWER = {"bytesTotal": GIB + 512, "sectorSizeBytes": 512, "filesystem": "xfs", "bytesRead": GIB}
OVER = 601.0


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.mover_answers["backup"] |= ANSWER
    world.make_repository()
    world.settle(6)
    return world


@pytest.fixture
def driver(world: OperatorWorld) -> FakeForeignDriver:
    found = FakeForeignDriver(world)
    found.claim()
    return found


def backed_up(world: OperatorWorld, rounds: int = 25, **more: Any) -> dict[str, Any]:
    world.make_backup(claim="disk", **more)
    world.settle(rounds)
    return world.succeeded(resources.BACKUPS, "one")


def owner(world: OperatorWorld) -> owners.Owner:
    return owners.owner_of(world.cluster.must_get(resources.BACKUPS, "one", NAMESPACE))


def users_own(world: OperatorWorld) -> list[cluster.Object]:
    """What the user had before: the claim, its volume and the classes, as they are now."""
    found = world.cluster.must_get(cluster.CLAIMS, "disk", NAMESPACE)
    volume = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, found["spec"]["volumeName"])
    classes = world.cluster.must_get(cluster.VOLUME_SNAPSHOT_CLASSES, "snaps")
    return [found, volume, classes, world.cluster.must_get(cluster.STORAGE_CLASSES, CLASS)]


@pytest.mark.parametrize("binding", ["Immediate", "WaitForFirstConsumer"])
@pytest.mark.parametrize("reclaim", ["Delete", "Retain"])
@pytest.mark.parametrize("mode", ["Filesystem", "Block"])
def test_a_claim_of_another_driver_is_backed_up_and_nothing_is_left(
    world: OperatorWorld, binding: str, reclaim: str, mode: str
) -> None:
    driver = FakeForeignDriver(world, binding=binding, reclaim=reclaim)
    driver.claim(mode=mode)
    world.mover_answers["backup"]["filesystem"] = "xfs" if mode == "Filesystem" else None
    before = users_own(world)
    said = backed_up(world)
    assert (said["status"], said["reason"]) == ("True", "Succeeded")
    status = world.status(resources.BACKUPS, "one")
    wanted = {
        "driver": DRIVER,
        "volumeId": f"pv-{before[1]['metadata']['uid']}",
        "snapshotTime": "2026-01-01T00:00:07Z",
        "sizeBytes": GIB + 512,
        "sectorSizeBytes": 512,
        "volumeMode": mode,
        "consistency": "Crash",
        "claimUid": before[0]["metadata"]["uid"],
        "storageClassName": CLASS,
        "released": True,
    }
    assert wanted.items() <= status.items()
    assert status.get("filesystem") == ("xfs" if mode == "Filesystem" else None)
    assert driver.leftovers() == {}
    assert users_own(world) == before, "nothing of the user's is changed"
    assert world.cluster.names(cluster.JOBS) == []


def test_the_mover_reads_a_block_volume_made_of_the_snapshot(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    world.paused.add("backup")
    backed_up(world)
    found = owner(world)
    name = f"mooring-source-{found.uid}"
    snapshot = world.cluster.must_get(cluster.VOLUME_SNAPSHOTS, name, NAMESPACE)
    assert snapshot["spec"] == {
        "volumeSnapshotClassName": "snaps",
        "source": {"persistentVolumeClaimName": "disk"},
    }
    (content,) = world.cluster.find(cluster.VOLUME_SNAPSHOT_CONTENTS)
    assert content["metadata"]["annotations"] == {keys.ALLOW_MODE_CHANGE: "true"}
    claim = world.cluster.must_get(cluster.CLAIMS, name, NAMESPACE)
    assert claim["spec"]["volumeMode"] == "Block"
    assert claim["spec"]["dataSource"]["name"] == name
    for child in (snapshot, claim):
        (reference,) = child["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["uid"]) == ("Backup", found.uid)
    (job,) = world.cluster.find(cluster.JOBS, NAMESPACE)
    pod = job["spec"]["template"]["spec"]
    volumes = {entry["name"]: entry for entry in pod["volumes"]}
    assert volumes["device"]["persistentVolumeClaim"] == {"claimName": name, "readOnly": False}
    assert pod["securityContext"]["supplementalGroups"] == [6]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (terms,) = pod["affinity"]["nodeAffinity"].values()
    assert terms == ZONE, "a driver of local disks can make a copy nowhere else"
    assert "tolerations" not in pod
    told = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    spec = json.loads(told["data"]["spec.json"])
    assert spec["volume"]["foreignMode"] == "Filesystem"
    assert "changes" not in spec
    assert spec["documents"]["persistentVolumeClaim"]["metadata"]["name"] == "disk"


def test_a_block_claims_snapshot_may_not_become_a_filesystem(world: OperatorWorld) -> None:
    driver = FakeForeignDriver(world)
    driver.claim(mode="Block")
    world.paused.add("backup")
    backed_up(world)
    (content,) = world.cluster.find(cluster.VOLUME_SNAPSHOT_CONTENTS)
    assert keys.ALLOW_MODE_CHANGE not in content["metadata"].get("annotations", {})


def test_a_backup_of_another_drivers_claim_is_restored_into_a_mooring_volume(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    backed_up(world)
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    (record,) = world.nodes[1].volumes.values()
    assert record.spec.filesystem is not None
    assert record.spec.filesystem.value == "xfs"
    assert record.spec.sector_size_bytes == 512
    assert record.spec.size_bytes >= GIB + 512


CLASSES: list[tuple[list[tuple[str, str, bool]], str | None, str]] = [
    ([], None, "has no VolumeSnapshotClass"),
    ([("a", DRIVER, False)], None, "is its default; there are: a"),
    ([("a", DRIVER, True), ("b", DRIVER, True)], None, "several default VolumeSnapshotClasses"),
    ([("a", "other.example.com", True)], None, "has no VolumeSnapshotClass"),
    ([("a", DRIVER, True)], "b", "there is no VolumeSnapshotClass b"),
    ([("a", "other.example.com", False)], "a", "is of driver other.example.com"),
]


@pytest.mark.parametrize(("classes", "wanted", "text"), CLASSES)
def test_without_a_snapshot_class_it_says_so_and_ends(
    world: OperatorWorld,
    driver: FakeForeignDriver,
    classes: list[tuple[str, str, bool]],
    wanted: str | None,
    text: str,
) -> None:
    world.cluster.delete(cluster.VOLUME_SNAPSHOT_CLASSES, "snaps")
    for name, of, default in classes:
        driver.snapshot_class(name, of, default=default)
    more = {} if wanted is None else {"volumeSnapshotClassName": wanted}
    said = backed_up(world, **more)
    assert (said["status"], said["reason"]) == ("Unknown", "NoSnapshotClass")
    assert text in said["message"]
    world.clock.advance(OVER)
    world.settle(3)
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "NoSnapshotClass")
    assert world.cluster.names(cluster.VOLUME_SNAPSHOTS) == []


def test_a_class_that_is_named_is_taken(world: OperatorWorld, driver: FakeForeignDriver) -> None:
    driver.snapshot_class("cheap")
    world.paused.add("backup")
    backed_up(world, volumeSnapshotClassName="cheap")
    (snapshot,) = world.cluster.find(cluster.VOLUME_SNAPSHOTS)
    assert snapshot["spec"]["volumeSnapshotClassName"] == "cheap"


def test_a_cluster_without_snapshots_is_told_what_it_lacks(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    def no_kind(call: str) -> errors.MooringError | None:
        asked = call.startswith("find volumesnapshotclasses")
        return errors.NotFound("page not found") if asked else None

    world.cluster.fail = no_kind
    said = backed_up(world, 6)
    assert (said["status"], said["reason"]) == ("Unknown", "NoSnapshots")
    assert "snapshot-controller" in said["message"]


@pytest.mark.parametrize("storage_class", ["", "gone", "mooring"])
def test_a_claim_without_a_class_of_its_driver_is_refused(
    world: OperatorWorld, driver: FakeForeignDriver, storage_class: str
) -> None:
    change = {"spec": {"storageClassName": storage_class}}
    world.cluster.patch(cluster.CLAIMS, "disk", change, NAMESPACE)
    said = backed_up(world, 6)
    assert (said["status"], said["reason"]) == ("False", "NoStorageClass")
    assert world.cluster.names(cluster.VOLUME_SNAPSHOTS) == []


def test_a_snapshot_that_never_gets_ready_ends_the_backup_with_the_drivers_words(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.snapshot_error = "the array is full"
    said = backed_up(world)
    assert (said["status"], said["reason"]) == ("Unknown", "SnapshotNotReady")
    assert "the array is full" in said["message"]
    world.clock.advance(OVER)
    world.settle(6)
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "SnapshotNotReady")
    assert "startingDeadlineSeconds is over" in said["message"]
    assert driver.leftovers() == {}


@pytest.mark.parametrize("binding", ["Immediate", "WaitForFirstConsumer"])
def test_a_driver_that_makes_no_block_volume_ends_the_backup(
    world: OperatorWorld, binding: str
) -> None:
    driver = FakeForeignDriver(world, binding=binding)
    driver.claim()
    driver.makes_volumes = False
    said = backed_up(world)
    assert (said["status"], said["reason"]) == ("Unknown", "DeviceNotReady")
    claim = world.cluster.must_get(cluster.CLAIMS, builders.snapshot_name(owner(world)), NAMESPACE)
    event = {
        "metadata": {"name": "e", "namespace": NAMESPACE},
        "involvedObject": {"uid": claim["metadata"]["uid"]},
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": "block mode is not supported",
    }
    world.cluster.create(cluster.EVENTS, event)
    world.clock.advance(OVER)
    world.settle(8)
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "DeviceNotReady")
    assert "ProvisioningFailed: block mode is not supported" in said["message"]
    assert "Drivers of network folders cannot make one" in said["message"]
    assert driver.leftovers() == {}
    assert world.cluster.names(cluster.JOBS) == []


def test_a_mover_that_cannot_be_placed_ends_the_backup_in_the_schedulers_words(
    world: OperatorWorld,
) -> None:
    driver = FakeForeignDriver(world, binding="WaitForFirstConsumer")
    driver.claim()
    driver.makes_volumes = False
    backed_up(world, 12)
    (pod,) = world.cluster.find(cluster.PODS, NAMESPACE)
    why = "0/2 nodes are available: 2 node(s) had untolerated taints"
    scheduled = {"type": "PodScheduled", "status": "False", "message": why}
    status = {"phase": "Pending", "conditions": [scheduled]}
    world.cluster.set_status(cluster.PODS, pod["metadata"]["name"], NAMESPACE, status)
    world.step()
    assert why in world.succeeded(resources.BACKUPS, "one")["message"]
    world.clock.advance(OVER)
    world.settle(8)
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "DeviceNotReady")
    assert why in said["message"]
    assert driver.leftovers() == {}


def test_a_device_that_somebody_deletes_is_made_anew(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.makes_volumes = False
    backed_up(world, 8)
    name = builders.snapshot_name(owner(world))
    first = world.cluster.must_get(cluster.CLAIMS, name, NAMESPACE)["metadata"]["uid"]
    world.cluster.delete(cluster.CLAIMS, name, NAMESPACE)
    driver.makes_volumes = True
    world.step()
    assert world.cluster.names(cluster.JOBS) == []
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"
    assert first not in str(world.cluster.find(cluster.CLAIMS))


def test_a_mover_that_finds_no_filesystem_fails_the_backup(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    world.failing["backup"] = {"reason": "Unsupported", "message": "holds no ext4, xfs or btrfs"}
    said = backed_up(world)
    assert (said["status"], said["reason"]) == ("False", "Unsupported")
    assert "backupId" not in world.status(resources.BACKUPS, "one")
    assert driver.leftovers() == {}


def test_an_answer_that_is_lost_is_asked_for_again(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    told = world.mover_answers["backup"]
    world.mover_answers["backup"] = {}
    said = backed_up(world)
    assert said["status"] == "Unknown", "without its size it could not be restored"
    assert world.ended.count("backup") > 1
    world.mover_answers["backup"] = told
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"
    assert world.status(resources.BACKUPS, "one")["sizeBytes"] == GIB + 512


@pytest.mark.parametrize("rounds", range(1, 9))
def test_deleted_at_any_step_it_leaves_nothing(
    world: OperatorWorld, driver: FakeForeignDriver, rounds: int
) -> None:
    world.paused.add("backup")
    before = users_own(world)
    world.make_backup(claim="disk")
    world.settle(rounds)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(12)
    assert world.cluster.names(resources.BACKUPS) == []
    assert driver.leftovers() == {}
    assert users_own(world) == before


def test_a_backup_that_is_deleted_says_what_it_waits_for(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    world.paused.add("backup")
    backed_up(world)
    driver.deletes = False
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(8)
    said = world.succeeded(resources.BACKUPS, "one")
    assert said["reason"] == "Deleting"
    assert f"driver {DRIVER} deletes it" in said["message"]
    driver.deletes = True
    world.settle(4)
    assert world.cluster.names(resources.BACKUPS) == []
    assert driver.leftovers() == {}


@pytest.mark.parametrize("outcome", ["success", "failure", "deletion"])
def test_a_kill_at_any_call_is_made_good(
    world: OperatorWorld, driver: FakeForeignDriver, outcome: str
) -> None:
    """Each look is cut short after n calls of the API, for growing n: a crash loop."""
    before = users_own(world)
    if outcome == "failure":
        world.failing["backup"] = {"reason": "DataCorrupt", "message": "it is not whole"}
    world.make_backup(claim="disk")
    if outcome == "deletion":
        world.paused.add("backup")
        world.settle()
        world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    for number in range(240):
        world.cut_short(Key("Backup", NAMESPACE, "one"), number % 40 + 1)
        world.play()
        assert len(world.cluster.names(cluster.VOLUME_SNAPSHOTS)) <= 1
    world.settle(4)
    if outcome == "deletion":
        assert world.cluster.names(resources.BACKUPS) == []
    else:
        wanted = "True" if outcome == "success" else "False"
        assert world.succeeded(resources.BACKUPS, "one")["status"] == wanted
    assert driver.leftovers() == {}
    assert users_own(world) == before


def test_what_is_recorded_before_the_snapshot_is_made_suffices_to_put_it_away(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    def seen(call: str) -> errors.MooringError | None:
        if call.startswith("create volumesnapshots"):
            recorded.append(world.status(resources.BACKUPS, "one"))
        return None

    recorded: list[dict[str, Any]] = []
    world.cluster.fail = seen
    backed_up(world)
    (at_that_time,) = recorded
    assert at_that_time["driver"] == DRIVER


# Hostile objects: what others may make in the namespace before the operator does.


def squat(world: OperatorWorld, resource: cluster.Resource, spec: dict[str, Any]) -> str:
    """Makes an object of the name that a Backup's child would have, with its labels too."""
    world.make_backup(claim="disk")
    found = owner(world)
    metadata = owners.child_metadata(found, keys.ROLE_SOURCE)
    world.cluster.create(resource, {"metadata": metadata, "spec": spec})
    return str(metadata["name"])


def test_a_snapshot_of_another_volume_under_the_name_is_never_read(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    """Of another namespace's volume, for example: a content that an administrator brought along."""
    source = {"persistentVolumeClaimName": "disk", "volumeSnapshotContentName": "stolen"}
    name = squat(world, cluster.VOLUME_SNAPSHOTS, {"source": source})
    snapshot = world.cluster.must_get(cluster.VOLUME_SNAPSHOTS, name, NAMESPACE)
    reference = {"name": name, "namespace": NAMESPACE, "uid": snapshot["metadata"]["uid"]}
    stolen = {
        "metadata": {"name": "stolen"},
        "spec": {
            "driver": DRIVER,
            "deletionPolicy": "Retain",
            "source": {"snapshotHandle": "of-the-bank"},
            "sourceVolumeMode": "Filesystem",
            "volumeSnapshotRef": reference,
        },
    }
    world.cluster.create(cluster.VOLUME_SNAPSHOT_CONTENTS, stolen)
    status = {
        "readyToUse": True,
        "boundVolumeSnapshotContentName": "stolen",
        "restoreSize": str(GIB),
    }
    world.cluster.set_status(cluster.VOLUME_SNAPSHOTS, name, NAMESPACE, status)
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "SnapshotOfAnotherVolume")
    content = world.cluster.must_get(cluster.VOLUME_SNAPSHOT_CONTENTS, "stolen")
    assert content["spec"]["deletionPolicy"] == "Retain"
    assert "annotations" not in content["metadata"]
    assert world.cluster.names(cluster.JOBS) == []


def test_a_content_of_another_snapshot_is_not_believed(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.claim("other")
    body = {
        "metadata": {"name": "theirs", "namespace": NAMESPACE},
        "spec": {
            "volumeSnapshotClassName": "snaps",
            "source": {"persistentVolumeClaimName": "other"},
        },
    }
    theirs = world.cluster.create(cluster.VOLUME_SNAPSHOTS, body)
    world.play()
    source = {"persistentVolumeClaimName": "disk"}
    name = squat(world, cluster.VOLUME_SNAPSHOTS, {"source": source})
    content = f"snapcontent-{theirs['metadata']['uid']}"
    status = {"readyToUse": True, "boundVolumeSnapshotContentName": content}
    world.cluster.set_status(cluster.VOLUME_SNAPSHOTS, name, NAMESPACE, status)
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "SnapshotOfAnotherVolume")
    assert content in world.cluster.names(cluster.VOLUME_SNAPSHOT_CONTENTS)
    found = world.cluster.must_get(cluster.VOLUME_SNAPSHOT_CONTENTS, content)
    assert "annotations" not in found["metadata"]


@pytest.mark.parametrize("resource", [cluster.VOLUME_SNAPSHOTS, cluster.CLAIMS])
def test_what_a_user_made_under_the_name_is_left_alone(
    world: OperatorWorld, driver: FakeForeignDriver, resource: cluster.Resource
) -> None:
    world.make_backup(claim="disk")
    name = builders.snapshot_name(owner(world))
    spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": "disk"}}
    if resource is cluster.CLAIMS:
        spec = {"resources": {"requests": {"storage": "1"}}}
    else:
        spec["volumeSnapshotClassName"] = "snaps"
    world.cluster.create(
        resource, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    )
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "NameTaken")
    assert f"delete {'pvc' if resource is cluster.CLAIMS else 'volumesnapshot'}" in said["message"]
    assert world.status(resources.BACKUPS, "one")["released"] is True
    assert name in world.cluster.names(resource)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(4)
    assert name in world.cluster.names(resource)
    assert world.cluster.names(resources.BACKUPS) == []


def test_a_volume_that_was_there_before_is_neither_read_nor_deleted(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    """A claim with all marks of a child, bound by name to a volume with somebody's data."""
    data = {"name": "precious", "annotations": {keys.PROVISIONED_BY: DRIVER}}
    old = {**data, "creationTimestamp": "2020-01-01T00:00:00Z"}
    spec = {
        "volumeMode": "Block",
        "volumeName": "precious",
        "storageClassName": CLASS,
        "resources": {"requests": {"storage": "1"}},
    }
    world.make_backup(claim="disk")
    name = builders.snapshot_name(owner(world))
    source = {"apiGroup": cluster.SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": name}
    metadata = owners.child_metadata(owner(world), keys.ROLE_SOURCE)
    body = {"metadata": metadata, "spec": {**spec, "dataSource": source}}
    claim = world.cluster.create(cluster.CLAIMS, body)
    reference = {key: claim["metadata"][key] for key in ("name", "namespace", "uid")}
    volume = {
        "csi": {"driver": DRIVER, "volumeHandle": "disk-precious"},
        "claimRef": reference,
        "capacity": {"storage": str(GIB)},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    world.cluster.create(cluster.PERSISTENT_VOLUMES, {"metadata": old, "spec": volume})
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "NameTaken")
    found = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, "precious")
    assert found["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert world.ended.count("backup") == 0


@pytest.mark.parametrize("name", ["../bank/disk", "bank/disk", "disk/../../secrets/x", "DISK", ""])
def test_a_name_never_leads_out_of_the_namespace(
    world: OperatorWorld, driver: FakeForeignDriver, name: str
) -> None:
    bank = {"metadata": {"name": "disk", "namespace": "bank"}, "spec": {}}
    world.cluster.create(cluster.CLAIMS, bank)
    world.make_backup(claim=name)
    world.settle(4)
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "InvalidInput")
    assert world.cluster.names(cluster.VOLUME_SNAPSHOTS) == []


def test_a_claim_made_anew_on_another_volume_is_not_taken_for_the_first(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.takes_snapshots = False
    backed_up(world, 6)
    world.cluster.patch(cluster.CLAIMS, "disk", {"metadata": {"finalizers": None}}, NAMESPACE)
    world.cluster.delete(cluster.CLAIMS, "disk", NAMESPACE)
    driver.claim()
    driver.takes_snapshots = True
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "SnapshotOfAnotherVolume")
    assert driver.leftovers() == {}


# Schedules.


def test_a_schedule_takes_them_by_name_and_label_and_says_what_it_leaves_out(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.claim("labelled", app="shop")
    request = {"resources": {"requests": {"storage": "1"}}}
    world.apply(cluster.CLAIMS, "folder", {"storageClassName": "nfs", **request})
    claim = world.cluster.must_get(cluster.CLAIMS, "folder", NAMESPACE)
    reference = {"uid": claim["metadata"]["uid"]}
    spec = {"nfs": {}, "claimRef": reference, "capacity": {"storage": "1"}}
    world.cluster.create(cluster.PERSISTENT_VOLUMES, {"metadata": {"name": "nfs"}, "spec": spec})
    world.play()
    for name, claims in {
        "by-name": {"names": ["disk", "folder"]},
        "by-label": {"matchLabels": {"app": "shop"}},
        "all": {"all": True},
    }.items():
        world.make_schedule(name, claims=claims)
    world.step()
    found = {
        name: world.status(resources.BACKUP_SCHEDULES, name)
        for name in ("by-name", "by-label", "all")
    }
    assert found["by-name"]["selected"] == ["disk"]
    assert found["by-name"]["leftOut"] == [
        {"name": "folder", "reason": "its volume has no CSI driver that could take a snapshot"}
    ]
    assert found["by-label"]["selected"] == ["labelled"]
    assert "selected" not in found["all"]
    world.cluster.delete(cluster.VOLUME_SNAPSHOT_CLASSES, "snaps")
    world.step()
    (left_out,) = world.status(resources.BACKUP_SCHEDULES, "by-label")["leftOut"]
    assert f"driver {DRIVER} has no VolumeSnapshotClass" in left_out["reason"]


def test_a_schedules_backup_takes_the_class_that_it_names(
    world: OperatorWorld, driver: FakeForeignDriver
) -> None:
    driver.snapshot_class("cheap")
    options = {"volumeSnapshotClassName": "cheap"}
    obj = world.make_schedule(claims={"names": ["disk"]}, backup=options)
    note = {"metadata": {"annotations": {keys.RUN_NOW: "now"}}}
    world.cluster.patch(resources.BACKUP_SCHEDULES, obj["metadata"]["name"], note, NAMESPACE)
    world.paused.add("backup")
    world.settle(6)
    (snapshot,) = world.cluster.find(cluster.VOLUME_SNAPSHOTS)
    assert snapshot["spec"]["volumeSnapshotClassName"] == "cheap"
    world.paused.clear()
    world.settle()
    (backup,) = world.cluster.find(resources.BACKUPS, NAMESPACE)
    assert world.succeeded(resources.BACKUPS, backup["metadata"]["name"])["status"] == "True"
    assert driver.leftovers() == {}
