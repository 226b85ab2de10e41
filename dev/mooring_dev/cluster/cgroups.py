"""The cluster's cgroups: how its processes are found again, whatever was killed, and ended.

Version 1, version 2 and the hybrid of both are handled; with systemd it is normally version 2.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from mooring_dev.steps import DevError

ROOT = Path("/sys/fs/cgroup")
# What kubelet and runc use. Switching on more would stay behind in the machine's root cgroup.
_DELEGATED = ("cpuset", "cpu", "io", "memory", "pids")


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup tree.

    Attributes:
        folder: Where it is mounted.
        options: What names it to mount(8): controllers, or `name=systemd`; empty for version 2.
    """

    folder: Path
    options: str


def is_version_2() -> bool:
    """Tells whether the machine has the unified hierarchy alone."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Hierarchy]:
    """Returns every hierarchy that the cluster takes part in.

    Raises:
        DevError: No cgroups are mounted.
    """
    if is_version_2():
        return [Hierarchy(ROOT, "")]
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup":
            names = [name for name in options.split(",") if name not in _PLAIN_OPTIONS]
            named = [name for name in names if not name.startswith(("xattr", "release_agent"))]
            found.append(Hierarchy(Path(folder), ",".join(named)))
    if not found:
        raise DevError("no cgroups are mounted below /sys/fs/cgroup")
    return found


_PLAIN_OPTIONS = {"rw", "ro", "relatime", "nosuid", "nodev", "noexec", "noatime", "clone_children"}


def make(cgroup: str) -> None:
    """Makes a cgroup with its parents in every hierarchy, ready to hold processes."""
    for hierarchy in hierarchies():
        folder = hierarchy.folder
        for part in Path(cgroup).parts:
            if not hierarchy.options:
                _delegate(folder)
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            # A version 1 cpuset is empty at first, and refuses processes until it is filled in.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if hierarchy.options and (folder / name).exists():
                    (folder / name).write_text((parent / name).read_text())


def _delegate(folder: Path) -> None:
    offered = (folder / "cgroup.controllers").read_text().split()
    for controller in (name for name in _DELEGATED if name in offered):
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # one that cannot be delegated here; kubelet says so if it needs it


def entering(cgroup: str) -> list[str]:
    """Returns a command prefix that moves itself into the cgroup, then becomes the command."""
    files = " ".join(str(each.folder / cgroup / "cgroup.procs") for each in hierarchies())
    return ["sh", "-ec", f'for f in {files}; do echo 0 > "$f"; done; exec "$@"', "enter"]


def processes(cgroup: str) -> set[int]:
    """Returns the processes in a cgroup and in all below it."""
    found = set()
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy.folder / cgroup):
            found |= _members(Path(folder))
    return found


def own_processes(cgroup: str) -> set[int]:
    """Returns the processes in a cgroup itself, or in its leaf `init` on version 2."""
    folder = hierarchies()[0].folder / cgroup
    return _members(folder) | _members(folder / "init")


def _members(folder: Path) -> set[int]:
    try:
        return {int(line) for line in (folder / "cgroup.procs").read_text().split()} - {0}
    except OSError:
        return set()


def empty_into_leaf(cgroup: str) -> None:
    """On version 2, moves a cgroup's own processes into its leaf, so that it may have children."""
    if not is_version_2():
        return
    leaf = ROOT / cgroup / "init"
    leaf.mkdir(exist_ok=True)
    for process in _members(ROOT / cgroup):
        try:
            (leaf / "cgroup.procs").write_text(str(process))
        except OSError:
            continue  # it has ended


def end_processes(cgroup: str, timeout_seconds: float = 20) -> None:
    """Kills all processes of a cgroup and waits until they are gone.

    Raises:
        DevError: Some would not end, which means that they hang in the kernel.
    """
    end = time.monotonic() + timeout_seconds
    while left := processes(cgroup):
        for process in left:
            _thaw_and_kill(process)
        if time.monotonic() > end:
            raise DevError(f"processes that do not end: {sorted(left)}")
        time.sleep(0.05)


def _thaw_and_kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def remove(cgroup: str, timeout_seconds: float = 10) -> None:
    """Removes a cgroup and all below it from every hierarchy.

    Raises:
        DevError: The kernel kept one busy.
    """
    end = time.monotonic() + timeout_seconds
    while left := [path for path in _existing(cgroup) if not _removed(path)]:
        if time.monotonic() > end:
            raise DevError(f"a cgroup stays busy: {left[0]}")
        time.sleep(0.05)


def _existing(cgroup: str) -> list[Path]:
    found = []
    for hierarchy in hierarchies():
        found += [
            Path(folder) for folder, _, _ in os.walk(hierarchy.folder / cgroup, topdown=False)
        ]
    return found


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
