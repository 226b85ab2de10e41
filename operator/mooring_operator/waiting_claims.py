"""Says on a PersistentVolumeClaim that its writes wait for room, and that they do so no more."""

from mooring.api.v1alpha1 import volumes as models
from mooring.planning import claim_holders
from mooring.ports import cluster
from mooring_operator import observing, resources
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "WaitingClaims"
KEY = Key(KIND, "", "all")
_ROUND_SECONDS = 10.0


class WaitingClaims:
    """Writes Events on claims, whether or not a VolumeClaim made them.

    What was said is remembered in memory only: the next operator says once more what still waits.
    """

    def __init__(self, objects: cluster.ClusterObjects, recorder: Recorder) -> None:
        self._objects = objects
        self._recorder = recorder
        self._told: set[str] = set()

    def reconcile(self, _: Key) -> float | None:
        """Looks at all Volumes if any may wait; returns when to do it again, in seconds."""
        if self._told or self._some_wait():
            self._compare()
        return _ROUND_SECONDS

    def _some_wait(self) -> bool:
        """Asks the few Pools, so that no Volume is read while there is room everywhere."""
        return any(
            entry.get("waitingVolumes")
            for pool in self._objects.find(resources.POOLS)
            for entry in pool.get("status", {}).get("nodes", [])
        )

    def _compare(self) -> None:
        found = {obj["metadata"]["name"]: obj for obj in self._objects.find(resources.VOLUMES)}
        waiting = {
            name
            for name, obj in found.items()
            if obj.get("status", {}).get("health") == models.WRITES_WAIT
        }
        self._told &= found.keys()
        if waiting == self._told:
            return
        by_handle = observing.volumes_by_handle(self._objects)
        for name in sorted(waiting ^ self._told):
            why = str(found[name]["status"].get("message", "")) if name in waiting else None
            self._tell(by_handle.get(name, {}).get("spec", {}).get("claimRef"), why)
        self._told = waiting

    def _tell(self, reference: cluster.Object | None, why: str | None) -> None:
        """Writes an Event on the claim that a volume is bound to, if there is one.

        Args:
            reference: The claim.
            why: What the volume's node says; None when it waits no more.
        """
        if reference is None:
            return
        name = reference["name"]
        claim = self._objects.get(cluster.CLAIMS, name, reference["namespace"])
        if claim is None or claim["metadata"]["uid"] != reference.get("uid"):
            return
        over = claim_holders.writes_go_on(name)
        self._recorder.event(claim, over if why is None else claim_holders.writes_wait(name, why))
