"""BackupSchedules in a cluster in memory: runs, kills, retention, and what deletion leaves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import resources, statuses, watching
from mooring_operator.work_queue import Key, WorkQueue
from support.operator_world import NAMESPACE, OperatorWorld

KEY = Key("BackupSchedule", NAMESPACE, "nightly")
DAY = 86400
NOT_OURS = "it is not on a Mooring volume; select it by its name or a label"


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.make_repository()
    world.make_volume()
    world.settle(6)
    return world


def at(world: OperatorWorld, hour: int, minute: int = 0, day: int = 1) -> None:
    world.clock.moment = datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def look(world: OperatorWorld) -> float | None:
    return world.reconcilers["BackupSchedule"](KEY)


def backups(world: OperatorWorld) -> list[cluster.Object]:
    return list(world.cluster.find(resources.BACKUPS, NAMESPACE))


def status(world: OperatorWorld) -> dict[str, Any]:
    return world.status(resources.BACKUP_SCHEDULES, "nightly")


def ready(world: OperatorWorld) -> tuple[str, str, str]:
    obj = world.cluster.must_get(resources.BACKUP_SCHEDULES, "nightly", NAMESPACE)
    found = statuses.condition(obj, "Ready")
    return found["status"], found["reason"], found["message"]


def ran(world: OperatorWorld, *days: int) -> None:
    """Makes the schedule's daily run on some days, each to its end."""
    for day in days:
        at(world, 3, day=day)
        world.settle(20)


def test_nothing_runs_at_creation_and_then_each_time_once(world: OperatorWorld) -> None:
    world.make_schedule()
    assert look(world) == 60.0
    assert backups(world) == []
    assert status(world)["nextScheduleTime"] == "2026-01-01T03:00:00Z"
    assert ready(world)[:2] == ("True", "Scheduled")
    at(world, 2, 59)
    assert look(world) == 60.0
    at(world, 3)
    look(world)
    look(world)
    (backup,) = backups(world)
    assert backup["spec"]["source"] == {"persistentVolumeClaimName": "data"}
    assert backup["spec"].get("deletionPolicy", "Retain") == "Retain"
    assert "ownerReferences" not in backup["metadata"]
    assert status(world)["active"] == [backup["metadata"]["name"]]
    assert ready(world)[:2] == ("True", "Running")
    world.settle(20)
    now = status(world)
    assert now["lastRun"]["outcome"] == "Succeeded"
    assert now["lastSuccessfulTime"] == now["lastRun"]["completionTime"]
    assert (now["lastScheduleTime"], now["nextScheduleTime"], now["goodBackups"]) == (
        "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z", 1,
    )  # fmt: skip
    assert "active" not in now
    assert len(backups(world)) == 1


def test_killed_at_any_call_the_next_look_ends_the_same(world: OperatorWorld) -> None:
    world.make_volume("log")
    world.make_schedule(schedule="0 */2 * * *", concurrencyPolicy="Replace")
    look(world)
    at(world, 2)
    look(world)
    first = {backup["metadata"]["name"] for backup in backups(world)}
    assert len(first) == 2
    at(world, 4)
    world.cluster.calls.clear()
    for failing in range(40):
        left = [failing]

        def fail(_: str, left: list[int] = left) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("the API server is away") if left[0] == -1 else None

        world.cluster.fail = fail
        try:
            look(world)
        except errors.Unreachable:
            continue
        if left[0] >= 0:
            break
    world.cluster.fail = lambda _: None
    look(world)
    runs = [backup["metadata"]["labels"][keys.BACKUP_RUN] for backup in backups(world)]
    assert runs.count("20260101-0400") == 2
    world.settle(10)
    left_over = {backup["metadata"]["name"] for backup in backups(world)}
    assert len(left_over) == 2
    assert not left_over & first, "Replace ended the ones before"


def test_a_claim_made_later_is_in_the_next_run_and_what_cannot_be_is_said(
    world: OperatorWorld,
) -> None:
    foreign = {"metadata": {"name": "slow"}, "provisioner": "nfs.example"}
    world.cluster.create(cluster.STORAGE_CLASSES, foreign)
    request = {"resources": {"requests": {"storage": "1"}}}
    world.apply(cluster.CLAIMS, "foreign", {"storageClassName": "slow", **request})
    world.apply(cluster.CLAIMS, "unbound", {"storageClassName": "mooring", **request})
    world.make_schedule()
    at(world, 3)
    look(world)
    world.make_volume("new")
    look(world)
    assert len(backups(world)) == 1
    assert status(world)["leftOut"] == [
        {"name": "foreign", "reason": NOT_OURS},
        {"name": "unbound", "reason": "it has no volume yet"},
    ]
    at(world, 3, day=2)
    look(world)
    claims = [b["spec"]["source"]["persistentVolumeClaimName"] for b in backups(world)]
    assert sorted(claims) == ["data", "new"], "data is still busy with the first"
    assert [entry["claimName"] for entry in status(world)["waiting"]] == ["data"]


@pytest.mark.parametrize(
    ("claims", "chosen"),
    [
        ({"names": ["log", "gone"]}, {"log"}),
        ({"matchLabels": {"app": "shop"}}, {"data", "ours"}),
        ({"all": True}, {"data", "log", "ours"}),
    ],
)
def test_claims_are_chosen_by_name_label_or_all(
    world: OperatorWorld, claims: dict[str, Any], chosen: set[str]
) -> None:
    for name in ("log", "ours"):
        world.make_volume(name)
    change: dict[str, Any] = {"metadata": {"labels": {"app": "shop"}}}
    world.cluster.patch(cluster.CLAIMS, "data", change, NAMESPACE)
    change = {"metadata": {"labels": {keys.VOLUME_CLAIM: "ours"}}}
    world.cluster.patch(cluster.CLAIMS, "ours", change, NAMESPACE)
    world.apply(resources.VOLUME_CLAIMS, "ours", {"size": "1Gi"})
    change = {"metadata": {"labels": {"app": "shop"}}}
    world.cluster.patch(resources.VOLUME_CLAIMS, "ours", change, NAMESPACE)
    world.make_schedule(claims=claims)
    look(world)
    assert status(world)["selectedClaims"] == len(chosen)
    at(world, 3)
    look(world)
    assert {b["spec"]["source"]["persistentVolumeClaimName"] for b in backups(world)} == chosen


def test_a_claim_that_holds_a_repository_is_no_data_of_its_own(world: OperatorWorld) -> None:
    world.make_volume("store")
    spec = {"directory": {"claimName": "store"}, "encryption": {"keySecretName": "key"}}
    world.apply(resources.BACKUP_REPOSITORIES, "second", spec)
    world.make_schedule()
    look(world)
    assert status(world)["leftOut"] == [{"name": "store", "reason": "it holds a BackupRepository"}]


def test_retention_takes_backups_and_their_bytes_and_leaves_others(world: OperatorWorld) -> None:
    world.make_backup("mine")
    world.settle(20)
    world.ended.clear()
    world.make_schedule(retention={"last": 2})
    ran(world, 1, 2, 3, 4)
    runs = [b["metadata"].get("labels", {}).get(keys.BACKUP_RUN) for b in backups(world)]
    assert sorted(filter(None, runs)) == ["20260103-0300", "20260104-0300"]
    assert "mine" in [b["metadata"]["name"] for b in backups(world)]
    assert world.ended.count("forget") == 2
    assert status(world)["goodBackups"] == 2


def test_a_failed_backup_pushes_nothing_out_and_few_failed_ones_stay(world: OperatorWorld) -> None:
    world.make_schedule(retention={"last": 1}, failedBackupsHistoryLimit=1)
    ran(world, 1)
    world.failing["backup"] = {"reason": "SpaceExhausted", "message": "no room"}
    for day in (2, 3, 4):
        at(world, 3, day=day)
        world.settle(20)
    states = sorted(statuses.condition(b, "Succeeded")["status"] for b in backups(world))
    assert states == ["False", "True"]
    assert "forget" not in world.ended
    assert ready(world)[:2] == ("False", "LastRunFailed")
    assert "-l mooring.dev/run=20260104-0300" in ready(world)[2]
    world.failing.clear()
    at(world, 3, day=5)
    world.settle(20)
    assert ready(world)[:2] == ("True", "Scheduled")
    assert world.ended.count("forget") == 1


def test_a_claim_made_anew_does_not_push_out_the_data_that_was_lost(world: OperatorWorld) -> None:
    world.make_schedule(retention={"last": 1})
    ran(world, 1)
    volume = world.cluster.must_get(cluster.CLAIMS, "data", NAMESPACE)["spec"]["volumeName"]
    world.cluster.delete(cluster.CLAIMS, "data", NAMESPACE)
    world.cluster.delete(cluster.PERSISTENT_VOLUMES, volume)
    world.play()
    world.make_volume()
    ran(world, 2, 3)
    uids = [b["status"]["claimUid"] for b in backups(world)]
    assert len(uids) == 2
    assert len(set(uids)) == 2


def test_killed_between_marking_and_deleting_it_is_deleted_later_or_reprieved(
    world: OperatorWorld,
) -> None:
    world.make_schedule(retention={"last": 1})
    ran(world, 1)
    at(world, 3, day=2)

    def fail(call: str) -> errors.MooringError | None:
        gone = call.startswith("delete backups")
        return errors.Unreachable("the API server is away") if gone else None

    world.cluster.fail = fail
    with pytest.raises(errors.Unreachable):
        world.settle(20)
    marked = [b for b in backups(world) if keys.RETIRED in b["metadata"].get("annotations", {})]
    assert [b["spec"]["deletionPolicy"] for b in marked] == ["Delete"]
    assert marked[0]["metadata"]["annotations"][keys.RETIRED] == "no rule keeps it"
    world.cluster.fail = lambda _: None
    change = {"spec": {"retention": {"last": 5}}}
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", change, NAMESPACE)
    world.settle(5)
    assert {b["spec"].get("deletionPolicy") for b in backups(world)} <= {"Retain", None}
    assert all(keys.RETIRED not in b["metadata"].get("annotations", {}) for b in backups(world))
    change = {"spec": {"retention": {"last": 1}}}
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", change, NAMESPACE)
    world.settle(20)
    assert len(backups(world)) == 1


def test_what_hinders_retention_hinders_no_run(world: OperatorWorld) -> None:
    world.make_schedule()
    ran(world, 1, 2)
    change = {"spec": {"retention": {"last": 1}}}
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", change, NAMESPACE)

    def fail(call: str) -> errors.MooringError | None:
        refused = call.startswith("patch backups ")
        return errors.PermissionDenied("a webhook says no") if refused else None

    world.cluster.fail = fail
    at(world, 3, day=3)
    with pytest.raises(errors.PermissionDenied):
        look(world)
    assert status(world)["lastScheduleTime"] == "2026-01-03T03:00:00Z"
    assert len(backups(world)) == 3


def test_deleting_a_schedule_deletes_no_backup_and_no_bytes(world: OperatorWorld) -> None:
    world.make_schedule(retention={"last": 1})
    ran(world, 1)
    world.cluster.delete(resources.BACKUP_SCHEDULES, "nightly", NAMESPACE)
    assert world.cluster.names(resources.BACKUP_SCHEDULES) == []
    world.settle(20)
    (kept,) = backups(world)
    at(world, 12, day=5)
    world.make_schedule(retention={"last": 1})
    at(world, 3, day=6)
    world.settle(20)
    names = [b["metadata"]["name"] for b in backups(world)]
    assert kept["metadata"]["name"] in names, "another one of its name has no say"
    assert len(names) == 2
    assert "forget" not in world.ended


def test_a_run_is_made_at_once_when_it_is_asked_for_and_once_a_name(world: OperatorWorld) -> None:
    world.make_schedule(suspend=True)
    look(world)
    assert ready(world)[:2] == ("True", "Suspended")
    assert "nextScheduleTime" not in status(world)
    for name in ("before-upgrade", "before-upgrade", "second", "before-upgrade"):
        change = {"metadata": {"annotations": {keys.RUN_NOW: name}}}
        world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", change, NAMESPACE)
        world.settle(20)
    runs = [b["metadata"]["labels"][keys.BACKUP_RUN] for b in backups(world)]
    assert sorted(runs) == ["before-upgrade", "second"]
    assert status(world)["askedRuns"] == ["before-upgrade", "second"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "every day"}, "is no schedule"),
        ({"schedule": "0 0 30 2 *"}, "is no schedule"),
        ({"timeZone": "Europe/Nowhere"}, "no time zone"),
        ({"timeZone": "../../etc/passwd"}, "no time zone"),
        ({"timeZone": "America"}, "no time zone"),
        ({"retention": {}}, "retention needs"),
        ({"claims": 7}, "cannot be read"),
    ],
)
def test_what_cannot_be_followed_is_said_and_mended_without_a_surprise(
    world: OperatorWorld, change: dict[str, Any], words: str
) -> None:
    obj = world.make_schedule()
    look(world)
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", {"spec": change}, NAMESPACE)
    look(world)
    assert ready(world)[:2] == ("False", "InvalidInput")
    assert words in ready(world)[2]
    at(world, 3)
    look(world)
    mended = {"spec": dict.fromkeys(change) | obj["spec"]}
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", mended, NAMESPACE)
    at(world, 3, 10)
    look(world)
    assert backups(world) == []
    at(world, 3, day=2)
    look(world)
    assert len(backups(world)) == 1


def test_a_name_of_a_run_that_cannot_be_is_said(world: OperatorWorld) -> None:
    world.make_schedule()
    change = {"metadata": {"annotations": {keys.RUN_NOW: "no good name"}}}
    world.cluster.patch(resources.BACKUP_SCHEDULES, "nightly", change, NAMESPACE)
    look(world)
    assert backups(world) == []
    assert "no name of a run" in ready(world)[2]
    at(world, 3)
    look(world)
    assert len(backups(world)) == 1, "its own times are kept"


def test_what_is_refused_is_said_and_tried_again_until_it_is_late(world: OperatorWorld) -> None:
    world.make_schedule()
    look(world)

    def quota(call: str) -> errors.MooringError | None:
        made = call.startswith("create backups")
        return errors.PermissionDenied("exceeded quota: backups") if made else None

    at(world, 3)
    world.cluster.fail = quota
    look(world)
    assert ready(world) == ("False", "PermissionDenied", "exceeded quota: backups")
    world.cluster.fail = lambda _: None
    world.clock.advance(600)
    look(world)
    assert len(backups(world)) == 1
    world.settle(20)
    at(world, 3, day=2)
    world.cluster.fail = quota
    look(world)
    world.cluster.fail = lambda _: None
    world.clock.advance(3600)
    look(world)
    look(world)
    assert len(backups(world)) == 1
    missed = [e for e in world.cluster.find(cluster.EVENTS) if e["reason"] == "MissedSchedule"]
    assert [(event["count"], event["type"]) for event in missed] == [(1, "Warning")]


def test_without_claims_it_says_so(world: OperatorWorld) -> None:
    world.make_schedule(claims={"names": ["gone"]})
    look(world)
    assert ready(world)[:2] == ("False", "NothingSelected")
    assert "gone: there is no such" in ready(world)[2]
    at(world, 3)
    look(world)
    look(world)
    assert status(world)["lastRun"]["outcome"] == "Empty"


def test_few_of_its_backups_run_together_and_all_have_their_turn(world: OperatorWorld) -> None:
    world.make_volume("log")
    world.make_schedule(parallelism=1)
    at(world, 3)
    look(world)
    look(world)
    assert len(backups(world)) == 1
    (waiting,) = status(world)["waiting"]
    assert (waiting["claimName"], waiting["queued"]) == ("log", True)
    world.settle(40)
    assert len(backups(world)) == 2
    assert status(world)["lastRun"]["outcome"] == "Succeeded"
    assert "waiting" not in status(world)


def test_options_of_its_backups_reach_them(world: OperatorWorld) -> None:
    world.make_schedule(backup={"freezeTimeoutSeconds": 3}, startingDeadlineSeconds=60)
    at(world, 3)
    look(world)
    (backup,) = backups(world)
    assert backup["spec"]["freezeTimeoutSeconds"] == 3
    assert backup["spec"]["startingDeadlineSeconds"] == 600


def test_it_looks_again_in_time(world: OperatorWorld) -> None:
    world.make_schedule()
    look(world)
    world.clock.moment = datetime(2026, 1, 1, 3, tzinfo=UTC) - timedelta(seconds=7)
    assert look(world) == 7.0
    world.clock.advance(7)
    assert look(world) == 10.0


def test_its_backups_tell_it_and_others_do_not(world: OperatorWorld) -> None:
    queue = WorkQueue()
    world.make_schedule()
    world.make_backup("mine")
    at(world, 3)
    look(world)
    for backup in backups(world):
        watching.tell_of_backup(queue, backup)
    assert queue.waiting() == 1
    queue.add(KEY)
    assert queue.waiting() == 1, "it was this one"


def test_time_zones_are_known_where_the_system_has_none() -> None:
    import subprocess
    import sys

    code = (
        "import zoneinfo; zoneinfo.reset_tzpath(to=()); "
        "print(zoneinfo.ZoneInfo('Europe/Berlin').key)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "Europe/Berlin"


def test_a_second_schedule_says_when_everything_is_read(world: OperatorWorld) -> None:
    world.make_schedule(readEverythingSchedule="0 0 * * 4", backup={"bytesPerSecond": "50Mi"})
    look(world)
    ran(world, 1, 2)
    assert [b["spec"]["reading"] for b in backups(world)] == ["Changed", "Changed"]
    ran(world, 8)  # the 1st and the 8th are Thursdays; its run of the 1st came before the Friday
    last = backups(world)[-1]["spec"]
    assert (last["reading"], last["bytesPerSecond"]) == ("Everything", "50Mi")
    assert status(world)["lastRun"]["everything"] is True
    ran(world, 9)
    assert backups(world)[-1]["spec"]["reading"] == "Changed"
    assert status(world)["lastRun"]["everything"] is False


def test_what_failed_to_read_everything_is_made_up_for_by_the_next_one(
    world: OperatorWorld,
) -> None:
    world.make_volume("log")
    world.make_schedule(readEverythingSchedule="0 3 2 * *", parallelism=1)
    look(world)
    ran(world, 1)
    at(world, 3, day=2)
    look(world)
    (waiting,) = status(world)["waiting"]
    assert waiting["everything"] is True
    world.failing["backup"] = {"reason": "HostFailure", "message": "no"}
    world.settle(40)
    world.failing.clear()
    ran(world, 3)
    ran(world, 4)
    wanted: dict[str, list[str]] = {}
    for backup in backups(world):
        day = backup["metadata"]["labels"][keys.BACKUP_RUN][6:8]
        wanted.setdefault(day, []).append(backup["spec"]["reading"])
    assert wanted == {
        "01": ["Changed"] * 2, "02": ["Everything"] * 2, "03": ["Everything"] * 2,
        "04": ["Changed"] * 2,
    }  # fmt: skip


def test_a_second_schedule_that_cannot_be_read_is_said_and_stops_no_run(
    world: OperatorWorld,
) -> None:
    world.make_schedule(readEverythingSchedule="every week")
    look(world)
    assert ready(world)[:2] == ("False", "InvalidInput")
    assert "'every week' is no schedule" in ready(world)[2]
    ran(world, 1)
    assert status(world)["lastRun"]["outcome"] == "Succeeded"
