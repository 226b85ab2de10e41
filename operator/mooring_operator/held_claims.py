"""Says on a PersistentVolumeClaim that is to be deleted what keeps it, as an Event."""

from typing import Any

from mooring.api import keys
from mooring.planning import claim_holders, verdicts
from mooring.ports import cluster
from mooring_operator.node_states import NodeStates
from mooring_operator.recorder import Recorder
from mooring_operator.work_queue import Key

KIND = "HeldClaim"
_AGAIN_SECONDS = 60.0
_SOON_SECONDS = 5.0


def may_be_held(claim: dict[str, Any]) -> bool:
    """Whether a claim is on its way out and has a volume of Mooring's."""
    metadata = claim["metadata"]
    notes = metadata.get("annotations") or {}
    return "deletionTimestamp" in metadata and notes.get(keys.STORAGE_PROVISIONER) == keys.DRIVER


class HeldClaims:
    """Reconciles claims that are being deleted, whether or not a VolumeClaim made them."""

    def __init__(
        self, objects: cluster.ClusterObjects, recorder: Recorder, nodes: NodeStates
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._nodes = nodes

    def reconcile(self, key: Key) -> float | None:
        """Writes an Event while something keeps the claim that only people can take away."""
        claim = self._objects.get(cluster.CLAIMS, key.name, key.namespace)
        if claim is None or not may_be_held(claim):
            return None
        finalizers = claim["metadata"].get("finalizers", [])
        holders = self._nodes.holders(key.namespace, key.name)
        hold = claim_holders.hold_on(key.namespace, key.name, holders, finalizers)
        if hold is None or hold.outcome is not verdicts.Outcome.STUCK:
            return _SOON_SECONDS
        self._recorder.event(claim, hold)
        return _AGAIN_SECONDS
