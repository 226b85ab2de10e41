"""BackupRepositories and recovery: Ready only with a slot, and what an upgrade does."""

import json
from typing import Any

import pytest

from mooring.ports import cluster
from mooring_operator import resources, statuses
from support.operator_world import NAMESPACE, RECOVERY_KEY, OperatorWorld

NO_SLOT = {"repositoryId": "r" * 32, "recoverySlots": []}
REPOSITORIES = resources.BACKUP_REPOSITORIES


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_volume()
    return world


def apply(world: OperatorWorld, **encryption: Any) -> None:
    spec = {
        "directory": {"folder": "backups"},
        "encryption": {"keySecretName": "key", **encryption},
    }
    world.apply(REPOSITORIES, "main", spec)


def ready(world: OperatorWorld) -> dict[str, Any]:
    return statuses.condition(world.cluster.must_get(REPOSITORIES, "main", NAMESPACE), "Ready")


def probe_spec(world: OperatorWorld) -> dict[str, Any]:
    maps = world.cluster.find(cluster.CONFIG_MAPS, NAMESPACE)
    (found,) = [m for m in maps if "probe" in m["metadata"]["name"]]
    spec: dict[str, Any] = json.loads(found["data"]["spec.json"])
    return spec


def test_the_cluster_asks_for_the_slots_that_are_named(world: OperatorWorld) -> None:
    apply(world, recoveryKeys=[RECOVERY_KEY])
    world.paused.add("probe")
    world.settle(3)
    assert probe_spec(world)["recoveryKeys"] == [RECOVERY_KEY]
    world.paused.clear()
    world.settle(4)
    assert ready(world)["status"] == "True"
    assert world.status(REPOSITORIES, "main")["recoverySlots"] == ["x25519:abababababababab"]


def test_a_new_repository_without_a_slot_takes_no_backups(world: OperatorWorld) -> None:
    world.mover_answers["probe"] = NO_SLOT
    apply(world)
    world.settle(6)
    assert (ready(world)["status"], ready(world)["reason"]) == ("False", "NoRecoverySlot")
    world.make_backup(startingDeadlineSeconds=5)
    world.settle()
    said = world.succeeded(resources.BACKUPS, "one")
    assert (said["status"], said["reason"]) == ("False", "RepositoryNotReady")
    assert "keygen" in said["message"]
    world.mover_answers["probe"] = {**NO_SLOT, "recoverySlots": ["scrypt:01"]}
    probes = world.ended.count("probe")
    world.clock.advance(400)
    world.settle(6)
    assert world.ended.count("probe") == probes, "nobody is bothered every minute"
    world.clock.advance(200)
    world.settle(6)
    assert ready(world)["status"] == "True", "a passphrase that was added by hand is found"


def test_a_waiver_makes_it_ready(world: OperatorWorld) -> None:
    world.mover_answers["probe"] = NO_SLOT
    apply(world, recovery="None")
    world.settle(6)
    assert ready(world)["status"] == "True"


def test_after_an_update_backups_go_on_and_the_condition_says_what_to_do(
    world: OperatorWorld,
) -> None:
    apply(world)
    old = [{"type": "Ready", "status": "True", "observedGeneration": 1, "reason": "Available",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]  # fmt: skip
    before = {"repositoryId": "r" * 32, "probed": "1", "conditions": old,
              "lastCheckTime": "2020-01-01T00:00:00Z"}  # fmt: skip
    world.cluster.set_status(REPOSITORIES, "main", NAMESPACE, before)
    world.mover_answers["probe"] = NO_SLOT
    world.settle(6)
    assert ready(world)["reason"] == "NoRecoverySlot"
    assert "Backups go on" in ready(world)["message"]
    world.clock.advance(3600)
    world.settle(6)
    world.make_backup()
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"


def test_a_slot_that_is_lost_later_stops_no_backups(world: OperatorWorld) -> None:
    apply(world, recoveryKeys=[RECOVERY_KEY])
    world.settle(6)
    world.mover_answers["probe"] = NO_SLOT
    world.clock.advance(3601)
    world.settle(6)
    assert ready(world)["reason"] == "NoRecoverySlot"
    world.make_backup()
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["status"] == "True"


def test_what_is_there_can_be_restored_without_a_slot(world: OperatorWorld) -> None:
    world.mover_answers["probe"] = NO_SLOT
    apply(world)
    world.settle(6)
    spec = {
        "point": {"repositoryName": "main", "backupId": "bk-1"},
        "target": {"claimName": "back", "size": "1Gi"},
        "placement": {"node": "node-1"},
    }
    world.apply(resources.RESTORES, "back", spec)
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"


def test_another_repository_in_its_place_is_neither_read_nor_written(
    world: OperatorWorld,
) -> None:
    apply(world, recoveryKeys=[RECOVERY_KEY])
    world.settle(6)
    before = world.status(REPOSITORIES, "main")
    right = world.mover_answers["probe"]
    world.mover_answers["probe"] = {**right, "repositoryId": "e" * 32, "recoverySlots": ["x:1"]}
    world.clock.advance(3601)
    world.settle(6)
    assert (ready(world)["status"], ready(world)["reason"]) == ("False", "AnotherRepository")
    assert "apply it again" in ready(world)["message"]
    status = world.status(REPOSITORIES, "main")
    for field in ("repositoryId", "recoverySlots", "firstReadyTime"):
        assert status[field] == before[field]
    world.make_backup(startingDeadlineSeconds=5)
    spec = {
        "point": {"repositoryName": "main", "backupId": "bk-1"},
        "target": {"claimName": "back", "size": "1Gi"},
        "placement": {"node": "node-1"},
    }
    world.apply(resources.RESTORES, "back", spec)
    world.settle()
    assert world.succeeded(resources.BACKUPS, "one")["reason"] == "RepositoryNotReady"
    assert world.succeeded(resources.RESTORES, "back").get("status") != "True"
    assert "restore" not in world.ended
    world.mover_answers["probe"] = right
    world.clock.advance(61)
    world.settle(6)
    assert ready(world)["status"] == "True"
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"


def test_movers_are_told_which_repository_is_meant(world: OperatorWorld) -> None:
    apply(world, recoveryKeys=[RECOVERY_KEY])
    world.paused.add("probe")
    world.settle(3)
    assert probe_spec(world)["repository"]["repositoryId"] is None
    world.paused.clear()
    world.settle(4)
    world.clock.advance(3601)
    world.paused.add("probe")
    world.settle(3)
    assert probe_spec(world)["repository"]["repositoryId"] == "r" * 32


def test_an_answer_of_an_older_mover_is_asked_for_again(world: OperatorWorld) -> None:
    world.mover_answers["probe"] = {"repositoryId": "r" * 32}
    apply(world)
    world.settle(3)
    assert ready(world)["reason"] == "Checking"
    world.mover_answers["probe"] = {**NO_SLOT, "recoverySlots": ["x25519:ab"]}
    world.settle(6)
    assert ready(world)["status"] == "True"
