"""What the operator tells a monitoring system."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class NamespaceCounts(Collector):
    """A gauge by namespace, as the last round counted; without a value before the first one.

    Args:
        name: The metric's name.
        text: What it counts.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def set(self, counts: Mapping[str, int]) -> None:
        """Takes the counts of a round: every namespace that has claims of Mooring's."""
        with self._lock:
            self._counts = dict(counts)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauge without values."""
        yield GaugeMetricFamily(self._name, self._text, labels=("namespace",))

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns the gauge with a value for each namespace."""
        gauge = GaugeMetricFamily(self._name, self._text, labels=("namespace",))
        with self._lock:
            for namespace, count in sorted(self._counts.items()):
                gauge.add_metric((namespace,), count)
        yield gauge


def _unprotected() -> NamespaceCounts:
    return NamespaceCounts(
        "mooring_unprotected_claims",
        "Claims without a good backup, or with none as recent as was asked for.",
    )


def _suspect() -> NamespaceCounts:
    return NamespaceCounts(
        "mooring_suspect_claims",
        "Claims whose newest backup is Suspect: their disk seems to have lost something.",
    )


@dataclass(frozen=True)
class ClaimGauges:
    """What is counted in each round over the claims.

    Attributes:
        unprotected: Claims without a recent good backup.
        suspect: Claims whose newest backup is Suspect.
    """

    unprotected: NamespaceCounts = field(default_factory=_unprotected)
    suspect: NamespaceCounts = field(default_factory=_suspect)
