"""Claims whose dataSourceRef names a Mooring Backup or Restore: each is filled, or told why not."""

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import verdicts
from mooring.ports import cluster
from mooring_operator import resources, restores
from mooring_operator.populator import Populator, Source
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "ClaimToFill"
_SOON_SECONDS = 0.3
_WATCH_SECONDS = 1.0
_WAIT_SECONDS = 15.0


class ClaimsToFill:
    """Reconciles claims that ask for a backup's content."""

    def __init__(
        self, objects: cluster.ClusterObjects, recorder: Recorder, populator: Populator
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._populator = populator

    def reconcile(self, key: Key) -> float | None:
        """Brings one claim a step closer; returns when to look again, in seconds."""
        claim = self._objects.get(cluster.CLAIMS, key.name, key.namespace)
        if claim is None or not asks_for_backup(claim):
            return None
        held = keys.POPULATE_FINALIZER in claim["metadata"].get("finalizers", [])
        bound = claim.get("status", {}).get("phase") == "Bound"
        if (bound or "deletionTimestamp" in claim["metadata"]) and not held:
            return None
        source = self._source(claim)
        if source is None:
            return None  # its Restore fills it
        try:
            return self._fill(claim, source)
        except errors.MooringError as error:
            if verdicts.is_transient(error):
                raise
            self._recorder.event(claim, verdicts.of_error(error))
            return _WAIT_SECONDS

    def _fill(self, claim: cluster.Object, source: Source) -> float | None:
        progress = self._populator.advance(claim, source)
        if progress.verdict.outcome is not verdicts.Outcome.WORKING or source.point is None:
            self._recorder.event(claim, progress.verdict)
        if progress.done:
            return None
        if progress.acting:
            return _SOON_SECONDS
        waits = progress.verdict.outcome is verdicts.Outcome.STUCK
        return _WAIT_SECONDS if waits else _WATCH_SECONDS

    def _source(self, claim: cluster.Object) -> Source | None:
        """Returns what to fill the claim from; None when a Restore sees to it."""
        metadata, reference = claim["metadata"], claim["spec"]["dataSourceRef"]
        kind, name = reference["kind"], reference["name"]
        if reference.get("namespace") not in (None, "", metadata["namespace"]):
            return Source(None, "a backup of another namespace cannot be restored here")
        if kind == "Backup":
            backup = self._objects.get(resources.BACKUPS, name, metadata["namespace"])
            try:
                return restores.source_of_backup(backup, name, Source(None))
            except errors.InvalidInput as error:
                return Source(None, str(error))
        restore = self._objects.get(resources.RESTORES, name, metadata["namespace"])
        if restore is None:
            return Source(None, f"there is no Restore {name} in this namespace")
        target = restore.get("spec", {}).get("target", {}).get("claimName")
        if target != metadata["name"]:
            text = f"Restore {name} fills claim {target}; name a Backup instead, for a copy"
            return Source(None, text)
        return None


def asks_for_backup(claim: cluster.Object) -> bool:
    """Whether a claim's dataSourceRef names a Backup or Restore of ours."""
    reference = claim.get("spec", {}).get("dataSourceRef") or {}
    return reference.get("apiGroup") == keys.GROUP and reference.get("kind") in (
        "Backup",
        "Restore",
    )
