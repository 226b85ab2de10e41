"""What the agent tells a monitoring system: how its pools are, asked anew for each answer."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mooring.domain import pools
from mooring.ports import nodes as nodes_port

_LABELS = ("node", "pool")


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
    says = {
        "size_bytes": "Size of the filesystem below the pool.",
        "free_bytes": "What is free of it.",
        "provisioned_bytes": "What was promised to volumes and snapshots.",
        "available_bytes": "Largest volume that is taken now.",
        "healthy": "0 when the pool takes no new volumes for a fault, else 1.",
        "waiting_volumes": "Volumes that are frozen because a write could find no room.",
    }
    gauges = {
        name: GaugeMetricFamily(f"mooring_pool_{name}", text, labels=_LABELS)
        for name, text in says.items()
    }
    for pool in found:
        values: dict[str, float] = {
            "size_bytes": pool.capacity.total_bytes,
            "free_bytes": pool.capacity.free_bytes,
            "provisioned_bytes": pool.provisioned_bytes,
            "available_bytes": pool.available_bytes,
            "healthy": pool.healthy,
            "waiting_volumes": pool.waiting_volumes,
        }
        for name, value in values.items():
            gauges[name].add_metric((pool.node, pool.name), value)
    return gauges.values()
