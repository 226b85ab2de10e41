"""On which node and in which pool a new volume goes. Pure: it sees what the nodes offered.

The scheduler has usually chosen the node already (WaitForFirstConsumer with strict topology names
exactly one); this decides within what is allowed, and says why, so that a claim can show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mooring.domain import errors, ids, pools, quantities

_ROOM = "takes at most"


@dataclass(frozen=True)
class Topology:
    """Where a volume may and should lie.

    Attributes:
        requisite: The nodes that are allowed; None allows all, an empty tuple none.
        preferred: Nodes to try first, best first.
    """

    requisite: tuple[ids.NodeName, ...] | None = None
    preferred: tuple[ids.NodeName, ...] = ()

    def allows(self, node: ids.NodeName) -> bool:
        """Whether a volume may lie on the node."""
        return self.requisite is None or node in self.requisite

    def allowed(self, known: Sequence[ids.NodeName]) -> tuple[ids.NodeName, ...]:
        """Returns the known nodes that are allowed, preferred ones first."""
        rank = {node: place for place, node in reversed(list(enumerate(self.preferred)))}
        return tuple(
            sorted(
                (node for node in known if self.allows(node)),
                key=lambda node: (rank.get(node, len(rank)), node),
            )
        )


@dataclass(frozen=True)
class Offer:
    """What one node has.

    Attributes:
        node: Its name.
        pools: Its pools; None when it did not answer.
    """

    node: ids.NodeName
    pools: tuple[pools.PoolStatus, ...] | None


@dataclass(frozen=True)
class Placement:
    """A decision and its reason, in words for people."""

    node: ids.NodeName
    pool: ids.PoolName
    reason: str


def choose(
    offers: Sequence[Offer],
    *,
    size_bytes: int,
    pool: ids.PoolName | None,
    preferred: Sequence[ids.NodeName] = (),
) -> Placement:
    """Chooses among the offers of allowed nodes.

    Preferred nodes come first, in their order; then the pool with most room; then names, so that
    the same offers always give the same answer.

    Args:
        offers: One for each allowed node.
        size_bytes: Size of the new volume.
        pool: The pool it must be in; None leaves the choice open.
        preferred: Nodes to try first, best first.

    Raises:
        SpaceExhausted: None of them can take it; the message says what each one offers.
    """
    rank = {node: place for place, node in reversed(list(enumerate(preferred)))}
    fitting = [
        status
        for offer in offers
        for status in offer.pools or ()
        if _obstacle(status, size_bytes, pool) is None
    ]
    if not fitting:
        raise errors.SpaceExhausted(_refusal(offers, size_bytes, pool))
    best = min(
        fitting,
        key=lambda status: (
            rank.get(status.node, len(rank)),
            -status.available_bytes,
            status.node,
            status.name,
        ),
    )
    return Placement(best.node, best.name, _reason(best, offers, rank))


def has_room(offered: Sequence[pools.PoolStatus], size_bytes: int, pool: ids.PoolName) -> bool:
    """Whether a node's pool of that name can take a volume."""
    return any(_obstacle(status, size_bytes, pool) is None for status in offered)


def _obstacle(status: pools.PoolStatus, size_bytes: int, pool: ids.PoolName | None) -> str | None:
    """Says why a pool cannot take the volume, or None when it can."""
    if pool is not None and status.name != pool:
        return "another pool"
    if not status.healthy:
        return f"is not healthy: {status.message}"
    if status.available_bytes < size_bytes:
        why = f" ({status.message})" if status.message else ""
        return f"{_ROOM} {quantities.show_bytes(max(status.available_bytes, 0))}{why}"
    return None


def _reason(best: pools.PoolStatus, offers: Sequence[Offer], rank: dict[ids.NodeName, int]) -> str:
    if len(offers) == 1:
        return f"{best.node} is the only node allowed"
    if best.node in rank:
        return f"{best.node} is the most preferred node with room"
    return f"{best.node} has the most room among {len(offers)} nodes"


def _refusal(offers: Sequence[Offer], size_bytes: int, pool: ids.PoolName | None) -> str:
    wanted = quantities.show_bytes(size_bytes)
    if not offers:
        return f"no node that has an agent is allowed to hold this volume of {wanted}"
    parts = []
    for offer in offers:
        if offer.pools is None:
            parts.append(f"{offer.node} does not answer")
            continue
        obstacles = [
            f"pool {status.name} on {offer.node} {obstacle}"
            for status in offer.pools
            if (pool is None or status.name == pool)
            and (obstacle := _obstacle(status, size_bytes, pool)) is not None
        ]
        parts.extend(obstacles or [f"{offer.node} has no pool{f' {pool}' if pool else ''}"])
    full = any(_ROOM in part for part in parts)
    advice = ". Delete volumes or snapshots there, or ask for less" if full else ""
    return f"no room for {wanted}: {'; '.join(parts)}{advice}"
