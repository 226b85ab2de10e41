"""Where a claim's data shall be made, which the scheduler of its first pod may not know.

A chosen node is in an annotation of the claim that Kubernetes takes away when that node fails
once, and the scheduler then picks any node. So the choice of a claim that says where its data
shall be is written down beside it, and holds.
"""

from dataclasses import replace

from mooring.api import keys
from mooring.domain import ids
from mooring.planning import placement
from mooring.ports import cluster
from mooring.volumes.fleet.requests import VolumeRequest


def bound_to(claim: cluster.Object) -> ids.NodeName | None:
    """Returns the node that a claim's data has to be made on; None when any node will do."""
    node = claim["metadata"].get("annotations", {}).get(keys.PLACEMENT_NODE)
    return ids.NodeName(node) if node else None


class ClaimPlacements:
    """The places that the claims of one cluster ask for."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def applied(self, request: VolumeRequest) -> VolumeRequest:
        """Returns a request with the node that its claim is bound to, whichever was picked.

        The scheduler puts the pod where the volume is then.

        Raises:
            Unreachable: The claim cannot be read.
        """
        namespace, name = request.labels.get("namespace"), request.labels.get("claim")
        if not namespace or not name:
            return request
        claim = self._objects.get(cluster.CLAIMS, name, namespace)
        node = bound_to(claim) if claim is not None else None
        if node is None:
            return request
        return replace(request, topology=placement.Topology(requisite=(node,), preferred=(node,)))
