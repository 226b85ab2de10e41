"""Watches of one namespace, with the moment at which each object was seen.

The objects' own timestamps are whole seconds, which is too coarse.
"""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from mooring_dev.bench.provision.timeline import Sighting
from mooring_dev.kubectl import Kubectl
from mooring_dev.steps import DevError

_RESOURCES = ("pods", "persistentvolumeclaims", "events")
_LONGEST_WATCH_SECONDS = 3600


class Watch:
    """What was seen so far; filled by one thread for each kind."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._sightings: list[Sighting] = []

    def add(self, sighting: Sighting) -> None:
        """Adds what was seen."""
        with self._news:
            self._sightings.append(sighting)
            self._news.notify_all()

    def wait(
        self, what: str, is_enough: Callable[[Sequence[Sighting]], bool], timeout_seconds: float
    ) -> Sequence[Sighting]:
        """Waits until enough was seen, and returns all of it.

        Raises:
            DevError: It was not within `timeout_seconds`.
        """
        with self._news:
            if not self._news.wait_for(lambda: is_enough(self._sightings), timeout_seconds):
                raise DevError(f"{what}: not within {timeout_seconds:.0f} s")
            return tuple(self._sightings)


@contextmanager
def watching(cluster: Kubectl, namespace: str) -> Iterator[Watch]:
    """Watches pods, claims and events of a namespace for the time of a `with` block."""
    watch = Watch()
    with ExitStack() as stack:
        for resource in _RESOURCES:
            stack.enter_context(_following(cluster, f"namespaces/{namespace}/{resource}", watch))
        yield watch


@contextmanager
def _following(cluster: Kubectl, path: str, watch: Watch) -> Iterator[None]:
    address = f"/api/v1/{path}?watch=1&timeoutSeconds={_LONGEST_WATCH_SECONDS}"
    command = [str(cluster.binary), f"--kubeconfig={cluster.kubeconfig}", "get", "--raw", address]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def follow() -> None:
        for line in running.stdout or ():
            now = time.monotonic()
            change = json.loads(line)
            if change["type"] in ("ADDED", "MODIFIED"):
                watch.add(Sighting(now, change["object"]))

    thread = threading.Thread(target=follow, name=path, daemon=True)
    thread.start()
    try:
        yield
    finally:
        running.terminate()
        running.wait(timeout=10)
        thread.join(timeout=10)
