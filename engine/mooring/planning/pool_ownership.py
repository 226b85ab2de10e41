"""Whether a node may serve a pool that another node had before. Pure.

A disk that was moved is in one place only, and the pool's lock keeps two processes apart that see
the same bytes. What no lock tells is a copy of a disk, and a folder that several machines share:
so a pool changes hands only when its last node surely does not use it, or when somebody says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mooring.domain import ids, pools


def must_ask(owner: pools.PoolOwner | None, node: ids.NodeName) -> bool:
    """Whether the fleet has to be asked, because another node had the pool."""
    return owner is not None and owner.node != node


def refusal(owner: pools.PoolOwner, sighting: pools.Sighting, *, told: bool) -> str | None:
    """Says why a pool of another node is not adopted; None when it is.

    Args:
        owner: Who had it.
        sighting: What the fleet says.
        told: Whether the configuration says that it is to be adopted.
    """
    pool = f"pool {owner.pool_uuid} belongs to node {owner.node}"
    if sighting.serving_node is not None:
        return (
            f"{pool}, and node {sighting.serving_node} has it now: one of the two is a copy, or "
            "they share the folder. Give each node a folder of its own; to move the disk, put the "
            f"pool's UUID under `forgetPools` on {sighting.serving_node} first"
        )
    if told or sighting.owner is not pools.OwnerState.SILENT:
        return None
    return (
        f"{pool}, which does not answer, so it may still be using it. It is adopted when that node "
        "answers without it or its Node object is deleted; if its machine is surely off, or the "
        f"disk surely not in it, put {owner.pool_uuid} under `adoptPools` in the configuration"
    )


def owned(
    before: pools.PoolOwner | None, pool_uuid: str, name: ids.PoolName, node: ids.NodeName
) -> pools.PoolOwner:
    """Returns what is written down of a pool that a node opens.

    Args:
        before: What stood there.
        pool_uuid: The pool.
        name: Its name.
        node: The node.
    """
    if before is None or before.pool_uuid != pool_uuid:
        return pools.PoolOwner(pool_uuid, name, node)
    previous = before.previous
    if before.node != node:
        before_us = dict.fromkeys((*previous, before.node))
        previous = tuple(one for one in before_us if one != node)
    return replace(before, node=node, previous=previous)


def originals(statuses: Sequence[pools.PoolStatus]) -> Mapping[ids.NodeName, ids.NodeName]:
    """Returns the nodes that have a pool still which another one adopted from them, and which.

    Their owner file names themselves, so they were never asked about it: the other node adopted a
    copy while they were away. Two that each had it from the other are not told apart.

    Args:
        statuses: What the nodes that answer say of one pool name.
    """
    return {
        one.node: other.node
        for one in statuses
        for other in statuses
        if one.pool_uuid
        and one.pool_uuid == other.pool_uuid
        and one.node in other.adopted_from
        and other.node not in one.adopted_from
    }


def original_message(pool_uuid: str, heir: str) -> str:
    """Says of a node what it means that it has such a pool, and the cure."""
    return (
        f"node {heir} adopted pool {pool_uuid} from this node, and claims use its volumes there: "
        "what this node has of them is what they were before. When nothing here is needed any "
        f"more, name {heir} and not this node under the pool's `nodes` in mooring-config, take the "
        "disk out of this node or move the pool's folder away, and restart the agents"
    )
