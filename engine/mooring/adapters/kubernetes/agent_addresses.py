"""Where each node's agent listens: the addresses of the DaemonSet's pods.

The address is only a way there; which node answers is proved by its certificate. The list is
remembered for a moment, so that a burst of calls costs the API server one.
"""

import threading
import time
from collections.abc import Callable, Mapping

from mooring.api import keys
from mooring.domain import ids
from mooring.ports import cluster

_REMEMBERED_SECONDS = 2.0
_SELECTOR = f"{keys.NAME}={keys.NAME_VALUE},{keys.COMPONENT}={keys.COMPONENT_NODE}"


class AgentAddresses:
    """A function from nothing to the present address (host:port) of each node's agent."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        namespace: str = keys.NAMESPACE,
        port: int = keys.AGENT_PORT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._namespace = namespace
        self._port = port
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._known: dict[ids.NodeName, str] = {}
        self._read_at = -_REMEMBERED_SECONDS

    def __call__(self) -> Mapping[ids.NodeName, str]:
        """Returns the addresses; raises Unreachable when the API server is away."""
        with self._guard:
            if self._monotonic() - self._read_at >= _REMEMBERED_SECONDS:
                self._known = self._read()
                self._read_at = self._monotonic()
            return dict(self._known)

    def _read(self) -> dict[ids.NodeName, str]:
        found: dict[ids.NodeName, str] = {}
        for pod in self._objects.find(cluster.PODS, self._namespace, label_selector=_SELECTOR):
            status, node = pod.get("status", {}), pod.get("spec", {}).get("nodeName")
            address = status.get("podIP")
            if not node or not address or status.get("phase") in ("Succeeded", "Failed"):
                continue
            if "deletionTimestamp" in pod["metadata"] and ids.NodeName(node) in found:
                continue  # its successor is there already
            host = f"[{address}]" if ":" in address else address
            found[ids.NodeName(node)] = f"{host}:{self._port}"
        return found
