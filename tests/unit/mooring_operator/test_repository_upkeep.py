"""Pruning and checking repositories at their times, by movers."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import resources, statuses
from mooring_operator.work_queue import Key
from support.operator_world import NAMESPACE, OperatorWorld

REPOSITORIES = resources.BACKUP_REPOSITORIES
KEY = Key("BackupRepository", NAMESPACE, "main")


@pytest.fixture
def world() -> OperatorWorld:
    world = OperatorWorld()
    world.mover_answers["prune"] = {
        "bytesHeld": 3 << 20, "bytesDeleted": 1 << 20, "bytesMarked": 0, "stoppedByTime": False,
    }  # fmt: skip
    world.mover_answers["check"] = {"backups": 2, "chunks": 9, "bytesRead": 1 << 10}
    world.make_repository()
    world.settle(6)
    world.ended.clear()
    return world


def want(world: OperatorWorld, **upkeep: Any) -> None:
    world.cluster.patch(REPOSITORIES, "main", {"spec": upkeep}, NAMESPACE)
    world.settle(8)
    world.ended.clear()


def at(world: OperatorWorld, hour: int, day: int = 1) -> None:
    world.clock.moment = datetime(2026, 1, day, hour, tzinfo=UTC)


def status(world: OperatorWorld, role: str = "prune") -> dict[str, Any]:
    found = world.status(REPOSITORIES, "main").get(role, {})
    assert isinstance(found, dict)
    return found


def maintained(world: OperatorWorld) -> tuple[str, str]:
    obj = world.cluster.must_get(REPOSITORIES, "main", NAMESPACE)
    assert statuses.condition(obj, "Ready")["status"] == "True"
    found = statuses.condition(obj, "Maintained")
    return found.get("status", ""), found.get("reason", "")


def test_without_a_wish_nothing_is_pruned_or_checked(world: OperatorWorld) -> None:
    at(world, 12, day=3)
    world.settle(6)
    assert set(world.ended) <= {"probe"}
    assert status(world) == {}
    assert maintained(world) == ("", "")


def test_it_is_pruned_once_a_time_and_says_what_is_left(world: OperatorWorld) -> None:
    at(world, 5)
    want(world, prune={"schedule": "0 4 * * *"})
    assert world.ended == [], "04:00 was before it was asked for"
    assert status(world)["nextScheduleTime"] == "2026-01-02T04:00:00Z"
    at(world, 4, day=2)
    world.settle(12)
    assert world.ended.count("prune") == 1
    done = status(world)
    assert done["lastRun"]["outcome"] == "Succeeded"
    assert done["lastRun"]["message"] == "1.0 MiB freed, 0 B marked to be freed"
    assert done["lastSuccessfulTime"] == done["lastRun"]["completionTime"]
    assert world.status(REPOSITORIES, "main")["size"] == "3.0 MiB"
    assert maintained(world) == ("True", "Maintained")
    assert world.cluster.names(cluster.JOBS) == []
    world.settle(6)
    assert world.ended.count("prune") == 1


def test_the_mover_is_told_its_bounds(world: OperatorWorld) -> None:
    world.paused |= {"prune", "check"}
    want(
        world,
        prune={"schedule": "0 4 * * *", "maximumDurationSeconds": 600},
        check={"schedule": "0 4 * * *", "parts": 30},
    )
    at(world, 4)
    world.settle(10)
    told = {
        found["metadata"]["name"].split("-")[1]: json.loads(found["data"]["spec.json"])
        for found in world.cluster.find(cluster.CONFIG_MAPS, NAMESPACE)
        if "spec.json" in found["data"]
    }
    assert told["prune"]["maximumDurationSeconds"] == 600
    assert told["check"]["parts"] == 30
    assert status(world)["lastRun"]["outcome"] == "Running"
    assert "lastSuccessfulTime" not in status(world, "check")


def test_damage_that_a_check_finds_is_a_condition_until_a_check_goes_well(
    world: OperatorWorld,
) -> None:
    want(world, check={"schedule": "0 4 * * *"})
    world.failing["check"] = {"reason": "DataCorrupt", "message": "1 problems were found"}
    at(world, 4)
    world.settle(12)
    assert maintained(world) == ("False", "DataCorrupt")
    assert status(world, "check")["lastRun"]["message"] == "1 problems were found"
    world.failing.clear()
    world.settle(4)
    assert maintained(world) == ("False", "DataCorrupt")
    at(world, 4, day=2)
    world.settle(12)
    assert maintained(world) == ("True", "Maintained")


def test_killed_at_any_call_it_runs_once_a_time(world: OperatorWorld) -> None:
    want(world, prune={"schedule": "0 4 * * *"})
    at(world, 4)
    for failing in range(30):
        left = [failing]

        def fail(_: str, left: list[int] = left) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("the API server is away") if left[0] == -1 else None

        world.cluster.fail = fail
        with contextlib.suppress(errors.Unreachable):
            world.reconcilers["BackupRepository"](KEY)
        world.cluster.fail = lambda _: None
        world.play()
    world.settle(12)
    assert world.ended.count("prune") == 1
    assert status(world)["lastRun"]["outcome"] == "Succeeded"


def test_a_mover_that_is_taken_away_is_no_success(world: OperatorWorld) -> None:
    world.paused.add("prune")
    want(world, prune={"schedule": "0 4 * * *"})
    at(world, 4)
    world.settle(10)
    (job,) = world.cluster.names(cluster.JOBS)
    world.cluster.delete(cluster.JOBS, job, NAMESPACE)
    world.settle(3)
    assert maintained(world) == ("False", "MoverGone")
    assert world.cluster.names(cluster.JOBS) == []


def test_a_schedule_that_cannot_be_read_is_said(world: OperatorWorld) -> None:
    want(world, prune={"schedule": "now and then"})
    assert maintained(world) == ("False", "InvalidSchedule")
    assert "is no schedule" in status(world)["message"]
    want(world, prune={"schedule": "0 4 * * *"})
    assert maintained(world) == ("True", "Maintained")


def test_a_repository_that_goes_takes_its_upkeep_with_it(world: OperatorWorld) -> None:
    world.paused.add("prune")
    want(world, prune={"schedule": "0 4 * * *"})
    at(world, 4)
    world.settle(10)
    assert len(world.cluster.names(cluster.JOBS)) == 1
    world.cluster.delete(REPOSITORIES, "main", NAMESPACE)
    world.settle(8)
    assert world.cluster.names(cluster.JOBS) == []
    assert world.cluster.names(REPOSITORIES) == []
