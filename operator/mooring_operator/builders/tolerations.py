"""What a mover tolerates on the node that it is held to, since its data is nowhere else. Pure.

What somebody has decided about the node is tolerated: it is kept for databases, or cordoned to be
emptied, and has to be backed up before that. What the node has got into is not: under pressure, or
not ready, its kubelet starts no mover, and would be asked again and again; so the mover waits.
"""

from collections.abc import Iterable

from mooring.ports import cluster

_CORDONED = {
    "key": "node.kubernetes.io/unschedulable",
    "operator": "Exists",
    "effect": "NoSchedule",
}
_CONDITIONS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


def of_node(taints: Iterable[cluster.Object]) -> list[cluster.Object]:
    """Returns the tolerations for a node that has those taints.

    That it may be cordoned is always among them: it may become so before the mover's next try.
    """
    decided = [one for one in taints if not one["key"].startswith(_CONDITIONS)]
    return [dict(_CORDONED), *(_toleration(taint) for taint in decided)]


def _toleration(taint: cluster.Object) -> cluster.Object:
    toleration = {"key": taint["key"], "operator": "Equal", "effect": taint["effect"]}
    if taint.get("value"):
        toleration["value"] = taint["value"]
    else:
        toleration["operator"] = "Exists"
    return toleration
