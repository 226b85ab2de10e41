"""Restore: make the claim that it names, once, and follow it until it is filled and bound."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import backups as backup_models
from mooring.api.v1alpha1 import restores as models
from mooring.domain import errors, ids, quantities
from mooring.planning import placement_plan, populate_plan, verdicts
from mooring.ports import clock, cluster
from mooring_operator import (
    observing,
    parsing,
    resources,
    run_statuses,
    statuses,
    suspect_backups,
)
from mooring_operator.builders import claims
from mooring_operator.kept_content import Original
from mooring_operator.populator import Populator, Progress, Source
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "Restore"
_WATCH_SECONDS = 1.0
_SOON_SECONDS = 0.3
_WAIT_SECONDS = 30.0
_WAIT_FOR_BACKUP = timedelta(minutes=10)


class Restores:
    """Reconciles Restores."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        populator: Populator,
        time: clock.Clock,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._populator = populator
        self._time = time

    def reconcile(self, key: Key) -> float | None:
        """Brings one Restore a step closer; returns when to look again, in seconds."""
        obj = self._objects.get(resources.RESTORES, key.name, key.namespace)
        if obj is None:
            return None
        deleting = "deletionTimestamp" in obj["metadata"]
        if deleting and keys.FINALIZER not in obj["metadata"].get("finalizers", []):
            return None
        try:
            spec = parsing.spec_of(obj, models.RestoreSpec)
            if spec.target.size is not None:
                quantities.parse_bytes(spec.target.size)
        except errors.InvalidInput as error:
            if deleting:
                self._recorder.let_go(resources.RESTORES, obj)
            else:
                self._report(obj, verdicts.failed(error.reason, str(error)), {})
            return None
        try:
            return self._reconcile(obj, spec)
        except errors.MooringError as error:
            is_over = statuses.condition(obj, "Succeeded").get("status") in ("True", "False")
            if verdicts.is_transient(error) or is_over or deleting:
                raise
            self._report(obj, verdicts.of_error(error), {})
            return _WAIT_SECONDS

    def _reconcile(self, obj: cluster.Object, spec: models.RestoreSpec) -> float | None:
        name, namespace = spec.target.claim_name, obj["metadata"]["namespace"]
        deleting = "deletionTimestamp" in obj["metadata"]
        claim = self._objects.get(cluster.CLAIMS, name, namespace)
        if claim is not None and not _is_ours(claim, obj):
            claim = None if deleting else claim
        if deleting:
            return self._stop(obj, claim)
        return self._go_on(obj, spec, claim)

    def _stop(self, obj: cluster.Object, claim: cluster.Object | None) -> float | None:
        """Ends a restore that is deleted; a claim that is filled already stays as it is."""
        held = claim is not None and keys.POPULATE_FINALIZER in claim["metadata"].get(
            "finalizers", []
        )
        if claim is not None and held and not self._populator.give_up(claim):
            self._report(obj, verdicts.working("Deleting", "its mover is being stopped"), {})
            return _SOON_SECONDS
        self._recorder.let_go(resources.RESTORES, obj)
        return None

    def _go_on(
        self, obj: cluster.Object, spec: models.RestoreSpec, claim: cluster.Object | None
    ) -> float | None:
        outcome = statuses.condition(obj, "Succeeded").get("status")
        ours = claim is not None and _is_ours(claim, obj)
        if outcome in ("True", "False"):
            return self._after(claim) if ours and claim is not None else None
        self._recorder.hold(resources.RESTORES, obj)
        if claim is not None and not ours:
            self._report(obj, _taken(spec.target.claim_name, claim, obj), {})
            return None
        source = self._source(obj, spec)
        if claim is None:
            return self._make_claim(obj, spec, source)
        self._mark(claim, obj)
        progress = self._populator.advance(claim, source)
        self._warn(obj, suspect_backups.warning_of(progress.mover.result, source.warning))
        self._report(obj, progress.verdict, self._fields(obj, claim, source, progress))
        return _SOON_SECONDS if progress.acting else _WATCH_SECONDS

    def _warn(self, obj: cluster.Object, text: str) -> None:
        if text:
            self._recorder.event(obj, verdicts.stuck(suspect_backups.CONDITION, text))

    def _mark(self, claim: cluster.Object, obj: cluster.Object) -> None:
        """Notes on a claim that a user made which Restore it is of: the next one is another."""
        metadata = claim["metadata"]
        note = {keys.RESTORE_UID: obj["metadata"]["uid"]}
        if note.items() <= metadata.get("annotations", {}).items():
            return
        change = {"metadata": {"annotations": note}}
        updated = self._objects.patch(
            cluster.CLAIMS, metadata["name"], change, metadata["namespace"]
        )
        claim["metadata"] = updated["metadata"]

    def _after(self, claim: cluster.Object) -> float | None:
        """Tidies up behind a restore that is over."""
        if keys.POPULATE_FINALIZER not in claim["metadata"].get("finalizers", []):
            return None
        progress = self._populator.advance(claim, Source(None))
        return None if progress.done else _SOON_SECONDS

    def _source(self, obj: cluster.Object, spec: models.RestoreSpec) -> Source:
        namespace = obj["metadata"]["namespace"]
        common = Source(
            None,
            deadline_seconds=spec.active_deadline_seconds,
            placement=_wish(spec),
        )
        if spec.point is not None:
            return replace(
                common,
                point=populate_plan.Point(None, spec.target.volume_mode),
                backup_id=spec.point.backup_id,
                repository=spec.point.repository_name,
                label=f"point {spec.point.backup_id}",
            )
        backup = self._objects.get(resources.BACKUPS, spec.backup_name or "", namespace)
        return source_of_backup(backup, spec.backup_name or "", common)

    def _make_claim(
        self, obj: cluster.Object, spec: models.RestoreSpec, source: Source
    ) -> float | None:
        if source.point is None:
            return self._wait_for_backup(obj, source)
        size_bytes = source.point.size_bytes or 0
        if spec.target.size is not None:
            size_bytes = quantities.parse_bytes(spec.target.size)
        mode = spec.target.volume_mode or source.point.mode or "Filesystem"
        refusal = self._refuse(spec, source.point, size_bytes, mode)
        if refusal is not None:
            self._report(obj, refusal, {})
            return None
        annotations = {keys.RESTORE_UID: obj["metadata"]["uid"]}
        placed = self._placement(obj, source, size_bytes, spec)
        if isinstance(placed, verdicts.Verdict):
            self._report(obj, placed, {})
            return _WAIT_SECONDS
        template = claims.ClaimTemplate(
            namespace=obj["metadata"]["namespace"],
            name=spec.target.claim_name,
            size_bytes=size_bytes,
            storage_class=spec.target.storage_class_name,
            mode=mode,
            access_mode=spec.target.access_mode,
            data_source=(keys.GROUP, "Restore", obj["metadata"]["name"]),
            annotations=annotations | placed,
        )
        try:
            self._objects.create(cluster.CLAIMS, claims.claim(template))
        except errors.AlreadyExists:
            return _SOON_SECONDS
        self._warn(obj, source.warning)
        text = f"claim {spec.target.claim_name} was made and is being filled"
        fields = {"startTime": statuses.timestamp(self._time.now())}
        self._report(obj, verdicts.working("Starting", text), fields)
        return _SOON_SECONDS

    def _refuse(
        self, spec: models.RestoreSpec, point: populate_plan.Point, size_bytes: int, mode: str
    ) -> verdicts.Verdict | None:
        """Refuses before a claim is made what could never be filled."""
        name = spec.target.storage_class_name
        facts = observing.class_facts(self._objects.get(cluster.STORAGE_CLASSES, name))
        if facts is None or not facts.ours:
            text = f"StorageClass {name!r} is missing or not served by Mooring's driver"
            return verdicts.failed("ForeignStorageClass", text)
        if point.mode is not None and point.mode != mode:
            text = f"the backup is of a {point.mode} volume; leave spec.target.volumeMode out"
            return verdicts.failed("ModeDiffers", text)
        if size_bytes < max(point.size_bytes or 0, 1):
            needed = quantities.format_bytes(point.size_bytes or 0)
            text = f"the backup needs {needed}; make a Restore with spec.target.size of that"
            return verdicts.failed("SizeOutOfRange", f"{text}, or more, or without it")
        return None

    def _placement(
        self, obj: cluster.Object, source: Source, size_bytes: int, spec: models.RestoreSpec
    ) -> cluster.Object | verdicts.Verdict:
        """Returns the annotations that choose the node, none without a placement, or a refusal."""
        if source.placement is None:
            return {}
        name = spec.target.storage_class_name
        storage_class = self._objects.get(cluster.STORAGE_CLASSES, name) or {}
        pool = storage_class.get("parameters", {}).get("pool")
        found = observing.candidates(self._objects, pool)
        try:
            choice = placement_plan.choose(source.placement, found, size_bytes)
        except errors.MooringError as error:
            return verdicts.of_error(error)
        return claims.placement_annotations(choice, self._time.now(), binding=True)

    def _wait_for_backup(self, obj: cluster.Object, source: Source) -> float | None:
        created = statuses.parse_timestamp(obj["metadata"].get("creationTimestamp"))
        now = self._time.now()
        if created is not None and now - created >= _WAIT_FOR_BACKUP:
            self._report(obj, verdicts.failed("BackupNotReady", source.message), {})
            return None
        self._report(obj, verdicts.working("BackupNotReady", source.message), {})
        return _WATCH_SECONDS

    def _fields(
        self, obj: cluster.Object, claim: cluster.Object, source: Source, progress: Progress
    ) -> dict[str, Any]:
        mover = progress.mover
        fields = run_statuses.progress_fields({**mover.progress, **mover.result}, mover.attempts)
        bound = claim.get("status", {}).get("phase") == "Bound"
        finished = progress.verdict.outcome in (verdicts.Outcome.DONE, verdicts.Outcome.FAILED)
        if progress.verdict.outcome is verdicts.Outcome.DONE:
            told = obj.get("status", {}).get("progress", {})
            fields["progress"] = {**told, "percent": 100}
            fields["released"] = True
        return fields | {
            "claimName": claim["metadata"]["name"],
            "claimUid": claim["metadata"]["uid"],
            "backupId": source.backup_id or None,
            "node": progress.node,
            "volumeId": progress.volume_id,
            "persistentVolumeName": claim["spec"].get("volumeName") if bound else None,
            "size": claim["spec"]["resources"]["requests"]["storage"],
            "completionTime": statuses.timestamp(self._time.now()) if finished else None,
        }

    def _report(
        self, obj: cluster.Object, verdict: verdicts.Verdict, fields: dict[str, Any]
    ) -> None:
        kept = {
            name: value
            for name, value in obj.get("status", {}).items()
            if name not in ("conditions", "observedGeneration")
        }
        present = {name: value for name, value in fields.items() if value is not None}
        self._recorder.report(resources.RESTORES, obj, "Succeeded", verdict, kept | present)


def is_source(claim: cluster.Object, kind: str, name: str) -> bool:
    """Whether a claim's dataSourceRef names that object of ours, in its own namespace."""
    reference = claim.get("spec", {}).get("dataSourceRef") or {}
    return (
        reference.get("apiGroup") == keys.GROUP
        and reference.get("kind") == kind
        and reference.get("name") == name
        and reference.get("namespace") in (None, "", claim["metadata"].get("namespace"))
    )


def _is_ours(claim: cluster.Object, obj: cluster.Object) -> bool:
    """Whether a claim is this Restore's, and not an earlier one's of the same name."""
    uid = obj["metadata"]["uid"]
    made_for = claim["metadata"].get("annotations", {}).get(keys.RESTORE_UID, uid)
    return is_source(claim, "Restore", obj["metadata"]["name"]) and bool(made_for == uid)


def source_of_backup(backup: cluster.Object | None, name: str, common: Source) -> Source:
    """Reads from a Backup what there is to restore."""
    if backup is None:
        return replace(common, message=f"there is no Backup {name} in this namespace")
    status = backup.get("status", {})
    # Not the condition: while it is being deleted, that says who keeps it.
    if not status.get("backupId"):
        why = statuses.condition(backup, "Succeeded").get("message", "it was not looked at yet")
        return replace(common, message=f"Backup {name} has not succeeded: {why}")
    spec = parsing.spec_of(backup, backup_models.BackupSpec)
    return replace(
        common,
        point=populate_plan.Point(int(status["sizeBytes"]), str(status["volumeMode"])),
        backup_id=str(status["backupId"]),
        repository=spec.repository_name,
        sector_size_bytes=status.get("sectorSizeBytes"),
        filesystem=status.get("filesystem"),
        label=f"Backup/{name} ({status['backupId']})",
        original=_original(backup["metadata"]["namespace"], status),
        warning=suspect_backups.warning(name, status),
    )


def _original(namespace: str, status: dict[str, Any]) -> Original | None:
    """Returns the Mooring volume that a backup is of; what a repository says is no proof."""
    volume_id, repository_id = status.get("volumeId"), status.get("repositoryId")
    if status.get("imported") or status.get("driver") or not volume_id or not repository_id:
        return None
    return Original(ids.parse_volume_id(str(volume_id)), str(repository_id), namespace)


def reads(restore: cluster.Object, backup_name: str, backup_id: str | None) -> bool:
    """Whether a Restore is of that Backup, by its name or by its id in the repository."""
    spec = restore.get("spec", {})
    by_id = backup_id is not None and spec.get("point", {}).get("backupId") == backup_id
    return spec.get("backupName") == backup_name or by_id


def has_failed(backup: cluster.Object) -> bool:
    """Whether a Backup is over without having succeeded."""
    return statuses.condition(backup, "Succeeded").get("status") == "False"


def _wish(spec: models.RestoreSpec) -> placement_plan.Wish | None:
    place = spec.placement
    if place is None or not (place.node or place.node_selector):
        return None
    return placement_plan.Wish(
        ids.NodeName(place.node) if place.node else None, place.node_selector
    )


def _taken(name: str, claim: cluster.Object, obj: cluster.Object) -> verdicts.Verdict:
    reference = claim.get("spec", {}).get("dataSourceRef") or {}
    if reference.get("kind") == "Restore":
        earlier = "an earlier " if is_source(claim, "Restore", obj["metadata"]["name"]) else ""
        text = f"claim {name} belongs to {earlier}Restore {reference.get('name')}"
        return verdicts.failed("ClaimTaken", f"{text}; restore to another name")
    text = f"a claim {name} exists and is never overwritten; restore to another name"
    return verdicts.failed("ClaimExists", text)
