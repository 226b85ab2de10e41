"""Kills Mooring's processes on a cluster at random moments, and the kubelet beside them.

What is killed often lies below a container's first process, which starts it again at once. The
guard is such a first process, and the sidecars end with their connection when the controller is
killed: the kubelet waits longer with each end of a container, so these two are killed rarely.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from mooring_dev.cluster import cgroups
from mooring_dev.cluster.layout import NodeLayout
from support.development_cluster import DevelopmentCluster

OFTEN = ("operator", "agent", "mover", "kubelet")
RARELY = ("guard", "controller")
_FIRST_WITHIN_SECONDS = 30.0
_PAUSES_SECONDS = (2.0, 14.0)
"""An operator that is killed more often than its lease runs out would never act."""


def role_of(words: list[str]) -> str | None:
    """Returns which of the victims a command line belongs to, or None."""
    names = [Path(word).name for word in words[:3] if word]
    if "mooring-guard" in names[:2]:
        return "guard" if "node" in words else None
    if "mooring-operator" in names[:2]:
        return "operator"
    if "mooring-csi" in names[:2]:
        return {"controller": "controller", "node": "agent"}.get(names[-1])
    if "mooring" in names[:2] and "mover" in words:
        return "mover"
    return "kubelet" if names[:1] == ["kubelet"] else None


def processes(cluster: DevelopmentCluster) -> dict[str, list[int]]:
    """Returns the processes of each victim on all nodes, as this machine counts them."""
    found: dict[str, list[int]] = {}
    for node in cluster.layout.nodes:
        for role, processes_here in processes_on(node).items():
            found.setdefault(role, []).extend(processes_here)
    return found


def processes_on(node: NodeLayout) -> dict[str, list[int]]:
    """Returns the processes of each victim on one node, as this machine counts them."""
    found: dict[str, list[int]] = {}
    for process in cgroups.processes(node.cgroup):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue  # it has ended
        role = role_of(words)
        if role is not None:
            found.setdefault(role, []).append(process)
    return found


class Killer:
    """Kills one process after another until it is stopped.

    Args:
        cluster: Where.
        dice: What decides whom and when.
        rare_every_seconds: How often one of the rare victims is among them.
    """

    def __init__(
        self, cluster: DevelopmentCluster, dice: random.Random, *, rare_every_seconds: float
    ) -> None:
        self.kills: Counter[str] = Counter()
        self._cluster = cluster
        self._dice = dice
        self._rare_every_seconds = rare_every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        rare_at = time.monotonic() + self._dice.uniform(0, _FIRST_WITHIN_SECONDS)
        while not self._stopping.wait(self._dice.uniform(*_PAUSES_SECONDS)):
            role = self._dice.choice(OFTEN)
            if time.monotonic() >= rare_at:
                role, rare_at = self._dice.choice(RARELY), rare_at + self._rare_every_seconds
            living = sorted(processes(self._cluster).get(role, []))
            if living and self._kill(self._dice.choice(living)):
                self.kills[role] += 1

    def _kill(self, process: int) -> bool:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True
