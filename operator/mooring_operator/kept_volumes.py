"""PersistentVolumes that outlive their claim, because their VolumeClaim says Retain.

A claim can go without its VolumeClaim being asked, with its namespace for example, and then the
PersistentVolume's own policy decides. So that policy follows `spec.deletionPolicy`: see
docs/decisions/0049.
"""

import structlog

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import reclaim_plan
from mooring.ports import cluster
from mooring_operator import observing

_POLICY = "persistentVolumeReclaimPolicy"
_log = structlog.get_logger("kept-volumes")


def align(objects: cluster.ClusterObjects, claim: cluster.Object, *, keep: bool) -> None:
    """Has the volume of a bound claim kept, or gives it back the policy that it had.

    Raises:
        Busy: Somebody else changed the volume meanwhile; look at it again.
        Unreachable: The API server does not answer.
    """
    volume = observing.volume_behind(objects, claim)
    if volume is None or not observing.is_ours(volume):
        return
    if volume["spec"].get("claimRef", {}).get("uid") != claim["metadata"]["uid"]:
        return
    present = _reclaim(volume)
    wanted = reclaim_plan.wanted(present, keep=keep)
    if wanted == present:
        return
    metadata = volume["metadata"]
    change: cluster.Object = {
        "metadata": {
            # What users do to it meanwhile is theirs.
            "resourceVersion": metadata["resourceVersion"],
            "annotations": {keys.RECLAIM_POLICY: wanted.former},
        },
        "spec": {_POLICY: wanted.policy},
    }
    try:
        objects.patch(cluster.PERSISTENT_VOLUMES, metadata["name"], change)
    except errors.NotFound:
        return  # it went meanwhile
    _log.info("reclaim policy set", volume=metadata["name"], policy=wanted.policy)


def _reclaim(volume: cluster.Object) -> reclaim_plan.Reclaim:
    annotations = volume["metadata"].get("annotations") or {}
    policy = volume["spec"].get(_POLICY, reclaim_plan.RETAIN)  # what Kubernetes takes it for
    return reclaim_plan.Reclaim(policy, annotations.get(keys.RECLAIM_POLICY))
