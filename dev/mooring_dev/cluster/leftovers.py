"""Ends and removes all that a cluster made, whatever state it is in, or a killed one left."""

import subprocess
from pathlib import Path

from mooring_dev.cluster import cgroups, loops
from mooring_dev.cluster.layout import ClusterLayout, NodeLayout
from mooring_dev.steps import DevError, run


def remove_all(cluster: ClusterLayout) -> None:
    """Removes processes, loop devices, mounts, the network link, cgroups and the state folder.

    Raises:
        DevError: Something could not be removed; a later call goes on from there.
    """
    # Which filesystem a loop device lies on is seen best while its mounts still exist.
    loops_before = loops.owned(cluster.folder) if cluster.folder.exists() else []
    cgroups.end_processes(cluster.cgroup)
    _unmount_below(cluster.folder)
    _detach_loops(cluster.folder, loops_before)
    if Path(f"/sys/class/net/{cluster.host_link}").exists():
        subprocess.run(
            ["ip", "link", "delete", cluster.host_link], capture_output=True, check=False
        )
    cgroups.remove(cluster.cgroup)
    _remove_folder(cluster.folder)


def detach_node_loops(node: NodeLayout, loops_before: list[loops.LoopDevice]) -> None:
    """Detaches a switched-off node's loop devices; a real machine loses them with its power."""
    _detach_loops(node.folder, loops_before)


def _detach_loops(folder: Path, before: list[loops.LoopDevice]) -> None:
    attached = set(loops.attached())
    now = loops.owned(folder) if folder.exists() else []
    known = [loop for loop in before if loop in attached]
    loops.detach(known + [loop for loop in now if loop not in known])


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4].replace("\\040", " ") for line in lines]
    return sorted((each for each in targets if each.startswith(f"{folder}/")), reverse=True)


def _unmount_below(folder: Path) -> None:
    for target in _mounts_below(folder):
        run(["umount", "-l", target])


def _remove_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if _mounts_below(folder):
        raise DevError(f"something is still mounted below {folder}")
    run(["rm", "-rf", "--one-file-system", folder], timeout_seconds=300)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
