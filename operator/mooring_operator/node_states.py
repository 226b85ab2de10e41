"""How the nodes are, as the API server has it, and which pods on them have a claim."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from mooring.planning.claim_holders import Holder, NodeState
from mooring.ports import clock, cluster
from mooring_operator import statuses

_REMEMBERED = timedelta(seconds=3)
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class NodeStates:
    """The states of all nodes; the list is remembered for a moment, as many claims ask at once."""

    def __init__(self, objects: cluster.ClusterObjects, time: clock.Clock) -> None:
        self._objects = objects
        self._time = time
        self._guard = threading.Lock()
        self._known: dict[str, NodeState] = {}
        self._read_at: datetime | None = None

    def of(self, node: str) -> NodeState:
        """Returns how a node is; Unreachable when the API server is away."""
        with self._guard:
            now = self._time.now()
            if self._read_at is None or not timedelta(0) <= now - self._read_at < _REMEMBERED:
                self._known = {
                    obj["metadata"]["name"]: state_of(obj)
                    for obj in self._objects.find(cluster.NODES)
                }
                self._read_at = now
            return self._known.get(node, NodeState.REMOVED)

    def holders(self, namespace: str, claim: str) -> Sequence[Holder]:
        """Returns the pods that Kubernetes says have a claim: scheduled ones, also ended ones."""
        return [
            self._holder(pod)
            for pod in self._objects.find(cluster.PODS, namespace)
            if pod.get("spec", {}).get("nodeName") and _uses(pod, claim)
        ]

    def _holder(self, pod: cluster.Object) -> Holder:
        metadata, node = pod["metadata"], pod["spec"]["nodeName"]
        # A deletionTimestamp is when the grace ends, not when the deletion was asked for.
        due = statuses.parse_timestamp(metadata.get("deletionTimestamp"))
        return Holder(
            pod=metadata["name"],
            node=node,
            node_state=self.of(node),
            ending=due is not None,
            overdue=due is not None and due <= self._time.now(),
            finalizers=tuple(metadata.get("finalizers", [])),
        )


def state_of(node: cluster.Object) -> NodeState:
    """Reads how a node is from its object."""
    taints = node.get("spec", {}).get("taints", [])
    conditions = node.get("status", {}).get("conditions", [])
    if any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        return NodeState.READY
    if any(one.get("key") == _OUT_OF_SERVICE for one in taints):
        return NodeState.SHUT_DOWN
    return NodeState.SILENT


def _uses(pod: cluster.Object, claim: str) -> bool:
    volumes = pod["spec"].get("volumes", [])
    return any(v.get("persistentVolumeClaim", {}).get("claimName") == claim for v in volumes)
