"""Backups and restores from end to end, against a cluster in memory."""

import contextlib
from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import errors, ids, volumes
from mooring.ports import cluster
from mooring_operator import resources, statuses
from mooring_operator.work_queue import Key
from support.operator_world import GIB, NAMESPACE, OperatorWorld


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_repository()
    world.make_volume()
    return world


def test_a_repository_becomes_ready_and_its_probe_goes(world: OperatorWorld) -> None:
    world.settle(6)
    status = world.status(resources.BACKUP_REPOSITORIES, "main")
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Available")
    assert status["repositoryId"] == "r" * 32
    assert world.cluster.names(cluster.JOBS) == []
    volume = world.cluster.find(cluster.PERSISTENT_VOLUMES)[0]["spec"]
    assert volume["csi"]["volumeHandle"] == "folder/backups/shop/main"


def test_a_backup_succeeds_says_what_it_cost_and_leaves_nothing(world: OperatorWorld) -> None:
    before = world.cluster.names(cluster.CLAIMS)
    world.mover_answers["backup"]["parent"] = "shop-data-0"
    world.settle(6)
    world.make_backup()
    world.settle()
    status = world.status(resources.BACKUPS, "one")
    assert status["parent"] == "shop-data-0"
    done = world.succeeded(resources.BACKUPS, "one")
    assert (done["status"], done["reason"]) == ("True", "Succeeded")
    assert done["message"] == "1.0 GiB read, 5 B sent, 3 B stored"
    assert status["progress"] == {
        "percent": 100, "bytesTotal": GIB, "bytesRead": GIB, "bytesSent": 5, "bytesStored": 3,
    }  # fmt: skip
    assert (status["consistency"], status["node"]) == ("Filesystem", "node-1")
    assert status["released"] is True
    assert status["backupId"]
    assert world.cluster.names(cluster.JOBS) == []
    assert world.nodes[0].snapshots == {}
    repository = world.cluster.must_get(resources.BACKUP_REPOSITORIES, "main", NAMESPACE)
    kept = f"mooring-repository-{repository['metadata']['uid']}"
    assert sorted(world.cluster.names(cluster.CLAIMS)) == sorted([*before, kept])


@pytest.mark.parametrize(
    ("scrubbed", "said"),
    [(3 << 20, "1.0 GiB read, 3.0 MiB compared, 5 B sent, 3 B stored"),
     (0, "1.0 GiB read, 5 B sent, 3 B stored"),
     ("nonsense", "1.0 GiB read, 5 B sent, 3 B stored")],
)  # fmt: skip
def test_what_was_read_again_and_compared_is_said(
    world: OperatorWorld, scrubbed: object, said: str
) -> None:
    world.settle(6)
    world.mover_answers["backup"]["bytesScrubbed"] = scrubbed
    world.make_backup()
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["message"] == said


def test_progress_is_shown_while_it_runs(world: OperatorWorld) -> None:
    world.settle(6)
    world.paused.add("backup")
    world.make_backup()
    world.settle()
    status = world.status(resources.BACKUPS, "one")
    assert status["progress"]["percent"] == 50
    now = world.succeeded(resources.BACKUPS, "one")
    assert (now["status"], now["reason"]) == ("Unknown", "Transferring")
    assert "512.0 MiB of 1.0 GiB" in now["message"]


def test_a_failed_mover_fails_the_backup_and_everything_is_put_away(world: OperatorWorld) -> None:
    world.settle(6)
    world.failing["backup"] = {"reason": "SpaceExhausted", "message": "no room in the repository"}
    world.make_backup()
    world.settle()
    now = world.succeeded(resources.BACKUPS, "one")
    assert (now["status"], now["reason"]) == ("False", "SpaceExhausted")
    assert "no room in the repository" in now["message"]
    assert world.cluster.names(cluster.JOBS) == []
    assert world.nodes[0].snapshots == {}


@pytest.mark.parametrize(
    ("claim", "reason"), [("nowhere", "SourceNotFound"), ("unbound", "SourceNotBound")]
)
def test_waiting_has_an_end(world: OperatorWorld, claim: str, reason: str) -> None:
    world.apply(cluster.CLAIMS, "unbound", {"resources": {"requests": {"storage": "1"}}})
    world.make_backup(claim=claim)
    world.settle(8)
    now = world.succeeded(resources.BACKUPS, "one")
    assert (now["status"], now["reason"]) == ("Unknown", reason)
    world.clock.advance(600)
    world.settle(3)
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "False"


def test_a_volume_of_no_csi_driver_is_refused_at_once(world: OperatorWorld) -> None:
    body = {"metadata": {"name": "nfs"}, "spec": {"nfs": {}, "claimRef": {"uid": ""}}}
    body["spec"]["capacity"] = {"storage": "1Gi"}
    claim = world.apply(cluster.CLAIMS, "foreign", {"resources": {"requests": {"storage": "1"}}})
    body["spec"]["claimRef"]["uid"] = claim["metadata"]["uid"]
    world.cluster.create(cluster.PERSISTENT_VOLUMES, body)
    world.make_backup(claim="foreign")
    world.settle(6)
    assert world.succeeded(resources.BACKUPS, "one")["reason"] == "NoCsiDriver"


def test_a_silent_node_is_waited_for_within_bounds(world: OperatorWorld) -> None:
    world.settle(6)
    world.nodes[0].silent = True
    world.make_backup()
    world.settle(4)
    assert world.succeeded(resources.BACKUPS, "one")["reason"] == "NeverReached"
    world.nodes[0].silent = False
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"


def test_a_restore_fills_a_new_claim_on_the_other_node(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    status = world.status(resources.RESTORES, "back")
    done = world.succeeded(resources.RESTORES, "back")
    assert (done["status"], status["node"]) == ("True", "node-2")
    claim = world.cluster.must_get(cluster.CLAIMS, "restored", NAMESPACE)
    uid = claim["metadata"]["uid"]
    volume = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, f"pvc-{uid}")
    record = world.nodes[1].volumes[ids.volume_id_for(f"pvc-{uid}")]
    assert record.state is volumes.VolumeState.READY
    assert volume["spec"]["csi"]["volumeHandle"] == record.spec.volume_id
    assert volume["spec"]["csi"]["fsType"] == "ext4"
    assert volume["spec"]["mountOptions"] == ["noatime"]
    assert volume["spec"]["claimRef"]["uid"] == uid
    assert volume["metadata"]["annotations"][keys.PROVISIONED_BY] == keys.DRIVER
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert world.cluster.names(cluster.JOBS) == []


def test_a_restore_goes_where_it_says_whatever_the_scheduler_picks(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.nodes[1].silent = True
    world.make_restore(placement={"node": "node-2"})
    world.settle(4)
    picked = {"metadata": {"annotations": {keys.SELECTED_NODE: "node-1"}}}
    world.cluster.patch(cluster.CLAIMS, "restored", picked, NAMESPACE)
    world.settle(4)
    world.nodes[1].silent = False
    world.settle()
    assert world.status(resources.RESTORES, "back")["node"] == "node-2"
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"


def test_nothing_is_bound_before_the_mover_has_verified_everything(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.paused.add("restore")
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    claim = world.cluster.must_get(cluster.CLAIMS, "restored", NAMESPACE)
    assert claim.get("status", {}).get("phase") != "Bound"
    (record,) = world.nodes[1].volumes.values()
    assert record.state is volumes.VolumeState.FILLING
    names = world.cluster.names(cluster.PERSISTENT_VOLUMES)
    assert f"pvc-{claim['metadata']['uid']}" not in names
    world.paused.clear()
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"


def test_a_mover_that_fails_for_good_binds_nothing_and_gives_the_space_back(
    world: OperatorWorld,
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.failing["restore"] = {"reason": "DataCorrupt", "message": "chunk 7 is damaged"}
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    now = world.succeeded(resources.RESTORES, "back")
    assert (now["status"], now["reason"]) == ("False", "DataCorrupt")
    assert world.nodes[1].volumes == {}
    claim = world.cluster.must_get(cluster.CLAIMS, "restored", NAMESPACE)
    assert claim.get("status", {}).get("phase") != "Bound"
    assert world.cluster.names(cluster.JOBS) == []
    world.cluster.delete(cluster.CLAIMS, "restored", NAMESPACE)
    world.settle()
    assert "restored" not in world.cluster.names(cluster.CLAIMS)


def test_without_a_placement_the_first_pod_decides(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_restore()
    world.settle()
    now = world.succeeded(resources.RESTORES, "back")
    assert (now["status"], now["reason"]) == ("Unknown", "WaitingForFirstPod")
    world.pick_node("restored", "node-1")
    world.settle()
    assert world.status(resources.RESTORES, "back")["node"] == "node-1"
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"


@pytest.mark.parametrize("who_makes_the_claim", ["the Restore", "a user"])
def test_a_placement_on_a_node_that_is_away_names_it_and_goes_on_with_it(
    world: OperatorWorld, who_makes_the_claim: str
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.set_ready("node-2", ready=False)
    if who_makes_the_claim == "a user":
        world.make_claim_of("Restore", "back", "restored")
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    restore = world.cluster.must_get(resources.RESTORES, "back", NAMESPACE)
    assert statuses.condition(restore, "Stalled")["status"] == "True"
    said = world.succeeded(resources.RESTORES, "back")["message"]
    for part in ("node node-2 is not ready", "kubectl describe node node-2", "spec.placement"):
        assert part in said
    assert "first pod" not in said
    world.set_ready("node-2", ready=True)
    world.clock.advance(30)
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    assert world.status(resources.RESTORES, "back")["node"] == "node-2"


def test_a_placement_without_room_says_so_where_it_would_have_named_the_first_pod(
    world: OperatorWorld,
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_claim_of("Restore", "back", "restored", 200 * GIB)
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    now = world.succeeded(resources.RESTORES, "back")
    assert (now["status"], now["reason"]) == ("Unknown", "SpaceExhausted")
    assert "node-2 has room for" in now["message"]


def test_two_restores_to_one_claim_the_second_is_refused(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.paused.add("restore")
    world.make_restore("first", placement={"node": "node-1"})
    world.settle(4)
    world.make_restore("second", placement={"node": "node-2"})
    world.settle(4)
    now = world.succeeded(resources.RESTORES, "second")
    assert (now["status"], now["reason"]) == ("False", "ClaimTaken")
    world.paused.clear()
    world.settle()
    assert world.succeeded(resources.RESTORES, "first")["status"] == "True"


def test_a_claim_that_exists_is_never_overwritten(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    before = world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE)
    world.make_restore(claim="data")
    world.settle(4)
    assert world.succeeded(resources.RESTORES, "back")["reason"] == "ClaimExists"
    assert world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE) == before


@pytest.mark.parametrize(("size", "status"), [("512Mi", "False"), ("2Gi", "True")])
def test_smaller_is_refused_and_larger_is_fine(
    world: OperatorWorld, size: str, status: str
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    target = {"claimName": "restored", "size": size}
    world.make_restore(target=target, placement={"node": "node-2"})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == status


def test_a_claim_of_a_users_own_is_filled_from_a_backup(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_claim_of("Backup", "one", "copy")
    world.pick_node("copy", "node-2")
    world.settle()
    claim = world.cluster.must_get(cluster.CLAIMS, "copy", NAMESPACE)
    assert claim["status"]["phase"] == "Bound"


def test_another_namespaces_backup_is_not_to_be_had(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    source = {"apiGroup": keys.GROUP, "kind": "Backup", "name": "one", "namespace": NAMESPACE}
    body = {
        "metadata": {"name": "theft", "namespace": "thieves"},
        "spec": {
            "storageClassName": "mooring",
            "dataSourceRef": source,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    body["metadata"]["annotations"] = {keys.SELECTED_NODE: "node-2"}
    world.cluster.create(cluster.CLAIMS, body)
    world.settle()
    claim = world.cluster.must_get(cluster.CLAIMS, "theft", "thieves")
    assert claim.get("status", {}).get("phase") != "Bound"
    (event,) = world.cluster.find(cluster.EVENTS, "thieves")
    assert "another namespace" in event["message"]


def test_a_backup_being_restored_is_held_and_says_by_whom(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.paused.add("restore")
    world.make_restore(placement={"node": "node-2"})
    world.settle(6)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(4)
    now = world.succeeded(resources.BACKUPS, "one")
    assert now["reason"] == "InUse"
    assert "kubectl delete restore/back" in now["message"]
    world.paused.clear()
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    assert world.cluster.names(resources.BACKUPS) == []


@pytest.mark.parametrize(("policy", "forgotten"), [("Retain", False), ("Delete", True)])
def test_deleting_a_backup_keeps_its_bytes_unless_told(
    world: OperatorWorld, policy: str, forgotten: bool
) -> None:
    world.settle(6)
    world.make_backup(deletionPolicy=policy)
    world.settle()
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == []
    assert ("forget" in world.ended) is forgotten, "the mover ran to its end"
    assert world.cluster.names(cluster.JOBS) == []


@pytest.mark.parametrize("folder", ["etc", "private"])
def test_a_folder_that_is_not_yours_is_refused(world: OperatorWorld, folder: str) -> None:
    world.make_repository("bad", folder)
    world.settle(3)
    status = world.status(resources.BACKUP_REPOSITORIES, "bad")
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "FolderNotAllowed")
    assert "/srv" not in ready["message"]
    assert not [v for v in world.cluster.names(cluster.PERSISTENT_VOLUMES) if "bad" in v]


def test_a_wrong_key_is_said_and_tried_again(world: OperatorWorld) -> None:
    world.failing["probe"] = {"reason": "WrongKey", "message": "this key does not open it"}
    world.settle(6)
    status = world.status(resources.BACKUP_REPOSITORIES, "main")
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WrongKey")
    world.failing.clear()
    world.clock.advance(61)
    world.settle(6)
    status = world.status(resources.BACKUP_REPOSITORIES, "main")
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert ready["status"] == "True"


def test_deleting_a_restore_stops_it_and_frees_the_space(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.paused.add("restore")
    world.make_restore(placement={"node": "node-2"})
    world.settle(6)
    world.cluster.delete(resources.RESTORES, "back", NAMESPACE)
    world.settle(6)
    assert world.cluster.names(resources.RESTORES) == []
    assert world.nodes[1].volumes == {}
    assert world.cluster.names(cluster.JOBS) == []


def test_a_kill_at_any_call_of_backup_or_restore_is_made_good(world: OperatorWorld) -> None:
    """Each look is cut short after n calls of the API, for growing n: a crash loop."""
    world.settle(6)
    world.make_backup()
    _crash_loop(world, Key("Backup", NAMESPACE, "one"))
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"
    world.make_restore(placement={"node": "node-2"})
    _crash_loop(world, Key("Restore", NAMESPACE, "back"))
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    assert len(world.nodes[1].volumes) == 1
    assert world.nodes[0].snapshots == {}
    assert world.cluster.names(cluster.JOBS) == []


def _crash_loop(world: OperatorWorld, key: Key) -> None:
    for number in range(400):
        world.cut_short(key, number % 40 + 1)
        world.play()
    world.settle(4)


def test_a_volume_of_an_earlier_claim_is_made_anew(world: OperatorWorld) -> None:
    world.settle(6)
    repository = world.cluster.must_get(resources.BACKUP_REPOSITORIES, "main", NAMESPACE)
    name = f"mooring-repository-{repository['metadata']['uid']}"
    world.cluster.patch(cluster.CLAIMS, name, {"metadata": {"finalizers": None}}, NAMESPACE)
    world.cluster.delete(cluster.CLAIMS, name, NAMESPACE)
    for _ in range(3):
        with contextlib.suppress(errors.Busy):
            world.step()
        world.play()
    claim = world.cluster.must_get(cluster.CLAIMS, name, NAMESPACE)
    volume = world.cluster.must_get(cluster.PERSISTENT_VOLUMES, name)
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert claim["status"]["phase"] == "Bound"


def test_a_repository_on_a_claim_of_another_node_is_refused_at_once(world: OperatorWorld) -> None:
    world.make_volume("vault", node=1)
    directory = {"directory": {"claimName": "vault"}, "encryption": {"keySecretName": "key"}}
    world.apply(resources.BACKUP_REPOSITORIES, "vault", directory)
    world.settle(6)
    world.make_backup("far", repositoryName="vault")
    world.settle()
    said = world.succeeded(resources.BACKUPS, "far")
    assert (said["status"], said["reason"]) == ("False", "RepositoryElsewhere")
    assert "node-2" in said["message"]
    world.make_volume("near", node=1)
    world.make_backup("near", claim="near", repositoryName="vault")
    world.settle()
    assert world.succeeded(resources.BACKUPS, "near")["status"] == "True"


def ready_of(world: OperatorWorld, name: str) -> dict[str, Any]:
    found = world.cluster.must_get(resources.BACKUP_REPOSITORIES, name, NAMESPACE)
    return statuses.condition(found, "Ready")


def test_a_repository_in_a_bucket_is_backed_up_to_from_any_node(world: OperatorWorld) -> None:
    bucket = {
        "bucket": "company-backups",
        "prefix": "shop",
        "endpoint": "https://s3.example.org",
        "credentialsSecretName": "s3-login",
    }
    spec = {"s3": bucket, "encryption": {"keySecretName": "key"}}
    world.apply(resources.BACKUP_REPOSITORIES, "offsite", spec)
    world.settle(6)
    ready = ready_of(world, "offsite")
    assert ready["status"] == "True", ready
    world.make_volume("far", node=1)
    world.make_backup("one", claim="far", repositoryName="offsite")
    world.paused.add("backup")
    world.settle()
    (job,) = world.cluster.find(cluster.JOBS, NAMESPACE)
    volumes = {entry["name"]: entry for entry in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["credentials"]["secret"]["secretName"] == "s3-login"
    assert "repository" not in volumes
    told = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    assert "s3://company-backups/shop?endpoint=https://s3.example.org" in told["data"]["spec.json"]
    world.paused.clear()
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"s3": {"bucket": "a/b", "credentialsSecretName": "x"}},
        {"s3": {"bucket": "good", "prefix": "../other", "credentialsSecretName": "x"}},
        {"s3": {"bucket": "good", "endpoint": "ftp://x", "credentialsSecretName": "x"}},
        {"gcs": {"bucket": "good"}},
    ],
)
def test_a_bucket_that_is_none_is_refused(world: OperatorWorld, place: dict[str, Any]) -> None:
    spec = {**place, "encryption": {"keySecretName": "key"}}
    world.apply(resources.BACKUP_REPOSITORIES, "wrong", spec)
    world.settle(6)
    said = ready_of(world, "wrong")
    assert (said["status"], said["reason"]) == ("False", "InvalidInput")
    assert world.cluster.find(cluster.JOBS, NAMESPACE) == []


def test_a_restore_made_anew_never_takes_what_an_earlier_one_restored(
    world: OperatorWorld,
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    world.cluster.delete(resources.RESTORES, "back", NAMESPACE)
    world.step()
    world.make_backup("two")
    world.settle()
    world.make_restore(backupName="two", placement={"node": "node-2"})
    world.settle(4)
    said = world.succeeded(resources.RESTORES, "back")
    assert (said["status"], said["reason"]) == ("False", "ClaimTaken")
    assert "an earlier Restore back" in said["message"]


def test_a_claim_that_a_user_made_for_a_restore_is_marked_as_its_own(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    spec = {
        "storageClassName": "mooring",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSourceRef": {"apiGroup": keys.GROUP, "kind": "Restore", "name": "back"},
    }
    world.apply(cluster.CLAIMS, "restored", spec)
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    uid = world.cluster.must_get(resources.RESTORES, "back", NAMESPACE)["metadata"]["uid"]
    claim = world.cluster.must_get(cluster.CLAIMS, "restored", NAMESPACE)
    assert claim["metadata"]["annotations"][keys.RESTORE_UID] == uid


def test_a_backup_is_held_by_claims_and_by_restores_of_its_id(world: OperatorWorld) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    backup_id = world.status(resources.BACKUPS, "one")["backupId"]
    point = {"repositoryName": "main", "backupId": backup_id}
    target = {"claimName": "by-id", "size": "1Gi"}
    world.apply(resources.RESTORES, "by-id", {"point": point, "target": target})
    world.apply(resources.VOLUME_CLAIMS, "copy", {"size": "1Gi", "source": {"backupName": "one"}})
    world.settle(4)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(2)
    said = world.succeeded(resources.BACKUPS, "one")
    assert "kubectl delete restore/by-id pvc/copy" in said["message"]


def test_a_restore_that_waits_for_its_pod_still_reads_a_backup_that_is_deleted(
    world: OperatorWorld,
) -> None:
    world.settle(6)
    world.make_backup()
    world.settle()
    world.make_restore()
    world.settle(4)
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle(2)
    assert world.succeeded(resources.BACKUPS, "one")["reason"] == "InUse"
    note = {"metadata": {"annotations": {keys.SELECTED_NODE: "node-1"}}}
    world.cluster.patch(cluster.CLAIMS, "restored", note, NAMESPACE)
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    assert world.cluster.names(resources.BACKUPS) == []


def test_a_restore_of_an_impossible_size_says_so(world: OperatorWorld) -> None:
    point = {"repositoryName": "main", "backupId": "x"}
    target = {"claimName": "huge", "size": "9" * 18 + "Ei"}
    world.apply(resources.RESTORES, "huge", {"point": point, "target": target})
    world.settle(2)
    said = world.succeeded(resources.RESTORES, "huge")
    assert (said["status"], said["reason"]) == ("False", "InvalidInput")
