"""The namespaces of the cluster and of each node: started, found again, entered, switched off.

Nothing is remembered in files. A first process is found through its cgroup and its place in the
nesting of process namespaces, so a stale record can never name a stranger's process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mooring_dev.cluster import cgroups, control_plane, node_config
from mooring_dev.cluster.init import READY_FILE
from mooring_dev.cluster.layout import ClusterLayout, NodeLayout
from mooring_dev.steps import DevError, patient, run

INIT = Path(__file__).with_name("init.py")
START_SECONDS = 15.0


def cluster_process(cluster: ClusterLayout) -> int | None:
    """Returns the first process of the cluster's namespace, as the host counts, or None."""
    return _first_process(cluster.control_cgroup, depth=2)


def node_process(node: NodeLayout) -> int | None:
    """Returns the first process of a node, as the host counts, or None when it is off."""
    return _first_process(node.cgroup, depth=3)


def _first_process(cgroup: str, depth: int) -> int | None:
    for process in cgroups.own_processes(cgroup):
        numbers = _numbers(process)
        if len(numbers) == depth and numbers[-1] == "1":
            return process
    return None


def _numbers(process: int) -> list[str]:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return []
    return next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])


def start_cluster(cluster: ClusterLayout) -> int:
    """Starts the outer namespaces with the control plane, and plugs the host in.

    Raises:
        DevError: They did not come up; says what the log says.
    """
    cgroups.make(cluster.control_cgroup)
    file = cluster.folder / "control" / "init.json"
    file.write_text(json.dumps(control_plane.specification(cluster)))
    namespaces = ["--net", "--mount", "--pid", "--uts", "--mount-proc", "--propagation=private"]
    command = ["unshare", *namespaces, "--fork", "--kill-child", *_init(file)]
    log = cluster.folder / "logs" / "control.log"
    process = _launch(command, cluster.control_cgroup, log, depth=2)
    _plug_in_host(cluster, process, log)
    return process


def _plug_in_host(cluster: ClusterLayout, process: int, log: Path) -> None:
    inside = ["nsenter", "-t", str(process), "-n"]
    _wait_until_set_up(process, "control", log)
    run(
        [
            "ip",
            "link",
            "add",
            cluster.host_link,
            "type",
            "veth",
            "peer",
            "name",
            "host",
            "netns",
            str(process),
        ]
    )
    run(["ip", "address", "add", f"{cluster.host_address}/24", "dev", cluster.host_link])
    run(["ip", "link", "set", cluster.host_link, "up"])
    run([*inside, "ip", "link", "set", "host", "master", "switch", "up"])


def _wait_until_set_up(process: int, name: str, log: Path) -> None:
    mark = READY_FILE.format(name=name)
    end = time.monotonic() + patient(START_SECONDS)
    while not Path(f"/proc/{process}/root{mark}").exists():
        if time.monotonic() > end or not _numbers(process):
            raise DevError(f"the namespaces could not be set up: {_tail(log)}")
        time.sleep(0.02)


def start_node(cluster: ClusterLayout, node: NodeLayout) -> int:
    """Switches a node on.

    Raises:
        DevError: The cluster is off, the node is on already, or it did not come up.
    """
    outer = cluster_process(cluster)
    if outer is None:
        raise DevError("the cluster is not running")
    if node_process(node) is not None:
        raise DevError(f"{node.name} is on already")
    cgroups.make(node.cgroup)
    namespaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
    command = ["nsenter", "-t", str(outer), "-m", "-n", "-p", "-u", "--"]
    command += ["unshare", *namespaces, "--propagation=private", "--fork", "--kill-child"]
    command += _init(node_config.specification_file(node))
    log = cluster.folder / "logs" / f"{node.name}.log"
    process = _launch(command, node.cgroup, log, depth=3)
    cgroups.empty_into_leaf(node.cgroup)
    inside = ["nsenter", "-t", str(outer), "-n", "ip", "link"]
    run([*inside, "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", str(process)])
    run([*inside, "set", node.name, "master", "switch", "up"])
    _wait_until_set_up(process, node.name, log)
    return process


def stop_node(node: NodeLayout) -> None:
    """Switches a node off at once, as if its plug were pulled: no process gets to say goodbye.

    Raises:
        DevError: A process of it would not end.
    """
    process = node_process(node)
    if process is not None:
        os.kill(process, signal.SIGKILL)
    cgroups.end_processes(node.cgroup)
    # They go with the power too; a kubelet that finds its last boot's pods there starts slowly.
    cgroups.remove(node.cgroup)


def inside_node(node: NodeLayout) -> list[str]:
    """Returns the command prefix that runs a program on a node.

    Raises:
        DevError: The node is off.
    """
    process = node_process(node)
    if process is None:
        raise DevError(f"{node.name} is not running")
    names = ["-m", "-n", "-p", "-u", "-i", "-C"]
    return ["nsenter", "-t", str(process), *names, "env", "--chdir=/"]


def _init(specification: Path) -> list[str]:
    # Isolated: nothing of the environment's packages is loaded into the first process.
    return [os.path.realpath(sys.executable), "-I", "-S", str(INIT), str(specification)]


def _launch(command: Sequence[str], cgroup: str, log: Path, depth: int) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # Forked once more, so that it is no child of this program and outlives it.
        subprocess.run(
            ["setsid", "--fork", *cgroups.entering(cgroup), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            check=True,
        )
    end = time.monotonic() + patient(START_SECONDS)
    while time.monotonic() < end:
        process = _first_process(cgroup, depth)
        if process is not None:
            return process
        time.sleep(0.02)
    raise DevError(f"the namespaces did not start: {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "; ".join(lines[-5:]) or f"{log} is empty"
