"""A pod that says when each of its writes was done, and how long it waited between two."""

import itertools
from pathlib import Path

from support.shop import Shop

WRITER = (
    "while :; do dd if=/dev/zero of=/data/file bs=4096 count=1 conv=fsync 2> /dev/null; "
    "cut -d ' ' -f 1 /proc/uptime; sleep 0.1; done"
)
"""Says after each write when it was done, by the machine's clock."""


class Gaps:
    """How long a pod that runs WRITER waited between two writes."""

    def __init__(self, shop: Shop, pod: str) -> None:
        self._shop = shop
        self._pod = pod

    def _times(self) -> list[float]:
        log = self._shop.kubectl.run("logs", self._pod, "-n", self._shop.namespace)
        return [float(line) for line in log.split()]

    def after(self, since: float) -> float:
        """Waits until it has written again; returns its longest wait since a moment."""
        goes_on = since + 1.0
        times: list[float] = self._shop.until(
            "the writer", lambda: [t for t in [self._times()] if t[-1] > goes_on]
        )[0]
        recent = [time for time in times if time > since - 2]
        return max(later - earlier for earlier, later in itertools.pairwise(recent))


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])
