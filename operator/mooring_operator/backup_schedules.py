"""BackupSchedule: observe claims and Backups, decide, make and retire Backups, report."""

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backup_schedules as models
from mooring.api.v1alpha1.volume_claims import DeletionPolicy
from mooring.domain import errors
from mooring.planning import backup_history, retention, verdicts
from mooring.planning import backup_schedule_plan as planning
from mooring.planning.backup_history import State
from mooring.ports import clock, cluster
from mooring_operator import (
    parsing,
    resources,
    schedule_claims,
    schedule_statuses,
    schedule_timing,
    schedule_verdicts,
    statuses,
    suspect_backups,
)
from mooring_operator.builders import owners, scheduled_backups
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "BackupSchedule"
_LONGEST_WAIT_SECONDS = 60.0
_BUSY_SECONDS = 10.0
_SHOWN = 50


@dataclass(frozen=True)
class _Look:
    """One look at a schedule and what is around it."""

    obj: cluster.Object
    spec: models.BackupScheduleSpec
    timing: schedule_timing.Timing
    everything: schedule_timing.Timing
    rules: retention.KeepRules | None
    selection: schedule_claims.Selection
    backups: Sequence[cluster.Object]
    held: Collection[str] = ()


class BackupSchedules:
    """Reconciles BackupSchedules. They have no finalizer: what they made outlives them."""

    def __init__(
        self, objects: cluster.ClusterObjects, recorder: Recorder, time: clock.Clock
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._time = time

    def reconcile(self, key: Key) -> float | None:
        """Looks at one BackupSchedule; returns when to look again, in seconds."""
        obj = self._objects.get(resources.BACKUP_SCHEDULES, key.name, key.namespace)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        try:
            look = self._look(obj)
        except errors.InvalidInput as error:
            kept = obj.get("status", {}) | {"following": ""}
            self._report(obj, verdicts.stuck(error.reason, str(error)), kept)
            return _LONGEST_WAIT_SECONDS
        decision, fault = self._decide(look)
        refused = self._act(look, decision)
        self._conclude(look, decision, refused, fault)
        self._tidy(look)  # last: what hinders it hinders no run
        return self._again(look, decision)

    def _look(self, obj: cluster.Object) -> _Look:
        spec = parsing.spec_of(obj, models.BackupScheduleSpec)
        owner = owners.owner_of(obj)
        everyone = self._objects.find(resources.BACKUPS, owner.namespace)
        named_class = spec.backup.volume_snapshot_class_name if spec.backup else None
        return _Look(
            obj,
            spec,
            schedule_timing.read(spec.schedule, spec.time_zone),
            schedule_timing.read(spec.read_everything_schedule, spec.time_zone),
            _rules(spec.retention),
            schedule_claims.select(self._objects, owner.namespace, spec.claims, named_class),
            [one for one in everyone if _owner_uid(one) == owner.uid],
            suspect_backups.held(everyone),
        )

    def _decide(self, look: _Look) -> tuple[planning.Decision, errors.InvalidInput | None]:
        now, metadata, spec = self._time.now(), look.obj["metadata"], look.spec
        asked = (metadata.get("annotations") or {}).get(keys.RUN_NOW)
        fault = look.timing.fault or look.everything.fault
        try:
            asked = None if asked is None else planning.parse_run_name(asked)
        except errors.InvalidInput as error:
            asked, fault = None, error
        followed = look.timing.table is not None and not spec.suspend
        seen = planning.Observed(
            created_at=statuses.parse_timestamp(metadata.get("creationTimestamp")) or now,
            following=f"{spec.schedule} {spec.time_zone}" if followed else "",
            timetable=look.timing.table if followed else None,
            concurrency=spec.concurrency_policy,
            parallelism=spec.parallelism,
            starting_deadline=timedelta(seconds=spec.starting_deadline_seconds),
            asked=asked,
            claims=look.selection.claims,
            active=schedule_statuses.active(look.backups),
            memory=schedule_statuses.memory(look.obj.get("status", {})),
            everything=look.everything.table,
            owed=schedule_statuses.owed(look.backups),
        )
        return planning.decide(seen, now), fault

    def _act(self, look: _Look, decision: planning.Decision) -> errors.MooringError | None:
        """Makes and ends Backups; returns what hindered one, for good as far as is known.

        Raises:
            Unreachable: Not all of it is done; the next look decides the same again.
        """
        owner, refused = owners.owner_of(look.obj), None
        for part in decision.start:
            body = scheduled_backups.backup(owner, look.spec, part)
            try:
                self._objects.create(resources.BACKUPS, body)
            except errors.AlreadyExists:
                continue  # made before a kill
            except errors.MooringError as error:
                if verdicts.is_transient(error):
                    raise
                refused = error
        ending = {one["metadata"]["name"]: one for one in look.backups}
        for name in decision.end if refused is None else ():
            uid = ending[name]["metadata"]["uid"]
            self._objects.delete(resources.BACKUPS, name, owner.namespace, uid=uid)
        if decision.missed is not None:
            self._recorder.event(look.obj, schedule_verdicts.missed(decision.missed))
        return refused

    def _tidy(self, look: _Look) -> None:
        """Lets go of Backups that have had their day."""
        if look.timing.fault is not None:
            return  # in a zone that is not known no day begins
        found = [(backup, schedule_statuses.past(backup, look.held)) for backup in look.backups]
        by_name = {past.name: backup for backup, past in found if past is not None}
        limits = backup_history.Limits(
            rules=look.rules,
            failed=look.spec.failed_backups_history_limit,
            zone=look.timing.zone,
            now=self._time.now(),
        )
        verdict = backup_history.decide([past for _, past in found if past is not None], limits)
        for name, why in verdict.retire:
            # The policy first: killed in between, the object is still there to be deleted.
            self._mark(by_name[name], DeletionPolicy.DELETE, why)
            self._delete(by_name[name])
        for name in verdict.drop:
            self._delete(by_name[name])
        for name in verdict.reprieve:
            self._mark(by_name[name], DeletionPolicy.RETAIN, None)

    def _mark(self, backup: cluster.Object, policy: DeletionPolicy, why: str | None) -> None:
        metadata = backup["metadata"]
        change: cluster.Object = {
            "metadata": {"annotations": {keys.RETIRED: why}},
            "spec": {"deletionPolicy": policy.value},
        }
        with contextlib.suppress(errors.NotFound):
            self._objects.patch(resources.BACKUPS, metadata["name"], change, metadata["namespace"])

    def _delete(self, backup: cluster.Object) -> None:
        metadata = backup["metadata"]
        self._objects.delete(
            resources.BACKUPS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
        )

    def _conclude(
        self,
        look: _Look,
        decision: planning.Decision,
        refused: errors.MooringError | None,
        fault: errors.InvalidInput | None,
    ) -> None:
        status = dict(look.obj.get("status", {}))
        if refused is None:
            # A run of which a Backup was refused is tried again until it is late.
            status |= schedule_statuses.memory_fields(decision.memory)
            for run in decision.runs:
                status["lastRun"] = schedule_statuses.begun(run, len(look.selection.claims))
        waiting = [entry.part for entry in decision.memory.waiting]
        going_on = {part.run.name for part in (*decision.start, *waiting)}
        last = schedule_statuses.followed(status.get("lastRun") or {}, look.backups, going_on)
        if last.get("outcome") == schedule_statuses.SUCCEEDED:
            status["lastSuccessfulTime"] = last["completionTime"]
        next_at = decision.next_at
        status |= {
            "lastRun": last or None,
            "active": self._active(look, decision) or None,
            "nextScheduleTime": None if next_at is None else statuses.timestamp(next_at),
            "selectedClaims": len(look.selection.claims),
            "selected": list(look.selection.claims[:_SHOWN]) or None,
            "leftOut": _left_out(look.selection) or None,
            "goodBackups": sum(_is_kept(backup) for backup in look.backups),
        }
        verdict = schedule_verdicts.of(look.spec, status, refused or fault)
        self._report(look.obj, verdict, status)

    def _active(self, look: _Look, decision: planning.Decision) -> list[str]:
        names = {one.name for one in schedule_statuses.active(look.backups)}
        owner = owners.owner_of(look.obj)
        names |= {scheduled_backups.name_of(owner, part) for part in decision.start}
        return sorted(names - set(decision.end))[:_SHOWN]

    def _again(self, look: _Look, decision: planning.Decision) -> float:
        waits = [_LONGEST_WAIT_SECONDS]
        if decision.start or decision.memory.waiting or schedule_statuses.active(look.backups):
            waits.append(_BUSY_SECONDS)
        if decision.next_at is not None:
            waits.append((decision.next_at - self._time.now()).total_seconds())
        return max(min(waits), 0.1)

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, status: dict[str, Any]
    ) -> None:
        fields = {
            name: value
            for name, value in status.items()
            if name not in ("conditions", "observedGeneration")
        }
        self._recorder.report(resources.BACKUP_SCHEDULES, obj, "Ready", verdict, fields)


def _rules(wanted: models.Retention | None) -> retention.KeepRules | None:
    return None if wanted is None else retention.KeepRules(**wanted.model_dump())


def _owner_uid(backup: cluster.Object) -> str | None:
    return (backup["metadata"].get("labels") or {}).get(keys.OWNER_UID)


def _is_kept(backup: cluster.Object) -> bool:
    deleting = "deletionTimestamp" in backup["metadata"]
    return schedule_statuses.state_of(backup) is State.GOOD and not deleting


def _left_out(selection: schedule_claims.Selection) -> list[dict[str, str]]:
    return [{"name": name, "reason": reason} for name, reason in selection.left_out[:_SHOWN]]
