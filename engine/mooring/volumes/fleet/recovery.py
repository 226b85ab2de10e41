"""Bringing the claims of a namespace back from the newest good backup of each.

The work is the operator's, by Restore objects; this chooses, makes them in the right order, and
follows them. A run that is broken off is repeated.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mooring.api import keys
from mooring.api.v1alpha1 import base, kinds
from mooring.domain import errors
from mooring.planning import recovery_plan
from mooring.planning.recovery_plan import Action, Classes, Point, Present, Step
from mooring.ports import cluster
from mooring.volumes.fleet import recovered_claims

_POLL_SECONDS = 1.0


def _resource(kind: base.Kind) -> cluster.Resource:
    return cluster.Resource(keys.API_VERSION, kind.kind, kind.plural, kind.namespaced)


_BACKUPS = _resource(kinds.BACKUP)
_REPOSITORIES = _resource(kinds.BACKUP_REPOSITORY)
_RESTORES = _resource(kinds.RESTORE)
_VOLUME_CLAIMS = _resource(kinds.VOLUME_CLAIM)


@dataclass(frozen=True)
class State:
    """How one restore stands.

    Attributes:
        claim: Name of the claim.
        ended: Whether it is over.
        good: Whether the claim is whole again.
        percent: How far it is; None when not known.
        message: What its Restore says.
    """

    claim: str
    ended: bool
    good: bool
    percent: int | None
    message: str


class Recovery:
    """Recovers claims.

    Args:
        objects: The cluster's objects.
        sleep: Waits so many seconds.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._sleep = sleep
        self._monotonic = monotonic

    def plan(
        self, namespace: str, repository: str | None, renamed: Mapping[str, str]
    ) -> list[Step]:
        """Returns what would be done; changes nothing.

        Args:
            namespace: Where.
            repository: Only backups in this one; None for all.
            renamed: New names of StorageClasses, by their old ones.

        Raises:
            PreconditionFailed: There is no such BackupRepository, or one is not listed yet; the
                message says why.
            InvalidInput: A class that is named is not Mooring's.
        """
        names = self._listed(namespace, repository)
        points = [
            point
            for backup in self._objects.find(_BACKUPS, namespace)
            if backup["spec"].get("repositoryName") in names
            and (point := _point(backup)) is not None
        ]
        present = {
            claim["metadata"]["name"]: _present(claim)
            for claim in self._objects.find(cluster.CLAIMS, namespace)
        }
        restores = self._objects.find(_RESTORES, namespace)
        taken = frozenset(obj["metadata"]["name"] for obj in restores)
        ours = self._our_classes()
        classes = Classes(ours, renamed, keys.DEFAULT_STORAGE_CLASS)
        return recovery_plan.plan(points, present, classes, taken)

    def carry_out(self, steps: Sequence[Step], namespace: str, *, now: bool) -> None:
        """Makes what brings the claims back; can be repeated.

        Args:
            steps: The plan.
            namespace: Where.
            now: Whether to begin at once on the roomiest nodes, not with the first pods.
        """
        nodes = self._nodes()
        for step in steps:
            if step.action not in (Action.RESTORE, Action.CONTINUE):
                continue
            if step.action is Action.RESTORE:
                # Before the Restore, which would make a claim without its labels.
                self._make(cluster.CLAIMS, recovered_claims.claim(step, namespace))
            self._make(_RESTORES, recovered_claims.restore(step, namespace, now=now))
            wrapped = recovered_claims.volume_claim(step, namespace, nodes)
            if wrapped is not None:
                self._make(_VOLUME_CLAIMS, wrapped)

    def states(self, steps: Sequence[Step], namespace: str) -> list[State]:
        """Returns how the restores of a plan stand."""
        return [
            _state(step, self._objects.get(_RESTORES, step.restore, namespace))
            for step in steps
            if step.restore
        ]

    def follow(
        self,
        steps: Sequence[Step],
        namespace: str,
        report: Callable[[Sequence[State]], None],
        *,
        timeout_seconds: float,
    ) -> list[State]:
        """Waits until every restore is over; `report` sees how they stand, again and again.

        Raises:
            Busy: It took longer; they go on.
        """
        deadline = self._monotonic() + timeout_seconds
        while True:
            found = self.states(steps, namespace)
            report(found)
            waiting = [state for state in found if not state.ended]
            if not waiting:
                return found
            if self._monotonic() >= deadline:
                first = waiting[0]
                raise errors.Busy(
                    f"{len(waiting)} of {len(found)} claims are not whole yet, such as "
                    f"{first.claim}: {first.message}. They go on without this command"
                )
            self._sleep(_POLL_SECONDS)

    def _listed(self, namespace: str, repository: str | None) -> set[str]:
        found = self._objects.find(_REPOSITORIES, namespace)
        chosen = [obj for obj in found if repository in (None, obj["metadata"]["name"])]
        if not chosen:
            which = repository or "at all"
            raise errors.PreconditionFailed(
                f"there is no BackupRepository {which} in namespace {namespace}: apply it, and the "
                "Secret with its key, first"
            )
        for obj in chosen:
            status = obj.get("status", {})
            if not (status.get("listing") or {}).get("done"):
                raise errors.PreconditionFailed(
                    f"BackupRepository {obj['metadata']['name']} is not listed yet: "
                    f"{_why_not_listed(status)}"
                )
        return {obj["metadata"]["name"] for obj in chosen}

    def _our_classes(self) -> frozenset[str] | None:
        try:
            found = self._objects.find(cluster.STORAGE_CLASSES)
        except errors.PermissionDenied:
            return None  # a tenant's role need not show them; the Restore checks
        return frozenset(
            obj["metadata"]["name"] for obj in found if obj.get("provisioner") == keys.DRIVER
        )

    def _nodes(self) -> frozenset[str]:
        try:
            found = self._objects.find(cluster.NODES)
        except errors.PermissionDenied:
            return frozenset()
        return frozenset(obj["metadata"]["name"] for obj in found)

    def _make(self, resource: cluster.Resource, body: cluster.Object) -> None:
        try:
            self._objects.create(resource, body)
        except errors.AlreadyExists:
            return  # by an earlier run; a claim of somebody else's is seen by its Restore


def _point(backup: cluster.Object) -> Point | None:
    """Reads a good backup; None for any other."""
    status = backup.get("status", {})
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
    good = conditions.get("Succeeded") == "True" and conditions.get("Suspect") != "True"
    moment = _moment(status.get("snapshotTime"))
    if not good or not status.get("backupId") or not status.get("claimName") or moment is None:
        return None
    return Point(
        backup=backup["metadata"]["name"],
        claim=str(status["claimName"]),
        taken_at=moment,
        size_bytes=int(status.get("sizeBytes", 0)),
        mode=str(status.get("volumeMode", "Filesystem")),
        storage_class=str(status.get("storageClassName") or ""),
        manifests=status.get("manifests") or {},
    )


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _present(claim: cluster.Object) -> Present:
    reference = claim.get("spec", {}).get("dataSourceRef") or {}
    backup = claim["metadata"].get("annotations", {}).get(recovered_claims.RECOVERED_FROM)
    if backup is None or reference.get("kind") != "Restore":
        return Present()
    return Present(str(reference.get("name")), backup)


def _why_not_listed(status: cluster.Object) -> str:
    said = (status.get("listing") or {}).get("message")
    for entry in status.get("conditions", []):
        if entry["type"] == "Ready" and entry["status"] != "True" and not said:
            said = entry["message"]
    return said or "its backups are being shown as objects; try again in a minute"


def _state(step: Step, restore: cluster.Object | None) -> State:
    status = (restore or {}).get("status", {})
    percent = status.get("progress", {}).get("percent")
    for entry in status.get("conditions", []):
        if entry["type"] == "Succeeded":
            ended = entry["status"] in ("True", "False")
            good = entry["status"] == "True"
            return State(step.point.claim, ended, good, percent, entry["message"])
    return State(step.point.claim, False, False, percent, "the operator has not looked at it yet")
