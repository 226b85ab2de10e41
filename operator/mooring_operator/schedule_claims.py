"""Which claims a BackupSchedule selects, and which of them cannot be backed up, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from mooring.api import keys
from mooring.api.v1alpha1 import backup_schedules as models
from mooring.ports import cluster
from mooring_operator import observing, resources
from mooring_operator.claim_classes import ClaimClasses, repository_claims
from mooring_operator.snapshot_classes import SnapshotClasses


@dataclass(frozen=True)
class Selection:
    """What a schedule would back up now.

    Attributes:
        claims: Names of claims.
        left_out: Names of others that it names, with the reason for each.
    """

    claims: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


class _Looking:
    """One look at the claims of a namespace.

    Args:
        objects: The cluster.
        namespace: Which.
        snapshot_class: The class for snapshots of other drivers' volumes; None for the default.
        of_others: Whether claims of other drivers are taken too.
    """

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        namespace: str,
        snapshot_class: str | None,
        *,
        of_others: bool,
    ) -> None:
        self._objects = objects
        self._namespace = namespace
        self._snapshot_class = snapshot_class
        self._of_others = of_others
        self._classes = ClaimClasses(objects)
        self._snapshot_classes = SnapshotClasses(objects)
        self._repositories = repository_claims(objects, namespace)

    def hindrance(self, name: str, claim: cluster.Object | None) -> str:
        """Returns why a claim cannot be backed up; empty when it can."""
        if claim is None:
            return "there is no such PersistentVolumeClaim"
        if "deletionTimestamp" in claim["metadata"]:
            return "it is being deleted"
        if (self._namespace, name) in self._repositories:
            return "it holds a BackupRepository"
        ours = self._classes.is_ours(claim)
        if not ours and not self._of_others:
            return "it is not on a Mooring volume; select it by its name or a label"
        if claim.get("status", {}).get("phase") != "Bound":
            return "it has no volume yet"
        return "" if ours else self._foreign(claim)

    def _foreign(self, claim: cluster.Object) -> str:
        volume = observing.volume_behind(self._objects, claim)
        found = None if volume is None else observing.foreign_volume(claim, volume)
        if found is None:
            return "its volume has no CSI driver that could take a snapshot"
        _, need = self._snapshot_classes.choose(found.driver, self._snapshot_class)
        return "" if need.ready else need.message


def select(
    objects: cluster.ClusterObjects,
    namespace: str,
    wanted: models.ClaimSelection,
    snapshot_class: str | None = None,
) -> Selection:
    """Looks at the claims of a namespace; `all` are those on Mooring's volumes."""
    present = {
        claim["metadata"]["name"]: claim
        for claim in objects.find(cluster.CLAIMS, namespace)
        # Movers' own claims are nobody's data.
        if keys.ROLE not in (claim["metadata"].get("labels") or {})
    }
    of_others = wanted.all is None
    looking = _Looking(objects, namespace, snapshot_class, of_others=of_others)
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for name in _names(objects, namespace, wanted, present):
        reason = looking.hindrance(name, present.get(name))
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
