"""Looks up what a Backup is of: the claim, and the volume behind it, Mooring's or another's."""

from dataclasses import dataclass

from mooring.api.v1alpha1 import backups as models
from mooring.domain import errors
from mooring.planning.backup_run_plan import Need
from mooring.ports import cluster
from mooring_operator import observing, resources
from mooring_operator.builders import owners
from mooring_operator.foreign_volumes import ForeignVolumes


@dataclass(frozen=True)
class Source:
    """What an observation found.

    Attributes:
        need: What is missing, if anything.
        claim: The claim; None when it was not looked for, or is not there.
        own: Its volume, when that is Mooring's.
        foreign: Its volume, when that is another driver's.
        snapshot_class: Of another driver's volume: the class of its snapshot.
    """

    need: Need
    claim: cluster.Object | None = None
    own: observing.BoundVolume | None = None
    foreign: observing.ForeignVolume | None = None
    snapshot_class: str = ""


NOT_ASKED = Source(Need(True))


def find(
    objects: cluster.ClusterObjects,
    foreign: ForeignVolumes,
    owner: owners.Owner,
    spec: models.BackupSpec,
) -> Source:
    """Looks at the claim that a Backup names, in its own namespace."""
    name = spec.source.volume_claim_name or spec.source.persistent_volume_claim_name or ""
    if not name:
        return Source(Need(False, True, "InvalidInput", "spec.source names no claim"))
    asked = [cluster.CLAIMS]
    if spec.source.volume_claim_name is not None:
        asked.insert(0, resources.VOLUME_CLAIMS)
    for resource in asked:
        if objects.get(resource, name, owner.namespace) is None:
            text = f"there is no {resource.kind} {name} in namespace {owner.namespace}"
            return _waits("SourceNotFound", text)
    claim = objects.get(cluster.CLAIMS, name, owner.namespace)
    volume = None if claim is None else observing.volume_behind(objects, claim)
    if claim is None or volume is None:
        text = f"claim {name} has no volume yet; start a pod that uses it"
        return _waits("SourceNotBound", text, claim)
    if not observing.is_ours(volume):
        return _foreign(foreign, owner, spec, claim, volume)
    return _own(claim, volume)


def _own(claim: cluster.Object, volume: cluster.Object) -> Source:
    try:
        return Source(Need(True), claim, observing.own_volume(claim, volume))
    except (errors.PreconditionFailed, errors.NotFound) as error:
        return Source(Need(False, True, "NotAMooringVolume", str(error)), claim)


def _foreign(
    foreign: ForeignVolumes,
    owner: owners.Owner,
    spec: models.BackupSpec,
    claim: cluster.Object,
    volume: cluster.Object,
) -> Source:
    found, need = foreign.find(claim, volume)
    if found is None or not need.ready:
        return Source(need, claim)
    name, need = foreign.choose_class(found, spec, owner)
    return Source(need, claim, foreign=found, snapshot_class=name)


def _waits(reason: str, message: str, claim: cluster.Object | None = None) -> Source:
    return Source(Need(ready=False, reason=reason, message=message), claim)
