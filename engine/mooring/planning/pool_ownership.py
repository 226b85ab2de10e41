"""Whether a node may serve a pool that another node had before. Pure.

A disk that was moved is in one place only, and the pool's lock keeps two processes apart that see
the same bytes. What no lock tells is a copy of a disk, and a folder that several machines share:
so a pool changes hands only when its last node surely does not use it, or when somebody says so.
"""

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
