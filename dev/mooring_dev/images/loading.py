"""Imports image archives into the nodes' containerd."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mooring_dev.cluster import machines
from mooring_dev.cluster.layout import ClusterLayout, NodeLayout
from mooring_dev.cluster.node_config import CONTAINERD_SOCKET
from mooring_dev.images import tools
from mooring_dev.steps import DevError, patient

BASE_PROGRAMS = ("pause", "coredns", "snapshot-controller")
_SOCKET_SECONDS = 20
_IMPORT_SECONDS = 300


def base_archives() -> list[Path]:
    """Returns the archives that every node has from its start, pause first."""
    return [*(tools.tool_archive(program) for program in BASE_PROGRAMS), tools.busybox_archive()]


def load(node: NodeLayout, archive: Path) -> None:
    """Imports one archive into one node, waiting for its containerd.

    Raises:
        DevError: The node is off, or containerd refused the archive.
    """
    waiting = (
        f"n=0; until [ -S {CONTAINERD_SOCKET} ]; do n=$((n+1)); "
        f"[ $n -lt {patient(_SOCKET_SECONDS) * 20:.0f} ] || exit 9; sleep 0.05; done; "
        "exec ctr --namespace k8s.io images import -"
    )
    with archive.open("rb") as content:
        done = subprocess.run(
            [*machines.inside_node(node), "sh", "-c", waiting],
            stdin=content,
            capture_output=True,
            text=True,
            timeout=patient(_IMPORT_SECONDS),
            check=False,
        )
    if done.returncode:
        reason = done.stderr.strip() or "containerd did not start"
        raise DevError(f"{node.name} did not take {archive.name}: {reason}")


def load_everywhere(cluster: ClusterLayout, archives: list[Path]) -> None:
    """Imports archives into every node that is on, all nodes at once."""
    nodes = [node for node in cluster.nodes if machines.node_process(node) is not None]
    if not nodes:
        raise DevError("no node is running: run `make cluster-up`")

    def fill(node: NodeLayout) -> None:
        for archive in archives:
            load(node, archive)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, nodes))
