"""What the other nodes' agents say of a pool that one of them had before."""

from collections.abc import Callable

from mooring.domain import errors, ids, pools
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import surveys

NodeExists = Callable[[ids.NodeName], bool]
"""Whether the cluster has a node of that name; may raise Unreachable."""


class PeerPools:
    """`ports.pools.PoolSightings` over the other nodes' agents.

    Args:
        node: This node, which is not asked.
        nodes: The fleet.
        exists: Whether a node is still there at all.
    """

    def __init__(self, node: ids.NodeName, nodes: nodes_port.Nodes, exists: NodeExists) -> None:
        self._node = node
        self._nodes = nodes
        self._exists = exists

    def look(self, pool_uuid: str, owner: ids.NodeName) -> pools.Sighting:
        """Asks every other node; what cannot be asked counts as silent."""
        try:
            names = [name for name in self._nodes.names() if name != self._node]
            answers = surveys.ask(self._nodes, names, lambda node: tuple(node.list_pools()))
            for name, answer in answers.items():
                if any(status.pool_uuid == pool_uuid for status in answer or ()):
                    return pools.Sighting(name, pools.OwnerState.SILENT)
            if answers.get(owner) is not None:
                return pools.Sighting(None, pools.OwnerState.WITHOUT_IT)
            if not self._exists(owner):
                return pools.Sighting(None, pools.OwnerState.GONE)
        except errors.MooringError:
            pass  # this node has no certificate yet, or the API server is away
        return pools.Sighting(None, pools.OwnerState.SILENT)


class NoPeers:
    """`ports.pools.PoolSightings` of a node without a fleet: it knows nothing of others."""

    def look(self, pool_uuid: str, owner: ids.NodeName) -> pools.Sighting:
        """Knows nothing."""
        del pool_uuid, owner
        return pools.Sighting(None, pools.OwnerState.SILENT)
