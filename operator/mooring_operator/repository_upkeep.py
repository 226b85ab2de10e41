"""Prunes and checks repositories at their times, each by a mover; says how the last run went.

Times are decided as those of BackupSchedules are, for one thing instead of claims: once a time,
none at creation or after an edit, the last missed one caught up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backup_repositories as models
from mooring.domain import quantities
from mooring.planning import backup_schedule_plan as planning
from mooring.planning import movers
from mooring.planning.movers import MoverState
from mooring.ports import clock, cluster
from mooring_operator import schedule_statuses, schedule_timing, statuses
from mooring_operator.builders import jobs, mover_specs, owners
from mooring_operator.builders.repository_mounts import RepositoryMount
from mooring_operator.mover_jobs import MoverJobs

CONDITION = "Maintained"
ROLES = (keys.ROLE_PRUNE, keys.ROLE_CHECK)
_STARTING_DEADLINE = timedelta(hours=12)
_SLACK_SECONDS = 3600  # what was begun in time may end
_CHECK_SECONDS = 7 * 86400
_SOON_SECONDS = 1.0
_WATCH_SECONDS = 5.0
_ENDED = (MoverState.SUCCEEDED, MoverState.FAILED)
_MEMORY = ("following", "followingSince", "lastScheduleTime")


@dataclass(frozen=True)
class _Task:
    """One kind of upkeep: what the user wants of it, and what its mover is told."""

    role: str
    wanted: models.Upkeep | None
    deadline_seconds: int
    spec: Mapping[str, Any]


class RepositoryUpkeep:
    """Keeps repositories small and known to be whole."""

    def __init__(self, movers: MoverJobs, time: clock.Clock) -> None:
        self._movers = movers
        self._time = time

    def advance(
        self, obj: cluster.Object, spec: models.BackupRepositorySpec, repository: RepositoryMount
    ) -> tuple[dict[str, Any], float | None]:
        """Takes one step for a repository that is Ready.

        Returns:
            Changed status fields, and when to look again, in seconds; None for no hurry.
        """
        fields: dict[str, Any] = {}
        waits: list[float] = []
        for task in _tasks(spec):
            found = dict(obj.get("status", {}).get(task.role) or {})
            mover = self._movers.observe(owners.owner_of(obj), task.role)
            if mover.state in _ENDED:
                fields |= self._end(obj, task, found, mover)
                waits.append(_SOON_SECONDS)
            elif mover.state is MoverState.LEAVING:
                waits.append(_SOON_SECONDS)
            else:
                fields[task.role] = self._follow(obj, task, found, mover, repository)
                waits += self._waits(fields[task.role], mover)
        return fields, min(waits, default=None)

    def _end(
        self, obj: cluster.Object, task: _Task, found: dict[str, Any], mover: movers.Mover
    ) -> dict[str, Any]:
        """Notes how a mover ended, and takes it away once that is on record."""
        owner = owners.owner_of(obj)
        due = self._due(owner, task)
        last = found.get("lastRun") or {}
        if last.get("time") == due and not _is_running(last):
            self._movers.remove(owner, task.role)
            return {}
        now = statuses.timestamp(self._time.now())
        # From the Job: a start that was not noted before a kill must not be repeated.
        found["lastScheduleTime"] = max(due, found.get("lastScheduleTime") or due)
        if mover.state is MoverState.FAILED:
            why = {"reason": mover.reason or "MoverFailed", "message": mover.message or "it failed"}
            found["lastRun"] = {"time": due, "outcome": "Failed", "completionTime": now, **why}
            return {task.role: found}
        said = {"message": _summary(task.role, mover.result)}
        found["lastRun"] = {"time": due, "outcome": "Succeeded", "completionTime": now, **said}
        found["lastSuccessfulTime"] = now
        return {task.role: found, **_size(mover.result)}

    def _follow(
        self,
        obj: cluster.Object,
        task: _Task,
        found: dict[str, Any],
        mover: movers.Mover,
        repository: RepositoryMount,
    ) -> dict[str, Any] | None:
        """Starts a mover when it is due; returns what the status says of it."""
        if task.wanted is None and not found:
            return None
        timing = _timing(task.wanted)
        decision = self._decide(obj, task, found, mover, timing)
        for part in decision.start:
            due = statuses.timestamp(part.run.at)
            self._start(owners.owner_of(obj), task, repository, due)
            found["lastRun"] = {"time": due, "outcome": "Running"}
        last = found.get("lastRun") or {}
        if mover.state is MoverState.ABSENT and not decision.start and _is_running(last):
            why = {"reason": "MoverGone", "message": "its Job was taken away before it ended"}
            found["lastRun"] = {**last, "outcome": "Failed", **why}
        kept = schedule_statuses.memory_fields(decision.memory)
        found |= {name: kept[name] for name in _MEMORY}
        next_at = decision.next_at
        found["nextScheduleTime"] = None if next_at is None else statuses.timestamp(next_at)
        found["message"] = None if timing.fault is None else str(timing.fault)
        return {name: value for name, value in found.items() if value is not None}

    def _decide(
        self,
        obj: cluster.Object,
        task: _Task,
        found: dict[str, Any],
        mover: movers.Mover,
        timing: schedule_timing.Timing,
    ) -> planning.Decision:
        active, now = [], self._time.now()
        if mover.state is not MoverState.ABSENT:
            run = planning.scheduled_run(_moment(self._due(owners.owner_of(obj), task), now))
            active.append(planning.ActiveBackup(task.role, task.role, run.name))
        wanted = task.wanted
        seen = planning.Observed(
            created_at=statuses.parse_timestamp(obj["metadata"].get("creationTimestamp")) or now,
            following=f"{wanted.schedule} {wanted.time_zone}" if wanted and timing.table else "",
            timetable=timing.table,
            concurrency=planning.Concurrency.FORBID,
            parallelism=1,
            starting_deadline=_STARTING_DEADLINE,
            asked=None,
            claims=(task.role,),
            active=active,
            # New upkeep of an old repository begins when it was asked for, as after an edit.
            memory=schedule_statuses.memory({"following": "", **found}),
        )
        return planning.decide(seen, now)

    def _start(
        self, owner: owners.Owner, task: _Task, repository: RepositoryMount, due: str
    ) -> None:
        run = jobs.MoverRun(
            owner=owner,
            role=task.role,
            repository=repository,
            deadline_seconds=task.deadline_seconds,
            annotations={keys.UPKEEP_TIME: due},
        )
        self._movers.start(run, task.spec)

    def _due(self, owner: owners.Owner, task: _Task) -> str:
        job = self._movers.job(owner, task.role) or {"metadata": {}}
        noted = (job["metadata"].get("annotations") or {}).get(keys.UPKEEP_TIME)
        return str(noted or statuses.timestamp(self._time.now()))

    def _waits(self, found: dict[str, Any] | None, mover: movers.Mover) -> list[float]:
        if found is None:
            return []
        next_at = statuses.parse_timestamp(found.get("nextScheduleTime"))
        running = _is_running(found.get("lastRun") or {})
        waits = [_WATCH_SECONDS] if running or mover.state is not MoverState.ABSENT else []
        if next_at is not None:
            waits.append(max((next_at - self._time.now()).total_seconds(), _SOON_SECONDS))
        return waits


def conditions(
    obj: cluster.Object, fields: Mapping[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """Returns the condition that says how upkeep goes; none where there is none."""
    found = {role: fields[role] for role in ROLES if fields.get(role)}
    if not found:
        return []
    words = statuses.Words("True", "Maintained", "pruning and checks go well as far as they ran")
    for role, entry in found.items():
        last = entry.get("lastRun") or {}
        if entry.get("message"):
            words = statuses.Words("False", "InvalidSchedule", f"spec.{role}: {entry['message']}")
        elif last.get("outcome") == "Failed":
            words = statuses.Words("False", str(last["reason"]), f"{role}: {last['message']}")
            break
    return [statuses.entry(obj, CONDITION, words, now)]


def _tasks(spec: models.BackupRepositorySpec) -> tuple[_Task, ...]:
    longest = models.Prune.model_fields["maximum_duration_seconds"].default
    longest = longest if spec.prune is None else spec.prune.maximum_duration_seconds
    parts = None if spec.check is None else spec.check.parts
    return (
        _Task(keys.ROLE_PRUNE, spec.prune, longest + _SLACK_SECONDS, mover_specs.prune(longest)),
        _Task(keys.ROLE_CHECK, spec.check, _CHECK_SECONDS, mover_specs.check(parts)),
    )


def _is_running(last: Mapping[str, Any]) -> bool:
    return last.get("outcome") == "Running"


def _timing(wanted: models.Upkeep | None) -> schedule_timing.Timing:
    if wanted is None:
        return schedule_timing.Timing(None, UTC)
    return schedule_timing.read(wanted.schedule, wanted.time_zone)


def _moment(text: str, otherwise: datetime) -> datetime:
    return statuses.parse_timestamp(text) or otherwise


def _size(result: Mapping[str, Any]) -> dict[str, Any]:
    held = result.get("bytesHeld")
    if not isinstance(held, int):
        return {}
    return {"sizeBytes": held, "size": quantities.show_bytes(held)}


def _summary(role: str, result: Mapping[str, Any]) -> str:
    shown = {
        name: quantities.show_bytes(value) if name.startswith("bytes") else str(value)
        for name, value in result.items()
        if isinstance(value, int)
    }
    if role == keys.ROLE_PRUNE:
        freed, marked = shown.get("bytesDeleted", "0 B"), shown.get("bytesMarked", "0 B")
        return f"{freed} freed, {marked} marked to be freed"
    read = shown.get("bytesRead", "0 B")
    return f"{shown.get('backups', '0')} backups are whole as far as was looked; {read} read"
