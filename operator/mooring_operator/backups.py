"""Backup: observe claim, repository, snapshot and mover, plan one action, act, report."""

from dataclasses import dataclass, replace
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backups as models
from mooring.api.v1alpha1.volume_claims import DeletionPolicy
from mooring.domain import backups as backup_nouns
from mooring.domain import errors, ids
from mooring.planning import backup_run_plan, movers, verdicts
from mooring.planning.backup_run_plan import Action, Need
from mooring.ports import cluster
from mooring_operator import (
    backup_documents,
    listings,
    observing,
    parsing,
    resources,
    restores,
    run_statuses,
    statuses,
    suspect_backups,
)
from mooring_operator.backup_bases import BackupBases
from mooring_operator.builders import jobs, mover_specs, owners, persistent_volumes
from mooring_operator.mover_jobs import MoverJobs
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

    claim: cluster.Object | None
    volume: observing.BoundVolume | None
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
        self._nodes = surroundings.nodes
        self._bases = BackupBases(surroundings.nodes, movers)
        self._fleet = surroundings.fleet
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
        forgetting = movers.ABSENT
        if deleting:
            forgetting = self._movers.observe(owner, keys.ROLE_FORGET)
        claim, volume, source = self._source(obj, spec) if needs else (None, None, Need(True))
        access, repository = None, Need(True)
        if needs or deleting:
            home = None if volume is None else volume.node
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
            source=source,
            repository=repository,
            snapshot_taken="snapshotTime" in status,
            mover=mover,
            forgetting=forgetting,
        )
        return seen, _Found(claim, volume, access)

    def _source(
        self, obj: cluster.Object, spec: models.BackupSpec
    ) -> tuple[cluster.Object | None, observing.BoundVolume | None, Need]:
        name = spec.source.volume_claim_name or spec.source.persistent_volume_claim_name or ""
        if not name:
            return None, None, Need(False, True, "InvalidInput", "spec.source names no claim")
        namespace = obj["metadata"]["namespace"]
        if spec.source.volume_claim_name is not None:
            wanted = self._objects.get(resources.VOLUME_CLAIMS, name, namespace)
            if wanted is None:
                text = f"there is no VolumeClaim {name} in namespace {namespace}"
                return None, None, Need(False, False, "SourceNotFound", text)
        claim = self._objects.get(cluster.CLAIMS, name, namespace)
        if claim is None:
            text = f"there is no PersistentVolumeClaim {name} in namespace {namespace}"
            return None, None, Need(False, False, "SourceNotFound", text)
        try:
            volume = observing.bound_volume(self._objects, claim)
        except (errors.PreconditionFailed, errors.NotFound) as error:
            return claim, None, Need(False, True, "NotAMooringVolume", str(error))
        if volume is None:
            text = f"claim {name} has no volume yet; start a pod that uses it"
            return claim, None, Need(False, False, "SourceNotBound", text)
        return claim, volume, Need(True)

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
        verdict, again = decision.verdict, _SOON_SECONDS
        match decision.action:
            case Action.WAIT:
                active = seen.mover.state is not movers.MoverState.ABSENT
                waiting = _WAIT_SECONDS if seen.deleting else _NEED_SECONDS
                again = _WATCH_SECONDS if active else waiting
                status |= run_statuses.progress_fields(seen.mover.progress, seen.mover.attempts)
            case Action.SNAPSHOT:
                said = verdict or run_statuses.present(obj)
                verdict = self._snapshot(obj, spec, status, found, said)
            case Action.START:
                self._start(obj, spec, status, found)
            case Action.SUCCEED:
                finished_at = statuses.timestamp(self._time.now())
                status |= run_statuses.result_fields(seen.mover, finished_at)
                status |= run_statuses.reading_fields(seen.mover, spec.reading)
                status["backupId"] = backup_id_of(owners.owner_of(obj))
                if status["suspect"]:
                    self._recorder.event(obj, suspect_backups.verdict(status["suspect"]))
            case Action.RELEASE:
                status["released"] = self._release(obj, status)
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
        if found.claim is None or found.volume is None:
            raise errors.Busy("the claim changed while it was looked at")
        owner, volume = owners.owner_of(obj), found.volume
        name = f"backup-{owner.uid}"
        snapshot_id = ids.snapshot_id_for(name, volume.volume_id)
        started = self._time.now()
        status |= {
            "startTime": status.get("startTime") or statuses.timestamp(started),
            "node": volume.node,
            "volumeId": volume.volume_id,
            "snapshotId": snapshot_id,
            "claimName": found.claim["metadata"]["name"],
            "claimUid": found.claim["metadata"]["uid"],
            "storageClassName": found.claim["spec"].get("storageClassName"),
        }
        # The intent is on record before the node is asked: whatever happens next, it is put away.
        self._report(obj, verdict, status)
        obj["status"] = self._objects_status(obj)
        try:
            record = self._nodes.storage(volume.node).create_snapshot(
                snapshot_id, name, freeze_timeout_seconds=float(spec.freeze_timeout_seconds)
            )
        except errors.MooringError as error:
            return self._bounded(obj, spec, error, "the snapshot could not be taken")
        elapsed = self._time.now() - started
        status |= run_statuses.snapshot_status(record, int(elapsed.total_seconds() * 1000))
        return verdict

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

    def _start(
        self, obj: cluster.Object, spec: models.BackupSpec, status: dict[str, Any], found: _Found
    ) -> None:
        if found.access is None:
            raise errors.Busy("the repository changed while it was looked at")
        owner = owners.owner_of(obj)
        node = ids.NodeName(str(status["node"]))
        snapshot_id = ids.parse_snapshot_id(str(status["snapshotId"]))
        exposure = persistent_volumes.snapshot_exposure(
            owner, snapshot_id, int(status["sizeBytes"]), node
        )
        changes = None
        if spec.reading is backup_nouns.Scope.CHANGED:
            changes = self._bases.changes(owner, snapshot_id, node)
        exposed = [self._movers.expose(one) for one in (exposure, changes) if one is not None]
        if not all(exposed):
            return
        run = jobs.MoverRun(
            owner=owner,
            role=keys.ROLE_BACKUP,
            repository=found.access.repository,
            deadline_seconds=spec.active_deadline_seconds,
            device_claim=exposure.name,
            read_only_device=True,
            changes_claim=None if changes is None else changes.name,
            node=node,
            taints=self._movers.taints(node),
        )
        task = replace(
            self._task(obj, status, found),
            tracked=changes is not None,
            bytes_per_second=spec.limit(),
            scrub_period_seconds=spec.scrub_period_days * _DAY_SECONDS,
            doubt_tracking=suspect_backups.in_doubt(status, self._objects.find(resources.BACKUPS)),
            accept_suspect=spec.accept_suspect,
        )
        self._movers.start(run, mover_specs.backup(task))

    def _task(
        self, obj: cluster.Object, status: dict[str, Any], found: _Found
    ) -> mover_specs.BackupTask:
        return mover_specs.BackupTask(
            backup_id=backup_id_of(owners.owner_of(obj)),
            volume=mover_specs.BackedUpVolume(
                uid=str(status["volumeId"]),
                size_bytes=int(status["sizeBytes"]),
                sector_size_bytes=int(status["sectorSizeBytes"]),
                filesystem=status.get("filesystem"),
            ),
            consistency=str(status["consistency"]),
            point_in_time=str(status["snapshotTime"]),
            documents=backup_documents.documents(self._objects, obj, found.claim),
        )

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

    def _release(self, obj: cluster.Object, status: dict[str, Any]) -> bool:
        """Puts away mover, claim, volume and snapshot, in this order; True once all are gone."""
        owner = owners.owner_of(obj)
        if not self._stopped(owner):
            return False
        if "snapshotId" not in status:
            return True
        snapshot_id = ids.parse_snapshot_id(str(status["snapshotId"]))
        try:
            if not self._bases.keep(snapshot_id, status):
                self._fleet.delete_snapshot(snapshot_id)
        except errors.NotFound:
            return True
        except (errors.InUse, errors.Busy):
            return False
        return True

    def _stopped(self, owner: owners.Owner) -> bool:
        """Puts away the mover and what was exposed to it; True once all of it is gone."""
        if not self._movers.remove(owner, keys.ROLE_BACKUP):
            return False
        roles = (keys.ROLE_BACKUP, keys.ROLE_CHANGES)
        gone = [self._movers.withdraw(owner, role) for role in roles]
        return all(gone)

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, status: dict[str, Any]
    ) -> None:
        own = ("conditions", "observedGeneration")
        fields = {name: value for name, value in status.items() if name not in own}
        fields["conditions"] = suspect_backups.conditions(obj, fields, self._time.now())
        self._recorder.report(resources.BACKUPS, obj, "Succeeded", verdict, fields)


def backup_id_of(owner: owners.Owner) -> backup_nouns.BackupId:
    """Returns the name of a Backup in its repository: the same in every retry."""
    return backup_nouns.parse_backup_id(owner.uid)
