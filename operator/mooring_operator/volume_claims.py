"""VolumeClaim: observe its claim, plan, act, say how it stands."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mooring.api import keys
from mooring.api.v1alpha1 import base
from mooring.api.v1alpha1 import volume_claims as models
from mooring.domain import errors, ids, quantities
from mooring.planning import claim_plan, claim_sources, placement_plan, verdicts
from mooring.planning.claim_holders import NodeState
from mooring.ports import clock, cluster
from mooring_operator import (
    claim_protection,
    kept_volumes,
    observing,
    parsing,
    resources,
    schedule_statuses,
)
from mooring_operator.builders import claims
from mooring_operator.claim_classes import ClaimClasses, repository_claims
from mooring_operator.claim_sources import ClaimSources
from mooring_operator.node_states import NodeStates
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "VolumeClaim"
_WAIT_SECONDS = 30.0
_SOON_SECONDS = 2.0
_SOURCE_SECONDS = 5.0


class VolumeClaims:
    """Reconciles VolumeClaims."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        time: clock.Clock,
        nodes: NodeStates,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._time = time
        self._nodes = nodes
        self._sources = ClaimSources(objects)

    def reconcile(self, key: Key) -> float | None:
        """Brings one VolumeClaim a step closer; returns when to look again, in seconds."""
        obj = self._objects.get(resources.VOLUME_CLAIMS, key.name, key.namespace)
        if obj is None:
            return None
        try:
            spec = parsing.spec_of(obj, models.VolumeClaimSpec)
            quantities.parse_bytes(spec.size)
        except errors.InvalidInput as error:
            return self._refuse(obj, error)
        try:
            return self._reconcile(obj, spec)
        except errors.MooringError as error:
            if verdicts.is_transient(error):
                raise
            self._report(obj, verdicts.of_error(error), None)
            return _WAIT_SECONDS

    def _refuse(self, obj: cluster.Object, error: errors.InvalidInput) -> float | None:
        """Says what is wrong with its spec; when it goes, whatever there is stays as it is."""
        if "deletionTimestamp" in obj["metadata"]:
            self._recorder.let_go(resources.VOLUME_CLAIMS, obj)
            return None
        self._report(obj, verdicts.of_error(error), None)
        return _WAIT_SECONDS

    def _reconcile(self, obj: cluster.Object, spec: models.VolumeClaimSpec) -> float | None:
        metadata = obj["metadata"]
        deleting = "deletionTimestamp" in metadata
        if deleting and keys.FINALIZER not in metadata.get("finalizers", []):
            return None
        if not deleting:
            self._hold(obj, spec)
        claim = self._objects.get(cluster.CLAIMS, metadata["name"], metadata["namespace"])
        wish = _wish(obj, spec, self._source(obj, spec, claim))
        wish = replace(wish, keep_data=deleting and self._keeps_data(spec))
        self._align_volume(wish, spec, claim)
        storage_class = self._objects.get(cluster.STORAGE_CLASSES, wish.storage_class)
        plan = claim_plan.plan(
            wish, self._facts(obj, claim), observing.class_facts(storage_class), self._time.now()
        )
        for step in plan.steps:
            self._act(step, obj, spec, claim, wish.source)
        if any(isinstance(step, claim_plan.Release) for step in plan.steps):
            return None
        self._report(obj, plan.verdict, claim)
        if plan.steps:
            return _SOON_SECONDS
        return _WAIT_SECONDS if wish.source is None else _SOURCE_SECONDS

    def _hold(self, obj: cluster.Object, spec: models.VolumeClaimSpec) -> None:
        """Holds what takes its data along; anything else may go while there is no operator."""
        keeps = spec.deletion_policy is models.DeletionPolicy.RETAIN
        change = self._recorder.let_go if keeps else self._recorder.hold
        change(resources.VOLUME_CLAIMS, obj)

    def _keeps_data(self, spec: models.VolumeClaimSpec) -> bool:
        """Whether a deletion leaves the data; that of the whole kind always does."""
        if spec.deletion_policy is models.DeletionPolicy.RETAIN:
            return True
        kind = self._objects.get(cluster.KINDS, f"{resources.VOLUME_CLAIMS.plural}.{keys.GROUP}")
        return kind is not None and "deletionTimestamp" in kind["metadata"]

    def _align_volume(
        self, wish: claim_plan.Wish, spec: models.VolumeClaimSpec, claim: cluster.Object | None
    ) -> None:
        """Has the volume outlive its claim or not, before anything can delete the claim."""
        if claim is None or (wish.deleting and wish.keep_data):
            return  # nothing there, or it is left as it is
        if claim["metadata"].get("labels", {}).get(keys.VOLUME_CLAIM) == wish.name:
            keep = spec.deletion_policy is models.DeletionPolicy.RETAIN
            kept_volumes.align(self._objects, claim, keep=keep)

    def _source(
        self, obj: cluster.Object, spec: models.VolumeClaimSpec, claim: cluster.Object | None
    ) -> claim_sources.Source | None:
        """Returns what the claim is to be copied from; None once it has its content."""
        has_content = (claim or {}).get("status", {}).get("phase") == "Bound"
        if has_content or "deletionTimestamp" in obj["metadata"]:
            return None
        return self._sources.find(spec.source, obj["metadata"]["namespace"])

    def _facts(self, obj: cluster.Object, claim: cluster.Object | None) -> claim_plan.Claim | None:
        if claim is None:
            return None
        metadata = obj["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        facts = self._with_node(observing.claim_facts(claim, name, metadata["uid"]), claim)
        if facts.terminating or facts.node_state is not NodeState.READY:
            facts = replace(facts, holders=self._nodes.holders(namespace, name))
        if facts.bound or facts.terminating:
            return facts
        return replace(facts, trouble=observing.last_warning(self._objects, claim))

    def _with_node(self, facts: claim_plan.Claim, claim: cluster.Object) -> claim_plan.Claim:
        """Adds where the data is, or shall be, how that node is, and whether the pool has room."""
        node: str | None = facts.placement_node or facts.selected_node
        if facts.bound and facts.ours:
            volume = observing.bound_volume(self._objects, claim)
            node = volume.node if volume is not None else None
            facts = replace(facts, writes_wait=observing.writes_wait(self._objects, volume))
        if not node:
            return facts
        return replace(facts, node=node, node_state=self._nodes.of(node))

    def _act(
        self,
        step: claim_plan.Step,
        obj: cluster.Object,
        spec: models.VolumeClaimSpec,
        claim: cluster.Object | None,
        source: claim_sources.Source | None,
    ) -> None:
        metadata = obj["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        match step:
            case claim_plan.Create():
                self._create(obj, spec, source)
            case claim_plan.Adopt():
                mark: cluster.Object = {"labels": {keys.OWNER_UID: metadata["uid"]}}
                self._objects.patch(cluster.CLAIMS, name, {"metadata": mark}, namespace)
            case claim_plan.Grow(size_bytes):
                storage = quantities.format_bytes(size_bytes)
                change: cluster.Object = {"spec": {"resources": {"requests": {"storage": storage}}}}
                self._objects.patch(cluster.CLAIMS, name, change, namespace)
            case claim_plan.Place():
                notes = self._placement(spec, source)
                change = {"metadata": {"annotations": notes}}
                self._objects.patch(cluster.CLAIMS, name, change, namespace)
            case claim_plan.DeleteClaim():
                uid = claim["metadata"]["uid"] if claim else ""
                self._objects.delete(cluster.CLAIMS, name, namespace, uid=uid)
            case claim_plan.Release():
                self._recorder.let_go(resources.VOLUME_CLAIMS, obj)

    def _create(
        self,
        obj: cluster.Object,
        spec: models.VolumeClaimSpec,
        source: claim_sources.Source | None,
    ) -> None:
        metadata = obj["metadata"]
        annotations: cluster.Object = {}
        if _is_placed(spec) or (source is not None and source.node is not None):
            annotations = self._placement(spec, source)
        origin = spec.source or models.ClaimSource()
        template = claims.ClaimTemplate(
            namespace=metadata["namespace"],
            name=metadata["name"],
            size_bytes=quantities.parse_bytes(spec.size),
            storage_class=spec.storage_class_name,
            mode=spec.volume_mode,
            access_mode=spec.access_mode,
            data_source=claims.data_source_of(
                snapshot=origin.snapshot_name,
                claim_name=origin.volume_claim_name,
                backup=origin.backup_name,
            ),
            labels={keys.VOLUME_CLAIM: metadata["name"], keys.OWNER_UID: metadata["uid"]},
            annotations=annotations,
        )
        try:
            self._objects.create(cluster.CLAIMS, claims.claim(template))
        except errors.AlreadyExists:
            return  # made since it was read; the next look judges it

    def _placement(
        self, spec: models.VolumeClaimSpec, source: claim_sources.Source | None
    ) -> cluster.Object:
        choice = self._choose(spec, source)
        return claims.placement_annotations(choice, self._time.now(), binding=_is_placed(spec))

    def _choose(
        self, spec: models.VolumeClaimSpec, source: claim_sources.Source | None
    ) -> placement_plan.Choice:
        """Chooses the node: as placement says, and for a copy the source's where that may be."""
        place = spec.placement or base.Placement()
        storage_class = self._objects.get(cluster.STORAGE_CLASSES, spec.storage_class_name) or {}
        pool = storage_class.get("parameters", {}).get("pool")
        found = observing.candidates(self._objects, pool)
        size_bytes = quantities.parse_bytes(spec.size)
        wish = placement_plan.Wish(
            ids.NodeName(place.node) if place.node else None, place.node_selector
        )
        if source is None or source.node is None:
            return placement_plan.choose(wish, found, size_bytes)
        return placement_plan.choose_for_copy(wish, found, size_bytes, ids.NodeName(source.node))

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, claim: cluster.Object | None
    ) -> None:
        fields: cluster.Object = {}
        if claim is not None:
            fields = self._claim_status(obj, claim)
        backups = self._objects.find(resources.BACKUPS, obj["metadata"]["namespace"])
        fields["lastBackup"] = _last_backup(obj, backups, self._time.now())
        if claim is not None and claim_protection.counts(claim):
            fields["conditions"] = self._protection(obj, claim, backups)
        self._recorder.report(resources.VOLUME_CLAIMS, obj, "Ready", verdict, fields)

    def _claim_status(self, obj: cluster.Object, claim: cluster.Object) -> cluster.Object:
        metadata = claim["metadata"]
        if metadata.get("labels", {}).get(keys.VOLUME_CLAIM) != obj["metadata"]["name"]:
            return {}
        fields: cluster.Object = {"claimName": metadata["name"]}
        volume = observing.bound_volume(self._objects, claim)
        if volume is None:
            return fields
        record = self._objects.get(resources.VOLUMES, volume.volume_id) or {}
        return fields | {
            "persistentVolumeName": volume.name,
            "volumeId": volume.volume_id,
            "capacity": claim.get("status", {}).get("capacity", {}).get("storage"),
            "node": volume.node,
            "placementReason": _why(metadata.get("annotations", {}), volume.node),
            "usedBytes": record.get("status", {}).get("usedBytes"),
        }

    def _protection(
        self, obj: cluster.Object, claim: cluster.Object, backups: Sequence[cluster.Object]
    ) -> list[cluster.Object]:
        """Returns the condition that says whether it is backed up as recently as it should be."""
        metadata, now = claim["metadata"], self._time.now()
        namespace = metadata["namespace"]
        if (namespace, metadata["name"]) in repository_claims(self._objects, namespace):
            return []
        newest = claim_protection.newest_good(backups, now).get(metadata["uid"])
        storage_class = ClaimClasses(self._objects).of(claim)
        found = claim_protection.judge(claim, obj, storage_class, newest, now)
        return claim_protection.condition(found, obj, now)


def _last_backup(
    obj: cluster.Object, backups: Sequence[cluster.Object], now: datetime
) -> cluster.Object | None:
    newest: tuple[tuple[bool, datetime], cluster.Object] | None = None
    for backup in backups:
        status, past = backup.get("status", {}), schedule_statuses.past(backup)
        if status.get("claimName") != obj["metadata"]["name"] or not status.get("backupId"):
            continue
        if past is None or not status.get("snapshotTime"):
            continue
        rank = schedule_statuses.age_rank(past, now)
        if newest is None or rank > newest[0]:
            told = {
                "name": backup["metadata"]["name"],
                "repositoryName": backup["spec"]["repositoryName"],
                "time": status["snapshotTime"],
            }
            newest = (rank, told)
    return None if newest is None else newest[1]


def _wish(
    obj: cluster.Object, spec: models.VolumeClaimSpec, source: claim_sources.Source | None
) -> claim_plan.Wish:
    return claim_plan.Wish(
        namespace=obj["metadata"]["namespace"],
        name=obj["metadata"]["name"],
        size_bytes=quantities.parse_bytes(spec.size),
        storage_class=spec.storage_class_name,
        mode=spec.volume_mode,
        placed=_is_placed(spec),
        keep_data=True,
        deleting="deletionTimestamp" in obj["metadata"],
        source=source,
    )


def _is_placed(spec: models.VolumeClaimSpec) -> bool:
    return spec.placement is not None and bool(spec.placement.node or spec.placement.node_selector)


def _why(annotations: dict[str, str], node: str) -> str:
    reason = annotations.get(keys.PLACEMENT_REASON)
    if reason and annotations.get(keys.PLACEMENT_NODE, node) == node:
        return f"{reason}; pods follow the data to {node}"
    if annotations.get(keys.SELECTED_NODE):
        return f"the scheduler put the first pod on {node}; later pods follow the data there"
    return f"the volume was made on {node}; pods follow the data there"
