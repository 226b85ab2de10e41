"""Which claims a BackupSchedule selects, and which of them cannot be backed up, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from mooring.api import keys
from mooring.api.v1alpha1 import backup_schedules as models
from mooring.ports import cluster
from mooring_operator import resources
from mooring_operator.claim_classes import ClaimClasses, repository_claims


@dataclass(frozen=True)
class Selection:
    """What a schedule would back up now.

    Attributes:
        claims: Names of claims.
        left_out: Names of others that it names, with the reason for each.
    """

    claims: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def select(
    objects: cluster.ClusterObjects, namespace: str, wanted: models.ClaimSelection
) -> Selection:
    """Looks at the claims of a namespace."""
    present = {
        claim["metadata"]["name"]: claim
        for claim in objects.find(cluster.CLAIMS, namespace)
        # Movers' own claims are nobody's data.
        if keys.ROLE not in (claim["metadata"].get("labels") or {})
    }
    classes = ClaimClasses(objects)
    repositories = repository_claims(objects, namespace)
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for name in _names(objects, namespace, wanted, present):
        claim = present.get(name)
        reason = _hindrance(claim, classes, is_repository=(namespace, name) in repositories)
        if reason:
            left_out.append((name, reason))
        else:
            chosen.append(name)
    return Selection(tuple(chosen), tuple(left_out))


def _names(
    objects: cluster.ClusterObjects,
    namespace: str,
    wanted: models.ClaimSelection,
    present: dict[str, cluster.Object],
) -> Sequence[str]:
    if wanted.names is not None:
        return list(dict.fromkeys(wanted.names))
    if wanted.match_labels is None:
        return sorted(present)
    inherited = {
        owner["metadata"]["name"]: owner["metadata"].get("labels") or {}
        for owner in objects.find(resources.VOLUME_CLAIMS, namespace)
    }
    return [
        name
        for name, claim in sorted(present.items())
        if wanted.match_labels.items() <= _labels(claim, inherited).items()
    ]


def _labels(claim: cluster.Object, inherited: dict[str, dict[str, str]]) -> dict[str, str]:
    """Returns a claim's labels, and those of the VolumeClaim that made it."""
    own = claim["metadata"].get("labels") or {}
    return {**inherited.get(own.get(keys.VOLUME_CLAIM, ""), {}), **own}


def _hindrance(claim: cluster.Object | None, classes: ClaimClasses, *, is_repository: bool) -> str:
    """Returns why a claim cannot be backed up; empty when it can."""
    if claim is None:
        return "there is no such PersistentVolumeClaim"
    if "deletionTimestamp" in claim["metadata"]:
        return "it is being deleted"
    if is_repository:
        return "it holds a BackupRepository"
    if not classes.is_ours(claim):
        return "it is not on a Mooring volume"
    if claim.get("status", {}).get("phase") != "Bound":
        return "it has no volume yet"
    return ""
