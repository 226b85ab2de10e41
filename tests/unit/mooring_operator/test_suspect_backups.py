"""A Suspect backup: what is said of it, what it holds, and what everybody makes of it."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mooring.backup import mover_spec
from mooring.ports import cluster
from mooring_operator import resources, statuses, suspect_backups
from mooring_operator.protection_rounds import KEY, KIND
from mooring_operator.work_queue import Key
from support.operator_world import NAMESPACE, OperatorWorld

REPOSITORY = "r" * 32


@pytest.fixture
def world() -> OperatorWorld:
    return OperatorWorld.with_volume(REPOSITORY)


def suspicion(*holds: str) -> dict[str, Any]:
    place = {"offsetBytes": 7, "lengthBytes": 1, "good": holds[0], "goodAt": "2026-01-01T00:00Z"}
    return {
        "message": "1 bytes of volume v from byte 7 on differ",
        "placeCount": 1,
        "places": [place],
        "holds": list(holds),
    }


def made(world: OperatorWorld, name: str, suspect: Any = None, **more: Any) -> cluster.Object:
    world.mover_answers["backup"]["suspect"] = suspect
    world.make_backup(name, **more)
    world.settle()
    return world.cluster.must_get(resources.BACKUPS, name, NAMESPACE)


def warnings(world: OperatorWorld, name: str) -> list[tuple[str, str]]:
    return [
        (event["reason"], event["message"])
        for event in world.cluster.find(cluster.EVENTS)
        if event["involvedObject"]["name"] == name and event["type"] == "Warning"
    ]


def gauge(world: OperatorWorld) -> float | None:
    world.reconcilers[KIND](KEY)
    registry = CollectorRegistry()
    registry.register(world.gauges.suspect)
    return registry.get_sample_value("mooring_suspect_claims", {"namespace": NAMESPACE})


def test_it_succeeded_is_suspect_and_says_what_to_do(world: OperatorWorld) -> None:
    assert statuses.condition(made(world, "one"), "Suspect") == {}
    assert warnings(world, "one") == []
    assert gauge(world) == 0
    two = made(world, "two", suspicion(world.backup_id("one")))
    found = statuses.condition(two, "Suspect")
    assert (found["status"], found["reason"]) == ("True", "ContentLost")
    for part in ("1 bytes of volume v from byte 7", "status.suspect.holds", "acceptSuspect"):
        assert part in found["message"]
    done = statuses.condition(two, "Succeeded")
    assert (done["status"], "it is Suspect" in done["message"]) == ("True", True)
    assert two["status"]["suspect"]["places"][0]["offsetBytes"] == 7
    ((reason, message),) = warnings(world, "two")
    assert (reason, message) == ("Suspect", found["message"])
    assert gauge(world) == 1
    made(world, "three")
    assert gauge(world) == 0


def test_whoever_restores_it_is_warned(world: OperatorWorld) -> None:
    made(world, "one", suspicion("gone"))
    world.make_restore(placement={"node": "node-2"})
    world.settle()
    assert world.succeeded(resources.RESTORES, "back")["status"] == "True"
    ((reason, message),) = warnings(world, "back")
    assert (reason, "Backup one is Suspect" in message) == ("Suspect", True)


def test_a_claim_that_names_it_itself_is_warned(world: OperatorWorld) -> None:
    made(world, "one")
    made(world, "two", suspicion(world.backup_id("one")))
    for backup, claim in (("one", "from-good"), ("two", "from-suspect")):
        world.make_claim_of("Backup", backup, claim)
        world.pick_node(claim, "node-2")
    world.settle()
    assert warnings(world, "from-good") == []
    ((reason, message),) = warnings(world, "from-suspect")
    assert (reason, "Backup two is Suspect" in message) == ("Suspect", True)
    (event,) = [
        one
        for one in world.cluster.find(cluster.EVENTS)
        if one["involvedObject"]["name"] == "from-suspect" and one["reason"] == "Suspect"
    ]
    assert (event["involvedObject"]["kind"], event["count"]) == ("PersistentVolumeClaim", 1)
    claim = world.cluster.must_get(cluster.CLAIMS, "from-suspect", NAMESPACE)
    assert claim["status"]["phase"] == "Bound"


def test_a_point_in_time_without_a_backup_is_told_by_who_reads_it(world: OperatorWorld) -> None:
    made(world, "one")
    backup_id = world.backup_id("one")
    point = {"repositoryName": "main", "backupId": backup_id}
    for name, suspect in (("sound", None), ("rotten", "1 bytes of volume v differ")):
        world.mover_answers["restore"] |= {"backupId": backup_id, "suspect": suspect}
        target = {"claimName": name, "size": "1Gi"}
        spec = {"point": point, "target": target, "placement": {"node": "node-2"}}
        world.apply(resources.RESTORES, f"of-{name}", spec)
        world.settle()
        assert world.succeeded(resources.RESTORES, f"of-{name}")["status"] == "True"
    text = f"backup {backup_id} is Suspect, and was restored as it is: 1 bytes of volume v differ"
    for name in ("rotten", "of-rotten"):
        assert warnings(world, name) == [("Suspect", text)]
    for name in ("sound", "of-sound"):
        assert warnings(world, name) == []


def test_a_suspect_backup_does_not_count_as_a_good_one(world: OperatorWorld) -> None:
    made(world, "one", suspicion("gone"))
    world.reconcilers[KIND](KEY)
    claim = world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE)
    assert claim["metadata"]["labels"]["mooring.dev/unprotected"] == "NoBackup"


def test_what_it_is_to_be_mended_from_is_not_deleted_with_its_bytes(world: OperatorWorld) -> None:
    made(world, "one", deletionPolicy="Delete")
    made(world, "two", suspicion(world.backup_id("one")))
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle()
    one = world.cluster.must_get(resources.BACKUPS, "one", NAMESPACE)
    said = statuses.condition(one, "Stalled")
    assert (said["reason"], "kubectl delete backup two" in said["message"]) == (
        "HeldForMending",
        True,
    )
    assert "forget" not in world.ended
    world.cluster.delete(resources.BACKUPS, "two", NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == []
    assert "forget" in world.ended


def test_an_object_alone_is_deleted_though_its_bytes_are_held(world: OperatorWorld) -> None:
    made(world, "one")
    made(world, "two", suspicion(world.backup_id("one")))
    world.cluster.delete(resources.BACKUPS, "one", NAMESPACE)
    world.settle()
    assert world.cluster.names(resources.BACKUPS) == ["two"]


def test_a_backup_of_that_id_in_another_repository_holds_nothing(world: OperatorWorld) -> None:
    one = made(world, "one")
    two = made(world, "two", suspicion(world.backup_id("one")))
    assert suspect_backups.holders(one, [one, two]) == ("two",)
    two["status"]["repositoryId"] = "e" * 32
    assert suspect_backups.holders(one, [one, two]) == ()


def test_a_schedule_keeps_what_is_suspect_and_what_it_holds(world: OperatorWorld) -> None:
    world.make_schedule(schedule="0 * * * *", retention={"last": 1})
    world.settle(1)
    names: list[str] = []
    for hour in range(1, 6):
        known = world.cluster.names(resources.BACKUPS)
        first = world.status(resources.BACKUPS, names[0])["backupId"] if names else ""
        world.mover_answers["backup"]["suspect"] = suspicion(first) if hour == 2 else None
        world.clock.moment = world.clock.moment.replace(hour=hour, minute=0, second=0)
        world.settle(25)
        names += sorted(set(world.cluster.names(resources.BACKUPS)) - set(known))
    left = world.cluster.names(resources.BACKUPS)
    assert sorted(left) == sorted([names[0], names[1], names[4]])
    held = world.cluster.must_get(resources.BACKUPS, names[0], NAMESPACE)
    assert "deletionTimestamp" not in held["metadata"]
    world.cluster.delete(resources.BACKUPS, names[1], NAMESPACE)
    world.settle(10)
    world.reconcilers["BackupSchedule"](Key("BackupSchedule", NAMESPACE, "nightly"))
    world.settle(10)
    assert world.cluster.names(resources.BACKUPS) == [names[4]]


def told(world: OperatorWorld, name: str, claim: str) -> mover_spec.BackupSpec:
    """Begins a backup; returns what its mover is told, and lets it end well."""
    world.paused.add("backup")
    world.make_backup(name, claim=claim)
    world.settle()
    (job,) = world.cluster.find(cluster.JOBS)
    config = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    spec = mover_spec.BackupSpec.model_validate(json.loads(config["data"]["spec.json"]))
    world.mover_answers["backup"] |= {"suspect": None, "readWhole": spec.doubt_tracking}
    world.paused.clear()
    world.settle()
    return spec


def test_what_one_volume_lost_puts_its_pool_in_doubt_until_all_is_read(
    world: OperatorWorld,
) -> None:
    world.make_volume("neighbour")
    world.make_volume("elsewhere", node=1)
    assert not told(world, "before", "neighbour").doubt_tracking
    carried = {**suspicion("bk-0"), "fresh": False}
    made(world, "old-news", carried)
    assert not told(world, "still-trusted", "neighbour").doubt_tracking
    made(world, "finding", {**suspicion("bk-0"), "fresh": True})
    assert told(world, "doubted", "neighbour").doubt_tracking
    assert world.status(resources.BACKUPS, "doubted")["readWhole"] is True
    assert not told(world, "trusted", "neighbour").doubt_tracking
    assert not told(world, "on-another-node", "elsewhere").doubt_tracking
    assert told(world, "itself", "data").doubt_tracking


def test_a_backup_of_the_future_hides_nothing_that_is_found_later(world: OperatorWorld) -> None:
    """A clock ran ahead when it was made."""
    future = {"snapshotTime": "2099-01-01T00:00:00Z", "completionTime": "2099-01-01T00:01:00Z"}
    world.make_volume("neighbour")
    assert not told(world, "proof", "neighbour").doubt_tracking
    world.cluster.set_status(resources.BACKUPS, "proof", NAMESPACE, {**future, "readWhole": True})
    made(world, "good")
    world.cluster.set_status(resources.BACKUPS, "good", NAMESPACE, future)
    assert gauge(world) == 0
    world.clock.advance(60)
    made(world, "finding", {**suspicion("bk-0"), "fresh": True})
    assert gauge(world) == 1
    assert told(world, "doubted", "neighbour").doubt_tracking


@pytest.mark.parametrize("nonsense", ["yes", {"message": 3}, {"places": "x"}, [1]])
def test_what_cannot_be_read_is_suspect_all_the_same(world: OperatorWorld, nonsense: Any) -> None:
    one = made(world, "one", nonsense)
    assert statuses.condition(one, "Suspect")["status"] == "True"
    assert one["status"]["suspect"]["placeCount"] == 1


def test_a_mover_is_told_how_much_to_read_again(world: OperatorWorld) -> None:
    world.paused.add("backup")
    world.make_backup("one", scrubPeriodDays=7, acceptSuspect=True)
    world.settle()
    (job,) = world.cluster.find(cluster.JOBS)
    config = world.cluster.must_get(cluster.CONFIG_MAPS, job["metadata"]["name"], NAMESPACE)
    spec = mover_spec.BackupSpec.model_validate(json.loads(config["data"]["spec.json"]))
    assert (spec.scrub_period_seconds, spec.accept_suspect) == (7 * 86400, True)
