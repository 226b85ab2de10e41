"""Every process of the node pod killed while a pod's volume is frozen: its writer goes on."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters.host.guard import messages
from mooring_dev.cluster import cgroups
from support.shop import Shop
from support.timed_writes import WRITER, Gaps, uptime

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LIMIT_SECONDS = 10.0
FREEZE_SECONDS = 55.0
"""Much longer than the limit, so that no timer helps."""

SYSTEM = ("-n", "mooring-system")
NODE_PODS = ("-l", "app.kubernetes.io/component=node")
GUARD = ("mooring-guard", "--folder=/var/lib/mooring/guard")
STANDBY = ("mooring-guard", "--standby")
AGENT = ("mooring-csi", "node")


class NodePod:
    """The node pod beside a tenant's writer, its processes as this machine counts them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._node = shop.cluster.layout.nodes[0]

    def process(self, words: tuple[str, str]) -> int:
        """Waits for the one process with these words in its command line; returns its id."""
        found: list[int] = self._shop.until(f"{words} alone", lambda: self._processes(words))
        return found[0]

    def kill(self, *named: tuple[str, str]) -> None:
        for process in [self.process(words) for words in named]:
            os.kill(process, signal.SIGKILL)

    def name(self) -> str:
        field = f"spec.nodeName={self._node.name}"
        listed = self._shop.kubectl.json(
            "get", "pods", *SYSTEM, *NODE_PODS, f"--field-selector={field}"
        )["items"]
        return str(listed[0]["metadata"]["name"])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Asks the guard for a freeze of the writer's volume, as the agent does."""
        root = Path(f"/proc/{self.process(GUARD)}/root")
        table = (root / "proc/1/mountinfo").read_text().splitlines()
        places = [line.split()[4] for line in table if line.split()[4].endswith("/globalmount")]
        (place,) = [place for place in places if "csi.mooring.dev" in place]
        folder = os.open(f"{root}{place}", os.O_RDONLY | os.O_DIRECTORY)
        with messages.make_socket() as connection:
            connection.connect(str(root / "var/lib/mooring/guard/guard.sock"))
            messages.ask(connection, messages.Request(place, FREEZE_SECONDS, folder))
            os.close(folder)
            assert messages.hear(connection, 30) == messages.FROZEN
            yield

    def wait_for_agent(self, other_than: int | None = None) -> int:
        """Waits until an agent serves the kubelet, so it has thawed all; returns its process."""

        def serves() -> int | None:
            found = self._processes(AGENT)
            if not found:
                return None
            path = f"/proc/{found[0]}/root/var/lib/kubelet/plugins/csi.mooring.dev/csi.sock"
            with socket.socket(socket.AF_UNIX) as probe:
                is_there = found != [other_than] and probe.connect_ex(path) == 0
            return found[0] if is_there else None

        served: int = self._shop.until("the agent", serves)
        return served

    def _processes(self, words: tuple[str, str]) -> list[int]:
        found = []
        for process in sorted(cgroups.processes(self._node.cgroup)):
            try:
                argv = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue  # it has ended
            if [Path(argv[1]).name, *argv[2:3]] == list(words) if len(argv) > 2 else False:
                found.append(process)
        return found if len(found) == 1 else []


def test_the_writer_goes_on_whoever_is_killed(shop: Shop) -> None:
    shop.claim("data", shop.cluster.node_names[0])
    shop.pod("writer", "data", WRITER)
    shop.until("the writer", lambda: shop.running("writer"))
    pod, gaps = NodePod(shop), Gaps(shop, "writer")

    def delete(*how: str) -> None:
        shop.kubectl.run("delete", "pod", pod.name(), *SYSTEM, "--wait=false", *how)

    acts: dict[str, Callable[[], None]] = {
        "the agent killed": lambda: pod.kill(AGENT),
        "the node container killed": lambda: pod.kill(GUARD),
        "the pod deleted": delete,
        "both containers killed": lambda: pod.kill(STANDBY, GUARD),
        "the pod deleted by force": lambda: delete("--force", "--grace-period=0"),
    }
    seen, agent = {}, pod.wait_for_agent()
    for act, do in acts.items():
        pod.process(STANDBY)
        with pod.frozen():
            began = uptime()
            time.sleep(1.0)
            do()
            seen[act] = gaps.after(began + 1)
        agent = pod.wait_for_agent(other_than=agent)
    assert all(1.0 < waited < LIMIT_SECONDS for waited in seen.values()), seen
    # The kubelet knows the last agent, too.
    shop.claim("second", shop.cluster.node_names[0])
    shop.pod("second", "second", "exec sleep 3600")
    shop.until("a second pod", lambda: shop.running("second"))
