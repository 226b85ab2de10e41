"""Asking several nodes at once, without letting a silent one delay or fail the rest."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from mooring.domain import errors, ids
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port

Answer = TypeVar("Answer")
_PARALLEL_CALLS = 16


def node_report(storage: nodes_port.NodeStorageAndSnapshots) -> catalogue_port.NodeReport:
    """Asks one node what it has.

    Snapshots come before volumes: one that was taken in between would seem to be of a volume that
    is gone. Pools are asked for on both sides, since one may fail, or come back, in between.
    """
    before = snapshot_report(storage)
    statuses = storage.list_volumes()
    after = _pool_report(storage)
    names = (before.pool_names or frozenset()) & (after.pool_names or frozenset())
    return replace(
        after,
        statuses=statuses,
        snapshots=before.snapshots,
        unread_pools={**before.unread_pools, **after.unread_pools},
        pool_names=names,
    )


def snapshot_report(storage: nodes_port.NodeStorageAndSnapshots) -> catalogue_port.NodeReport:
    """Asks one node for its snapshots alone; of its volumes the report says nothing."""
    snapshots = storage.list_snapshots()  # first: its pools tell afterwards what this is without
    return replace(_pool_report(storage), snapshots=snapshots)


def _pool_report(storage: nodes_port.NodeStorageAndSnapshots) -> catalogue_port.NodeReport:
    found = storage.list_pools()
    return catalogue_port.NodeReport(
        unread_pools={pool.name: pool.message for pool in found if not pool.healthy},
        pool_names=frozenset(pool.name for pool in found),
        adopted_from={pool.name: pool.adopted_from for pool in found if pool.adopted_from},
    )


def require_pool(
    storage: nodes_port.NodeStorageAndSnapshots, entry: catalogue_port.CatalogueEntry
) -> None:
    """Refuses to delete on a node that does not have the pool of what is to be deleted.

    Such a node says of every volume that it is gone already, while its bytes are somewhere.

    Raises:
        PreconditionFailed: It has no such pool, and the volume was seen in it.
    """
    if entry.status is None and not entry.snapshots:
        return  # never made, as far as anybody knows: perhaps because there is no such pool
    pool = entry.spec.pool
    if all(status.name != pool for status in storage.list_pools()):
        raise errors.PreconditionFailed(
            f"volume {entry.spec.volume_id}: {catalogue_port.pool_missing(pool)}"
        )


def ask(
    nodes: nodes_port.Nodes,
    names: Sequence[ids.NodeName],
    question: Callable[[nodes_port.NodeStorageAndSnapshots], Answer],
) -> dict[ids.NodeName, Answer | None]:
    """Asks each named node; None stands for one that does not answer.

    Args:
        nodes: The fleet.
        names: Whom to ask.
        question: What to call; only its Unreachable (and an unknown node) becomes None.
    """

    def answer(name: ids.NodeName) -> Answer | None:
        try:
            return question(nodes.storage(name))
        except (errors.Unreachable, errors.NotFound):
            return None

    if len(names) <= 1:
        return {name: answer(name) for name in names}
    with ThreadPoolExecutor(min(len(names), _PARALLEL_CALLS), "survey") as pool:
        return dict(zip(names, pool.map(answer, names), strict=True))
