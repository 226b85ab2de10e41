"""Nothing is changed by an operator that may no longer act, also in the middle of an object.

A process that was frozen and goes on would otherwise finish what it had begun, beside a successor.
Between this check and its call lies no more than that one call, and every call is made such that
its repetition does no harm: it is conditional, or names what it makes.
"""

from collections.abc import Callable, Sequence

from mooring.domain import errors, ids
from mooring.ports import cluster
from mooring.ports import nodes as nodes_port

MayAct = Callable[[], bool]


def _require(may_act: MayAct) -> None:
    if not may_act():
        raise errors.Busy("this operator is not, or no longer, the active one")


class FencedObjects:
    """`ports.cluster.ClusterObjects` of which an inactive operator may only read."""

    def __init__(self, objects: cluster.ClusterObjects, may_act: MayAct) -> None:
        self._objects = objects
        self._may_act = may_act

    def get(
        self, resource: cluster.Resource, name: str, namespace: str = ""
    ) -> cluster.Object | None:
        """See the port."""
        return self._objects.get(resource, name, namespace)

    def find(
        self, resource: cluster.Resource, namespace: str = "", *, label_selector: str = ""
    ) -> Sequence[cluster.Object]:
        """See the port."""
        return self._objects.find(resource, namespace, label_selector=label_selector)

    def create(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        """See the port; Busy when this operator may not act."""
        _require(self._may_act)
        return self._objects.create(resource, body)

    def patch(
        self,
        resource: cluster.Resource,
        name: str,
        body: cluster.Object,
        namespace: str = "",
        *,
        status: bool = False,
    ) -> cluster.Object:
        """See the port; Busy when this operator may not act."""
        _require(self._may_act)
        return self._objects.patch(resource, name, body, namespace, status=status)

    def replace(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        """See the port; Busy when this operator may not act."""
        _require(self._may_act)
        return self._objects.replace(resource, body)

    def delete(
        self, resource: cluster.Resource, name: str, namespace: str = "", *, uid: str = ""
    ) -> None:
        """See the port; Busy when this operator may not act."""
        _require(self._may_act)
        self._objects.delete(resource, name, namespace, uid=uid)

    def log_tail(self, pod: str, namespace: str, *, lines: int) -> str:
        """See the port."""
        return self._objects.log_tail(pod, namespace, lines=lines)


class FencedNodes:
    """`ports.nodes.Nodes` whose storage an inactive operator does not get."""

    def __init__(self, nodes: nodes_port.Nodes, may_act: MayAct) -> None:
        self._nodes = nodes
        self._may_act = may_act

    def names(self) -> Sequence[ids.NodeName]:
        """See the port."""
        return self._nodes.names()

    def storage(self, node: ids.NodeName) -> nodes_port.NodeStorageAndSnapshots:
        """See the port; Busy when this operator may not act."""
        _require(self._may_act)
        return self._nodes.storage(node)
