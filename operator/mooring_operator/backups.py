"""Backup: observe claim, repository, snapshot and mover, plan one action, act, report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backups as models
from mooring.api.v1alpha1.volume_claims import DeletionPolicy
from mooring.domain import errors
from mooring.planning import backup_run_plan, movers, verdicts
from mooring.planning.backup_run_plan import Action, Need
from mooring.ports import cluster
from mooring_operator import (
    backup_sources,
    backup_starts,
    foreign_volumes,
    listings,
    parsing,
    resources,
    restores,
    run_statuses,
    statuses,
    suspect_backups,
)
from mooring_operator.builders import jobs, mover_specs, owners
from mooring_operator.foreign_volumes import ForeignVolumes
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.own_volumes import OwnVolumes
from mooring_operator.recorder import Recorder
from mooring_operator.repository_access import Access, RepositoryAccess
from mooring_operator.surroundings import Surroundings
from mooring_operator.work_queue import Key

KIND = "Backup"
_SOON_SECONDS = 0.3
_WATCH_SECONDS = 1.0
_NEED_SECONDS = 2.0  # for as long as startingDeadlineSeconds
_WAIT_SECONDS = 10.0
_DAY_SECONDS = 86400
_NEVER = None
_SUCCEEDED = movers.MoverState.SUCCEEDED
_WORTH_WAITING = (
    errors.Busy,
    errors.Unreachable,
    errors.SpaceExhausted,
    errors.HostFailure,
    errors.PermissionDenied,  # a quota may be lifted
)


@dataclass(frozen=True)
class _Found:
    """What an observation found, for the acts that follow."""

    source: backup_sources.Source
    access: Access | None


class Backups:
    """Reconciles Backups."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        movers: MoverJobs,
        access: RepositoryAccess,
        surroundings: Surroundings,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._movers = movers
        self._access = access
        self._own = OwnVolumes(surroundings, movers)
        self._foreign = ForeignVolumes(objects)
        self._starts = backup_starts.BackupStarts(objects, movers, self._own, self._foreign)
        self._time = surroundings.time

    def reconcile(self, key: Key) -> float | None:
        """Brings one Backup a step closer; returns when to look again, in seconds."""
        obj = self._objects.get(resources.BACKUPS, key.name, key.namespace)
        if obj is None:
            return None
        deleting = "deletionTimestamp" in obj["metadata"]
        if deleting and keys.FINALIZER not in obj["metadata"].get("finalizers", []):
            return None
        try:
            spec = parsing.spec_of(obj, models.BackupSpec)
        except errors.InvalidInput as error:
            if deleting:
                self._recorder.let_go(resources.BACKUPS, obj)
            else:
                self._report(obj, verdicts.failed(error.reason, str(error)), {"released": True})
            return _NEVER
        if listings.is_imported(obj) and not deleting and not obj.get("status"):
            return _NEVER  # it is being made from what the repository holds
        if not deleting:
            self._recorder.hold(resources.BACKUPS, obj)
        seen, found = self._observe(obj, spec)
        decision = backup_run_plan.decide(seen, self._time.now())
        try:
            return self._act(obj, spec, decision, seen, found)
        except errors.MooringError as error:
            if verdicts.is_transient(error) or seen.outcome is not None or deleting:
                raise
            verdict = self._bounded(obj, spec, error, "it cannot be started")
            self._report(obj, verdict, obj.get("status", {}))
            return _WAIT_SECONDS

    def _observe(
        self, obj: cluster.Object, spec: models.BackupSpec
    ) -> tuple[backup_run_plan.Observed, _Found]:
        owner, status = owners.owner_of(obj), obj.get("status", {})
        deleting = "deletionTimestamp" in obj["metadata"]
        outcome = {"True": True, "False": False}.get(
            statuses.condition(obj, "Succeeded").get("status", "")
        )
        under_way = outcome is None and not deleting
        mover = self._movers.observe(owner, keys.ROLE_BACKUP) if under_way else movers.ABSENT
        needs = under_way and mover.state is movers.MoverState.ABSENT
        source = backup_sources.NOT_ASKED
        if needs:
            source = backup_sources.find(self._objects, self._foreign, owner, spec)
        access, repository = None, Need(True)
        if needs or deleting:
            home = None if source.own is None else source.own.node
            access, repository = self._access.find(
                spec.repository_name, owner.namespace, home, to_write=needs
            )
        seen = backup_run_plan.Observed(
            created_at=statuses.parse_timestamp(obj["metadata"].get("creationTimestamp"))
            or self._time.now(),
            starting_deadline_seconds=spec.starting_deadline_seconds,
            outcome=outcome,
            stored="backupId" in status,
            released=bool(status.get("released")),
            deleting=deleting,
            held_by=self._readers(obj) if deleting else (),
            mends=self._holders(obj) if deleting else (),
            forget_bytes=spec.deletion_policy is DeletionPolicy.DELETE,
            source=source.need,
            repository=repository,
            snapshot_taken="snapshotTime" in status,
            mover=mover,
            forgetting=self._movers.observe(owner, keys.ROLE_FORGET) if deleting else movers.ABSENT,
            preparing=self._preparing(owner, status, source) if under_way else Need(True),
            answered="driver" not in status or bool(foreign_volumes.facts(mover.result)),
        )
        return seen, _Found(source, access)

    def _preparing(
        self, owner: owners.Owner, status: dict[str, Any], source: backup_sources.Source
    ) -> Need:
        if "driver" not in status and source.foreign is None:
            return Need(True)
        return self._foreign.waits_for(owner, status, source.foreign)

    def _readers(self, obj: cluster.Object) -> tuple[str, ...]:
        """Returns the Restores and claims that still read this backup, as kubectl names them."""
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        backup_id = obj.get("status", {}).get("backupId")
        readers = [
            f"restore/{restore['metadata']['name']}"
            for restore in self._objects.find(resources.RESTORES, namespace)
            if statuses.condition(restore, "Succeeded").get("status") not in ("True", "False")
            and restores.reads(restore, name, backup_id)
        ]
        readers += [
            f"pvc/{claim['metadata']['name']}"
            for claim in self._objects.find(cluster.CLAIMS, namespace)
            if restores.is_source(claim, KIND, name)
            and claim.get("status", {}).get("phase") != "Bound"
        ]
        return tuple(readers)

    def _holders(self, obj: cluster.Object) -> tuple[str, ...]:
        namespace = obj["metadata"]["namespace"]
        return suspect_backups.holders(obj, self._objects.find(resources.BACKUPS, namespace))

    def _act(
        self,
        obj: cluster.Object,
        spec: models.BackupSpec,
        decision: backup_run_plan.Decision,
        seen: backup_run_plan.Observed,
        found: _Found,
    ) -> float | None:
        status = dict(obj.get("status", {}))
        verdict = decision.verdict
        again = _SOON_SECONDS if seen.preparing.ready else _WATCH_SECONDS
        match decision.action:
            case Action.WAIT:
                again = _pause(seen)
                status |= run_statuses.progress_fields(seen.mover.progress, seen.mover.attempts)
            case Action.SNAPSHOT:
                said = verdict or run_statuses.present(obj)
                verdict = self._snapshot(obj, spec, status, found, said)
            case Action.START:
                self._starts.start(obj, spec, found.source, found.access)
            case Action.RERUN:
                self._movers.remove(owners.owner_of(obj), keys.ROLE_BACKUP)
            case Action.SUCCEED:
                status |= self._outcome(obj, spec, status, seen.mover)
            case Action.RELEASE:
                status["released"], going = self._release(obj, status)
                again = _WATCH_SECONDS if going else _SOON_SECONDS
                verdict = _deleting(going) if going and seen.deleting else verdict
                status.setdefault("completionTime", statuses.timestamp(self._time.now()))
                status |= run_statuses.progress_fields(seen.mover.progress, seen.mover.attempts)
            case Action.FORGET:
                self._forget(obj, status, found)
            case Action.LET_GO:
                self._let_go(obj, status, seen.forgetting)
                return again
        self._report(obj, verdict or run_statuses.present(obj), status)
        if decision.action is Action.WAIT and seen.outcome is not None and not seen.deleting:
            return _NEVER
        return again

    def _outcome(
        self,
        obj: cluster.Object,
        spec: models.BackupSpec,
        status: dict[str, Any],
        mover: movers.Mover,
    ) -> dict[str, Any]:
        found = run_statuses.result_fields(mover, statuses.timestamp(self._time.now()))
        found |= run_statuses.reading_fields(mover, spec.reading)
        if "driver" in status:
            found |= foreign_volumes.facts(mover.result)
        if found["suspect"]:
            self._recorder.event(obj, suspect_backups.verdict(found["suspect"]))
        return {**found, "backupId": backup_starts.backup_id_of(owners.owner_of(obj))}

    def _let_go(
        self, obj: cluster.Object, status: dict[str, Any], forgetting: movers.Mover
    ) -> None:
        if status.pop("backupId", None) and forgetting.state is _SUCCEEDED:
            # On record before its mover goes, or the next look would forget it again.
            text = "it was taken out of the repository"
            self._report(obj, verdicts.working("Forgotten", text), status)
        if self._movers.remove(owners.owner_of(obj), keys.ROLE_FORGET):
            self._recorder.let_go(resources.BACKUPS, obj)

    def _snapshot(
        self,
        obj: cluster.Object,
        spec: models.BackupSpec,
        status: dict[str, Any],
        found: _Found,
        verdict: verdicts.Verdict,
    ) -> verdicts.Verdict:
        """Takes the snapshot and notes it; returns the verdict, another one when it failed."""
        claim = found.source.claim
        if claim is None:
            raise errors.Busy("the claim changed while it was looked at")
        intent, take = self._taking(owners.owner_of(obj), spec, found.source)
        status |= {
            "startTime": status.get("startTime") or statuses.timestamp(self._time.now()),
            "claimName": claim["metadata"]["name"],
            "claimUid": claim["metadata"]["uid"],
            "storageClassName": claim["spec"].get("storageClassName"),
            **intent,
        }
        # The intent is on record before anything is made: whatever happens, it is put away.
        self._report(obj, verdict, status)
        obj["status"] = self._objects_status(obj)
        try:
            status |= take()
        except errors.MooringError as error:
            return self._bounded(obj, spec, error, "the snapshot could not be taken")
        return verdict

    def _taking(
        self, owner: owners.Owner, spec: models.BackupSpec, source: backup_sources.Source
    ) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
        """Returns what goes on record first, and what takes the snapshot."""
        own, foreign = source.own, source.foreign
        if own is not None:
            return self._own.intent(owner, own), lambda: self._own.take(owner, own, spec)
        if foreign is None:
            raise errors.Busy("the claim changed while it was looked at")
        name = source.snapshot_class
        return (
            self._foreign.intent(owner, foreign),
            lambda: self._foreign.take(owner, foreign, name),
        )

    def _objects_status(self, obj: cluster.Object) -> dict[str, Any]:
        metadata = obj["metadata"]
        found = self._objects.get(resources.BACKUPS, metadata["name"], metadata["namespace"])
        return dict((found or obj).get("status", {}))

    def _bounded(
        self, obj: cluster.Object, spec: models.BackupSpec, error: errors.MooringError, what: str
    ) -> verdicts.Verdict:
        """Says that a step is tried again, or that it failed for good or for too long."""
        created = statuses.parse_timestamp(obj["metadata"].get("creationTimestamp"))
        waited = (self._time.now() - (created or self._time.now())).total_seconds()
        if isinstance(error, _WORTH_WAITING) and waited < spec.starting_deadline_seconds:
            return verdicts.working(error.reason, f"{what}, and is tried again: {error}")
        return verdicts.failed(error.reason, f"{what}: {error}")

    def _forget(self, obj: cluster.Object, status: dict[str, Any], found: _Found) -> None:
        if found.access is None:
            raise errors.Busy("the repository changed while it was looked at")
        run = jobs.MoverRun(
            owner=owners.owner_of(obj),
            role=keys.ROLE_FORGET,
            repository=found.access.repository,
            deadline_seconds=3600,
        )
        self._movers.start(run, mover_specs.forget(str(status["backupId"])))

    def _release(self, obj: cluster.Object, status: dict[str, Any]) -> tuple[bool, str]:
        """Puts away the mover, then what it read; True once all is gone, or else what still goes.

        Both kinds of volume are looked after: a claim may have been made anew on another one.
        """
        owner = owners.owner_of(obj)
        if not self._movers.remove(owner, keys.ROLE_BACKUP):
            return False, ""
        going = self._foreign.release(owner, status) if "driver" in status else ""
        return self._own.release(owner, status) and not going, going

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, status: dict[str, Any]
    ) -> None:
        own = ("conditions", "observedGeneration")
        fields = {name: value for name, value in status.items() if name not in own}
        fields["conditions"] = suspect_backups.conditions(obj, fields, self._time.now())
        self._recorder.report(resources.BACKUPS, obj, "Succeeded", verdict, fields)


def _pause(seen: backup_run_plan.Observed) -> float:
    """Returns how long a Backup that waits is left alone."""
    if seen.mover.state is not movers.MoverState.ABSENT:
        return _WATCH_SECONDS
    return _WAIT_SECONDS if seen.deleting else _NEED_SECONDS


def _deleting(going: str) -> verdicts.Verdict:
    return verdicts.working("Deleting", f"it goes when its children are gone: {going}")
