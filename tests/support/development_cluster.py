"""What the cluster tests share: one running cluster, and what a machine shows of leftovers."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mooring.adapters.host.images import fuse_server
from mooring_dev.cluster import cgroups, lifecycle, machines
from mooring_dev.cluster.layout import ClusterLayout
from mooring_dev.kubectl import Kubectl

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DevelopmentCluster:
    """A running cluster, its kubectl and its nodes."""

    layout: ClusterLayout
    kubectl: Kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.layout.admin_kubeconfig

    @property
    def node_names(self) -> list[str]:
        return [node.name for node in self.layout.nodes]

    def control_process(self, program: str) -> int:
        """Returns the process of a program of the control plane, as the host counts."""
        found = _running(cgroups.processes(self.layout.control_cgroup), program)
        assert len(found) == 1, f"{program}: {found}"
        return found[0]

    def pod_processes(self, program: str) -> list[int]:
        """Returns the processes of a program in pods of any node, as the host counts."""
        return [
            process
            for node in self.layout.nodes
            for process in _running(cgroups.processes(node.cgroup), program)
        ]

    def on_node(self, name: str, *command: str) -> str:
        """Runs a command on a node as root and returns what it printed."""
        prefix = machines.inside_node(lifecycle.node_named(self.layout, name))
        done = subprocess.run(
            [*prefix, *command], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command} on {name}: {done.stderr}"
        return done.stdout


def _running(processes: set[int], program: str) -> list[int]:
    found = []
    for process in sorted(processes):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        # A script is named after its interpreter.
        if program in {Path(word.decode()).name for word in words[:2]}:
            found.append(process)
    return found


def run_tool(*arguments: str, cluster: str = "", timeout_seconds: float = 240) -> str:
    """Runs `python -m mooring_dev`, on a cluster of its own name when one is given."""
    environment = {**os.environ, "MOORING_CLUSTER": cluster, "PYTHONPATH": str(CHECKOUT / "dev")}
    done = subprocess.run(
        [sys.executable, "-m", "mooring_dev", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, f"mooring_dev {arguments}: {done.stderr}"
    return done.stdout


def traces() -> dict[str, set[str]]:
    """Returns what a cluster may leave on the machine, by kind.

    What lies in folders for temporary files is left out: other tests make and remove it meanwhile.
    """
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    cgroups = [path for path in Path("/sys/fs/cgroup").glob("**/mooring-*") if path.is_dir()]
    state = Path("/var/lib/mooring-dev")
    return {
        "mounts": {target for line in mounts if not _is_temporary(target := line.split()[4])},
        "loops": _loops(),
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "cgroups": {str(path) for path in cgroups},
        "folders": {str(path) for path in state.iterdir()} if state.exists() else set(),
        "programs": _cluster_programs(),
    }


def _is_temporary(path: str) -> bool:
    return path.startswith(("/tmp/", "/var/tmp/"))


def _loops() -> set[str]:
    found = set()
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            backing = file.read_text().strip()
        except OSError:
            continue  # detached meanwhile
        # A backup that another test looks into shows its file as its own filesystem names it.
        if not _is_temporary(backing) and backing != f"/{fuse_server.FILE_NAME}":
            found.add(f"{file.parts[3]} {backing}")
    return found


def _cluster_programs() -> set[str]:
    names = {"etcd", "kubelet", "kube-proxy", "containerd", "containerd-shim", "kube-apiserver"}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if any(name.startswith(each[:15]) for each in names):
            found.add(f"{process.name} {name}")
    return found
