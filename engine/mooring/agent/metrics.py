"""What the agent tells a monitoring system: how its pools are, asked anew for each answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mooring.domain import pools
from mooring.ports import nodes as nodes_port

_LABELS = ("node", "pool")
_GAUGES: Mapping[str, tuple[str, Callable[[pools.PoolStatus], float]]] = {
    "size_bytes": ("Size of the filesystem below the pool.", lambda p: p.capacity.total_bytes),
    "free_bytes": ("What is free of it.", lambda p: p.capacity.free_bytes),
    "provisioned_bytes": (
        "What was promised to volumes and snapshots.",
        lambda p: p.provisioned_bytes,
    ),
    "available_bytes": ("Largest volume that is taken now.", lambda p: p.available_bytes),
    "healthy": (
        "0 when the pool takes no new volumes for a fault, else 1.",
        lambda p: p.healthy,
    ),
    "waiting_volumes": (
        "Volumes that are frozen because a write could find no room.",
        lambda p: p.waiting_volumes,
    ),
}
"""What each gauge says, and how it is read."""


class PoolMetrics(Collector):
    """Gauges of one node's pools.

    Args:
        storage: The node.
    """

    def __init__(self, storage: nodes_port.NodeStorage) -> None:
        self._storage = storage

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauges without values, so that no pool is asked before it is wanted."""
        return _gauges(())

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauges with a value for each pool."""
        return _gauges(self._storage.list_pools())


def _gauges(found: Sequence[pools.PoolStatus]) -> Iterable[GaugeMetricFamily]:
    for name, (text, read) in _GAUGES.items():
        gauge = GaugeMetricFamily(f"mooring_pool_{name}", text, labels=_LABELS)
        for pool in found:
            gauge.add_metric((pool.node, pool.name), read(pool))
        yield gauge
