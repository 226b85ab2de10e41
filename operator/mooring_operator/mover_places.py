"""Finds the one node that a mover can run on, when what it mounts is nowhere else."""

from mooring.domain import ids
from mooring.planning import node_selectors
from mooring.ports import cluster
from mooring_operator import observing
from mooring_operator.builders import jobs


def only_node(objects: cluster.ClusterObjects, run: jobs.MoverRun) -> ids.NodeName | None:
    """Returns that node; None when the mover has a choice, or nothing to choose from."""
    if run.node is not None:
        return run.node
    held = [nodes for nodes in (run.nodes, *_held_by_claims(objects, run)) if nodes]
    if not held:
        return None
    found = [
        node["metadata"]["name"]
        for node in objects.find(cluster.NODES)
        if all(_selects(nodes, node) for nodes in held)
    ]
    return ids.NodeName(found[0]) if len(found) == 1 else None


def _held_by_claims(
    objects: cluster.ClusterObjects, run: jobs.MoverRun
) -> list[cluster.Object | None]:
    names = (run.device_claim, run.repository.claim, run.changes_claim)
    claims = [objects.get(cluster.CLAIMS, name, run.owner.namespace) for name in names if name]
    volumes = [observing.volume_behind(objects, claim) for claim in claims if claim is not None]
    return [observing.usable_on(volume) for volume in volumes if volume is not None]


def _selects(nodes: cluster.Object, node: cluster.Object) -> bool:
    metadata = node["metadata"]
    return node_selectors.selects(nodes, metadata["name"], metadata.get("labels") or {})
