"""Kills Mooring's processes on a cluster at random moments, and the kubelet beside them.

Operator, controller and agent lie below a container's first process, which starts them again at
once. The guard is such a first process, and the controller's sidecars end with their connection:
these wait for the kubelet, whose back-off the development cluster keeps short.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from mooring_dev.cluster import cgroups
from mooring_dev.cluster.layout import NodeLayout
from support.development_cluster import DevelopmentCluster

VICTIMS = ("operator", "controller", "agent", "guard", "mover", "kubelet")
_PAUSES_SECONDS = (1.0, 7.0)
_APART_SECONDS = {"controller": 30.0, "mover": 60.0}
"""What waits after each of its deaths is left to finish something: external-provisioner ends with
the controller and waits for its own dead lease, and a Job starts its next pod later each time."""


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
    """Kills one process after another until it is stopped, each victim about as often as any.

    Args:
        cluster: Where.
        dice: What decides whom and when.
        tell: Is told about each kill.
    """

    def __init__(
        self, cluster: DevelopmentCluster, dice: random.Random, tell: Callable[[str], None]
    ) -> None:
        self.kills: Counter[str] = Counter()
        self._cluster = cluster
        self._dice = dice
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        left: set[str] = set()
        spared_until: dict[str, float] = {}
        while not self._stopping.wait(self._dice.uniform(*_PAUSES_SECONDS)):
            now = time.monotonic()
            living = {
                role: found
                for role, found in processes(self._cluster).items()
                if now >= spared_until.get(role, 0.0)
            }
            if not left & living.keys():
                left = set(VICTIMS)
            # A mover is seldom there: it is taken when it is.
            among = {"mover"} & left & living.keys() or left & living.keys()
            if not among:
                continue
            role = self._dice.choice(sorted(among))
            left.discard(role)
            spared_until[role] = now + _APART_SECONDS.get(role, 0.0)
            if self._kill(self._dice.choice(sorted(living[role]))):
                self.kills[role] += 1
                self._tell(f"killed: {role}")

    def _kill(self, process: int) -> bool:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True
