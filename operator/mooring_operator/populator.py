"""Fills claims from backups: observe, plan one action, act. The claim is bound at the very end.

Used by Restores, and for any claim whose dataSourceRef names a Backup. What it makes is named after
the claim's uid, and a finalizer on the claim keeps a deletion waiting until that is put away.
"""

from dataclasses import dataclass

from mooring.api import keys
from mooring.domain import errors, ids
from mooring.planning import (
    backup_run_plan,
    movers,
    placement_plan,
    populate_plan,
    verdicts,
)
from mooring.planning.populate_plan import Action
from mooring.ports import catalogue, cluster
from mooring.volumes.fleet import claim_placements
from mooring_operator import observing, suspect_backups
from mooring_operator.builders import (
    claims,
    filled_volumes,
    jobs,
    mover_specs,
    owners,
    persistent_volumes,
)
from mooring_operator.kept_content import KeptContent, Original
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.recorder import Recorder
from mooring_operator.repository_access import Access, RepositoryAccess
from mooring_operator.surroundings import Surroundings

_NO_POINT = "the backup that it asks for is not to be had"


@dataclass(frozen=True)
class Source:
    """What to fill a claim from.

    Attributes:
        point: Size and mode as far as known; None when there is nothing to restore.
        message: Why there is nothing.
        backup_id: Its name in the repository.
        repository: Name of the BackupRepository.
        sector_size_bytes: Of the volume that was backed up; None when not known.
        filesystem: What it holds; None when not known, or raw block.
        label: `Kind/name`, for people.
        deadline_seconds: How long the transfer may take.
        placement: Where the data shall be, when the restore says so.
        original: The volume of the backup, where it is surely one of this namespace.
        warning: What whoever restores has to know of it; empty when nothing.
    """

    point: populate_plan.Point | None
    message: str = _NO_POINT
    backup_id: str = ""
    repository: str = ""
    sector_size_bytes: int | None = None
    filesystem: str | None = None
    label: str = ""
    deadline_seconds: int = 86400
    placement: placement_plan.Wish | None = None
    original: Original | None = None
    warning: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the filling of a claim is.

    Attributes:
        verdict: What to say.
        mover: Its mover.
        node: Where it is filled; None before that is known.
        volume_id: The volume that is filled.
        done: Whether nothing is left to do.
        acting: Whether the next look will find something to do at once.
    """

    verdict: verdicts.Verdict
    mover: movers.Mover
    node: str | None
    volume_id: ids.VolumeId
    done: bool
    acting: bool


class Populator:
    """Brings claims closer to being filled."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        mover_jobs: MoverJobs,
        access: RepositoryAccess,
        surroundings: Surroundings,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._movers = mover_jobs
        self._access = access
        self._fleet = surroundings.fleet
        self._catalogue = surroundings.catalogue
        self._kept = KeptContent(surroundings)
        self._time = surroundings.time

    def advance(self, claim: cluster.Object, source: Source) -> Progress:
        """Takes one step for a claim."""
        storage_class = self._class(claim)
        seen, access = self._observe(claim, source, storage_class)
        decision = populate_plan.decide(seen)
        verdict, done = decision.verdict, False
        try:
            if decision.action is Action.RECORD:
                self._record(claim, seen.mover)
                self._warn(claim, suspect_backups.warning_of(seen.mover.result, source.warning))
            done = self._act(decision.action, claim, source, storage_class, access)
        except errors.MooringError as error:
            if verdicts.is_transient(error):
                raise
            verdict = verdicts.of_error(error)
        at_rest = decision.action is Action.WAIT and seen.bound
        volume_id = ids.volume_id_for(_csi_name(claim))
        acting = decision.action is not Action.WAIT and verdict is decision.verdict
        return Progress(verdict, seen.mover, seen.node, volume_id, done or at_rest, acting)

    def _class(self, claim: cluster.Object) -> cluster.Object:
        name = claim["spec"].get("storageClassName") or ""
        return self._objects.get(cluster.STORAGE_CLASSES, name) or {"metadata": {"name": name}}

    def _observe(
        self, claim: cluster.Object, source: Source, storage_class: cluster.Object
    ) -> tuple[populate_plan.Observed, Access | None]:
        metadata, owner = claim["metadata"], owners.owner_of(claim)
        mover = self._movers.observe(owner, keys.ROLE_RESTORE)
        facts = observing.class_facts(storage_class)
        entry = self._entry(claim)
        node, place = self._place(claim, source, storage_class, entry)
        access, repository = None, backup_run_plan.Need(True)
        if source.point is not None and mover.state is movers.MoverState.ABSENT:
            namespace = metadata["namespace"]
            access, repository = self._access.find(source.repository, namespace, node)
        final_name = persistent_volumes.final_volume_name(claim)
        seen = populate_plan.Observed(
            claim=metadata["name"],
            bound=claim.get("status", {}).get("phase") == "Bound",
            deleting="deletionTimestamp" in metadata,
            held=keys.POPULATE_FINALIZER in metadata.get("finalizers", []),
            size_bytes=observing.requested_bytes(claim),
            mode=claim["spec"].get("volumeMode", "Filesystem"),
            class_is_ours=facts is not None and facts.ours,
            waits_for_pod=facts is not None and facts.waits_for_pod,
            point=source.point,
            point_message=source.message,
            node=node,
            repository=repository,
            volume_made=metadata.get("annotations", {}).get(keys.POPULATE_NODE) is not None
            and entry is not None,
            exposed=self._movers.is_exposed(owner, keys.ROLE_RESTORE),
            finished=self._objects.get(cluster.PERSISTENT_VOLUMES, final_name) is not None,
            verified=metadata.get("annotations", {}).get(keys.POPULATED) == metadata["uid"],
            failure=_failure(metadata),
            mover=mover,
            place=place,
        )
        return seen, access

    def _entry(self, claim: cluster.Object) -> catalogue.CatalogueEntry | None:
        """Returns the volume that is being filled, if it is there."""
        volume_id = ids.volume_id_for(_csi_name(claim))
        found = self._catalogue.entry(volume_id)
        return None if found is None or found.deletion_requested else found

    def _place(
        self,
        claim: cluster.Object,
        source: Source,
        storage_class: cluster.Object,
        entry: catalogue.CatalogueEntry | None,
    ) -> tuple[str | None, backup_run_plan.Need]:
        try:
            node = entry.node if entry else self._node(claim, source, storage_class)
        except (errors.PreconditionFailed, errors.SpaceExhausted) as error:
            self._recorder.event(claim, verdicts.stuck(error.reason, str(error)))
            return None, backup_run_plan.unmet(error)
        return node, backup_run_plan.Need(True)

    def _node(
        self, claim: cluster.Object, source: Source, storage_class: cluster.Object
    ) -> str | None:
        """Returns the node of claim or restore, that of the scheduler, or for lack of both ours.

        Raises:
            PreconditionFailed: The nodes that were asked for are not there or cannot serve.
            SpaceExhausted: They have no room.
        """
        wish, bound = source.placement, claim_placements.bound_to(claim)
        chosen = claim["metadata"].get("annotations", {}).get(keys.SELECTED_NODE)
        if bound or (wish is None and chosen):
            return bound or str(chosen)
        if wish is None:
            if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
                return None
            wish = placement_plan.Wish(selector={})
        pool = storage_class.get("parameters", {}).get("pool")
        found = observing.candidates(self._objects, pool)
        choice = placement_plan.choose(wish, found, observing.requested_bytes(claim))
        notes = claims.placement_annotations(
            choice, self._time.now(), binding=source.placement is not None
        )
        self._annotate(claim, notes)
        return choice.node

    def _annotate(self, claim: cluster.Object, notes: cluster.Object) -> None:
        metadata = claim["metadata"]
        change = {"metadata": {"annotations": notes}}
        updated = self._objects.patch(
            cluster.CLAIMS, metadata["name"], change, metadata["namespace"]
        )
        metadata["annotations"] = updated["metadata"].get("annotations", {})
        metadata["resourceVersion"] = updated["metadata"]["resourceVersion"]

    def _act(
        self,
        action: Action,
        claim: cluster.Object,
        source: Source,
        storage_class: cluster.Object,
        access: Access | None,
    ) -> bool:
        """Does what was decided; True when nothing is left to do for this claim."""
        owner = owners.owner_of(claim)
        match action:
            case Action.CREATE_VOLUME:
                self._create_volume(claim, source, storage_class)
            case Action.START:
                self._start(claim, source, access)
            case Action.WITHDRAW:
                self._withdraw(owner)
            case Action.FINISH:
                self._finish(claim, source, storage_class)
            case Action.TIDY:
                if self._movers.remove(owner, keys.ROLE_RESTORE):
                    self._recorder.let_go(cluster.CLAIMS, claim, keys.POPULATE_FINALIZER)
                    return True
            case Action.ABANDON:
                self._abandon_volume(claim)
            case Action.GIVE_UP:
                return self.give_up(claim)
            case Action.WAIT | Action.RECORD:
                pass
        return False

    def _record(self, claim: cluster.Object, mover: movers.Mover) -> None:
        """Keeps on the claim how its mover ended, since the mover has to go before its device."""
        if mover.state is movers.MoverState.SUCCEEDED:
            self._annotate(claim, {keys.POPULATED: claim["metadata"]["uid"]})
            return
        reason = mover.reason or "MoverFailed"
        message = mover.message or "the mover failed"
        self._annotate(
            claim, {keys.POPULATE_FAILED: f"{claim['metadata']['uid']} {reason}: {message}"}
        )

    def _warn(self, claim: cluster.Object, text: str) -> None:
        if text:
            self._recorder.event(claim, verdicts.stuck(suspect_backups.CONDITION, text))

    def _withdraw(self, owner: owners.Owner) -> bool:
        """Deletes the mover, then what it was shown: a pod that ended still holds its claims."""
        mover_gone = self._movers.remove(owner, keys.ROLE_RESTORE)
        return mover_gone and self._movers.withdraw(owner, keys.ROLE_RESTORE)

    def _create_volume(
        self, claim: cluster.Object, source: Source, storage_class: cluster.Object
    ) -> None:
        self._recorder.hold(cluster.CLAIMS, claim, keys.POPULATE_FINALIZER)
        picked = claim["metadata"].get("annotations", {}).get(keys.SELECTED_NODE, "")
        node = claim_placements.bound_to(claim) or picked
        request = filled_volumes.request(
            claim,
            storage_class,
            ids.NodeName(node),
            filesystem=source.filesystem,
            sector_size_bytes=source.sector_size_bytes,
        )
        try:
            entry = self._kept.create_volume(request, source.original, self._entry(claim))
        except errors.SpaceExhausted:
            # Let the scheduler, or the next look, choose another node.
            notes: cluster.Object = {keys.SELECTED_NODE: None}
            if source.placement is not None:  # else the place is the claim's own
                notes[keys.PLACEMENT_NODE] = None
            self._annotate(claim, notes)
            raise
        self._warn(claim, source.warning)
        self._annotate(claim, {keys.POPULATE_NODE: entry.node})

    def _start(self, claim: cluster.Object, source: Source, access: Access | None) -> None:
        if access is None:
            raise errors.Busy("the repository changed while it was looked at")
        owner, entry = owners.owner_of(claim), self._entry(claim)
        if entry is None:
            raise errors.Busy("the volume was not reported yet")
        spec, node = entry.spec, entry.node
        exposure = persistent_volumes.populate_exposure(
            owner, spec.volume_id, spec.size_bytes, node
        )
        if not self._movers.expose(exposure):
            return
        run = jobs.MoverRun(
            owner=owner,
            role=keys.ROLE_RESTORE,
            repository=access.repository,
            deadline_seconds=source.deadline_seconds,
            device_claim=exposure.name,
            node=node,
        )
        self._movers.start(run, mover_specs.restore(source.backup_id))

    def _finish(self, claim: cluster.Object, source: Source, storage_class: cluster.Object) -> None:
        volume_id = ids.volume_id_for(_csi_name(claim))
        entry = self._entry(claim)
        if entry is None:
            raise errors.Busy(f"volume {volume_id} is not in the catalogue; it is being looked for")
        try:
            self._fleet.finish_filling(volume_id)
        except errors.InUse as error:
            raise errors.Busy(f"the mover's device is still attached: {error}") from error
        body = persistent_volumes.final_volume(entry, source.label, claim, storage_class)
        try:
            self._objects.create(cluster.PERSISTENT_VOLUMES, body)
        except errors.AlreadyExists:
            return

    def give_up(self, claim: cluster.Object) -> bool:
        """Puts away everything made to fill a claim; True once it is, and the claim is free."""
        if not self._abandon_volume(claim):
            return False
        self._recorder.let_go(cluster.CLAIMS, claim, keys.POPULATE_FINALIZER)
        return True

    def _abandon_volume(self, claim: cluster.Object) -> bool:
        """Takes the half-filled volume from its mover and deletes it; True once it is gone."""
        owner = owners.owner_of(claim)
        if not self._withdraw(owner):
            return False
        if claim.get("status", {}).get("phase") == "Bound":
            return True  # it is the user's now
        if self._objects.get(
            cluster.PERSISTENT_VOLUMES, persistent_volumes.final_volume_name(claim)
        ):
            return True  # its PersistentVolume's reclaim policy decides
        try:
            self._fleet.delete_volume(ids.volume_id_for(_csi_name(claim)))
        except (errors.InUse, errors.Busy):
            return False
        return True


def _failure(metadata: cluster.Object) -> tuple[str, str] | None:
    text = metadata.get("annotations", {}).get(keys.POPULATE_FAILED, "")
    uid, _, said = text.partition(" ")
    if uid != metadata["uid"]:
        return None  # none, or copied from another claim's manifest
    reason, _, message = said.partition(": ")
    return (reason if reason.isalnum() else "MoverFailed"), message


def _csi_name(claim: cluster.Object) -> str:
    """Returns the name that external-provisioner would have given the volume."""
    return persistent_volumes.final_volume_name(claim)
