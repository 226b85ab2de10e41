"""BackupRepository: may it be there, can it be opened with its key; looked at again and again."""

from mooring.api import keys
from mooring.api.v1alpha1 import backup_repositories as models
from mooring.domain import errors
from mooring.planning import recovery_slots, repository_plan, verdicts
from mooring.planning.movers import MoverState
from mooring.ports import clock, cluster
from mooring_operator import parsing, repository_upkeep, resources, statuses
from mooring_operator.builders import (
    jobs,
    mover_specs,
    owners,
    persistent_volumes,
    repository_mounts,
)
from mooring_operator.listings import Listings
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.recorder import Recorder
from mooring_operator.repository_access import (
    RepositoryAccess,
    is_usable,
    mount_of,
    was_ready,
    was_ready_before_slots,
)
from mooring_operator.work_queue import Key

KIND = "BackupRepository"
_PROBE_DEADLINE_SECONDS = 600
_WAIT_SECONDS = 30.0
_SOON_SECONDS = 1.0
_KEPT = frozenset(
    {"probed", "lastCheckTime", "repositoryId", "recoverySlots", "firstReadyTime", "listing"}
    | {"prune", "check", "size", "sizeBytes"}
)


class BackupRepositories:
    """Reconciles BackupRepositories."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        movers: MoverJobs,
        access: RepositoryAccess,
        time: clock.Clock,
    ) -> None:
        self._listings = Listings(objects, recorder, movers, time)
        self._upkeep = repository_upkeep.RepositoryUpkeep(movers, time)
        self._objects = objects
        self._recorder = recorder
        self._movers = movers
        self._access = access
        self._time = time

    def reconcile(self, key: Key) -> float | None:
        """Brings one BackupRepository a step closer; returns when to look again, in seconds."""
        obj = self._objects.get(resources.BACKUP_REPOSITORIES, key.name, key.namespace)
        if obj is None:
            return None
        if "deletionTimestamp" in obj["metadata"]:
            return self._put_away(obj)
        try:
            spec = parsing.spec_of(obj, models.BackupRepositorySpec)
            self._recorder.hold(resources.BACKUP_REPOSITORIES, obj)
            return self._reconcile(obj, spec)
        except errors.MooringError as error:
            if verdicts.is_transient(error):
                raise
            known = obj.get("status", {})
            kept = {name: known[name] for name in known if name not in ("probed", "lastCheckTime")}
            self._report(obj, _refusal(error), kept)
            return _WAIT_SECONDS

    def _put_away(self, obj: cluster.Object) -> float | None:
        """Deletes what was made for it, and no byte of the repository."""
        owner = owners.owner_of(obj)
        movers_gone = [
            self._movers.remove(owner, role)
            for role in (keys.ROLE_PROBE, keys.ROLE_LIST, *repository_upkeep.ROLES)
        ]
        if all(movers_gone) and self._movers.withdraw(owner, keys.ROLE_REPOSITORY):
            self._recorder.let_go(resources.BACKUP_REPOSITORIES, obj)
            return None
        text = "waits until no mover uses it any more"
        self._report(obj, verdicts.working("Deleting", text), obj.get("status", {}))
        return _SOON_SECONDS

    def _reconcile(self, obj: cluster.Object, spec: models.BackupRepositorySpec) -> float:
        if not self._reach(obj, spec):
            return _SOON_SECONDS
        owner = owners.owner_of(obj)
        seen = self._observe(obj, spec, owner)
        decision = repository_plan.decide(seen, self._time.now())
        status = dict(obj.get("status", {}))
        if decision.action is repository_plan.Action.PROBE:
            self._probe(owner, spec, seen.wanted, mount_of(obj, spec))
        if decision.verdict is not None:
            if decision.concluded:
                status |= self._found(seen, decision.verdict, status)
            self._report(obj, decision.verdict, status)
        if decision.action is repository_plan.Action.CLEAR:
            self._movers.remove(owner, keys.ROLE_PROBE)
        waiting = decision.action is repository_plan.Action.WAIT
        if not waiting or seen.probe.state is not MoverState.ABSENT:
            return _SOON_SECONDS
        return self._list(obj, spec, status)

    def _list(
        self, obj: cluster.Object, spec: models.BackupRepositorySpec, status: cluster.Object
    ) -> float:
        """Shows what it holds as objects, a step at a look; returns when to look again."""
        if not is_usable(obj, to_write=False):
            return _WAIT_SECONDS
        listing, again = self._listings.advance(obj, mount_of(obj, spec))
        status |= {"listing": listing}
        soon = None
        if is_usable(obj, to_write=True):
            fields, soon = self._upkeep.advance(obj, spec, mount_of(obj, spec))
            status |= fields
        self._report(obj, _said(obj), status)
        return min(wait for wait in (again, soon, _WAIT_SECONDS) if wait is not None)

    def _found(
        self,
        seen: repository_plan.Observed,
        verdict: verdicts.Verdict,
        status: cluster.Object,
    ) -> cluster.Object:
        """Returns the status fields that a probe's answer changes."""
        result, now = seen.probe.result, statuses.timestamp(self._time.now())
        found: cluster.Object = {"probed": seen.wanted, "lastCheckTime": now}
        if seen.holds_another:
            return found  # what is known is of the one that was there
        found["repositoryId"] = result.get("repositoryId", status.get("repositoryId"))
        if seen.probe.state is MoverState.SUCCEEDED:
            found["recoverySlots"] = recovery_slots.slots_in(result)
        is_new = "listing" not in status and seen.probe.state is MoverState.SUCCEEDED
        if is_new and (was_ready_before_slots(status) or not result.get("backups")):
            found["listing"] = {"done": True}  # its backups have objects, or had ones, or none
        if verdict.outcome is verdicts.Outcome.DONE or seen.recovery.was_ready:
            found["firstReadyTime"] = status.get("firstReadyTime", now)
        return found

    def _reach(self, obj: cluster.Object, spec: models.BackupRepositorySpec) -> bool:
        """Checks that the place may be used, and makes the claim through which movers see a folder.

        True once movers can mount it.
        """
        metadata = obj["metadata"]
        if spec.directory is None:
            mount_of(obj, spec)  # which refuses what cannot be a bucket
            return True
        if spec.directory.folder is not None:
            entry = self._access.folder(spec.directory.folder, metadata["namespace"])
            owner = owners.owner_of(obj)
            return self._movers.expose(persistent_volumes.folder_exposure(owner, entry.name))
        name = spec.directory.claim_name
        if name is None:
            raise errors.InvalidInput("spec.directory: set exactly one of claimName, folder")
        claim = self._objects.get(cluster.CLAIMS, name, metadata["namespace"])
        if claim is None:
            raise errors.NotFound(
                f"there is no PersistentVolumeClaim {name}; make one, or name another in "
                "spec.directory.claimName"
            )
        if claim.get("spec", {}).get("volumeMode", "Filesystem") != "Filesystem":
            raise errors.InvalidInput(f"claim {name} is a block device, not a folder")
        return True

    def _observe(
        self, obj: cluster.Object, spec: models.BackupRepositorySpec, owner: owners.Owner
    ) -> repository_plan.Observed:
        secret = spec.encryption.key_secret_name
        entry = keys.KEY_SECRET_ENTRY
        status = obj.get("status", {})
        job = self._movers.job(owner, keys.ROLE_PROBE) or {"metadata": {}}
        generation = obj["metadata"].get("generation", 1)
        recovery = recovery_slots.Wish(
            owner.namespace,
            owner.name,
            waived=spec.encryption.recovery is models.Recovery.NONE,
            was_ready=was_ready(status),
        )
        return repository_plan.Observed(
            wanted=str(generation),
            probed=status.get("probed"),
            ready=statuses.condition(obj, "Ready").get("status") == "True",
            checked_at=statuses.parse_timestamp(status.get("lastCheckTime")),
            probe=self._movers.observe(owner, keys.ROLE_PROBE),
            probe_of=job["metadata"].get("annotations", {}).get(keys.PROBED_SPEC),
            probe_started_at=statuses.parse_timestamp(job["metadata"].get("creationTimestamp")),
            recovery=recovery,
            repository_id=status.get("repositoryId"),
            lacks_slot=statuses.condition(obj, "Ready").get("reason")
            == recovery_slots.NO_RECOVERY_SLOT,
            key_advice=f"Secret {secret} with an entry `{entry}` is missing. Make it, and keep a "
            f"copy outside the cluster: kubectl -n {owner.namespace} create secret generic "
            f'{secret} --from-literal={entry}="$(openssl rand -base64 32)"',
        )

    def _probe(
        self,
        owner: owners.Owner,
        spec: models.BackupRepositorySpec,
        wanted: str,
        repository: repository_mounts.RepositoryMount,
    ) -> None:
        run = jobs.MoverRun(
            owner=owner,
            role=keys.ROLE_PROBE,
            repository=repository,
            deadline_seconds=_PROBE_DEADLINE_SECONDS,
            annotations={keys.PROBED_SPEC: wanted},
        )
        self._movers.start(run, mover_specs.probe(spec.encryption.recovery_keys))

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, fields: cluster.Object
    ) -> None:
        kept = {name: value for name, value in fields.items() if name in _KEPT}
        kept["conditions"] = repository_upkeep.conditions(obj, kept, self._time.now())
        self._recorder.report(resources.BACKUP_REPOSITORIES, obj, "Ready", verdict, kept)


def _said(obj: cluster.Object) -> verdicts.Verdict:
    """Returns what its condition says now."""
    ready = statuses.condition(obj, "Ready")
    is_ready = ready.get("status") == "True"
    word = verdicts.done if is_ready else verdicts.stuck
    return word(str(ready.get("reason", "")), str(ready.get("message", "")))


def _refusal(error: errors.MooringError) -> verdicts.Verdict:
    """A repository that may not be there is stuck, with a reason that names what to mend."""
    reasons: dict[type[errors.MooringError], str] = {
        errors.PermissionDenied: "FolderNotAllowed",
        errors.NotFound: "ClaimNotFound",
        errors.PreconditionFailed: "FolderListUnreadable",
    }
    return verdicts.stuck(reasons.get(type(error), error.reason), str(error))
