"""What the operator tells a monitoring system."""

import threading
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_NAME = "mooring_unprotected_claims"
_TEXT = "Claims without a good backup, or with none as recent as was asked for."


class UnprotectedClaims(Collector):
    """A gauge by namespace, as the last round counted; without a value before the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def set(self, counts: Mapping[str, int]) -> None:
        """Takes the counts of a round: every namespace that has claims of Mooring's."""
        with self._lock:
            self._counts = dict(counts)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauge without values."""
        yield GaugeMetricFamily(_NAME, _TEXT, labels=("namespace",))

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauge with a value for each namespace."""
        gauge = GaugeMetricFamily(_NAME, _TEXT, labels=("namespace",))
        with self._lock:
            for namespace, count in sorted(self._counts.items()):
                gauge.add_metric((namespace,), count)
        yield gauge
