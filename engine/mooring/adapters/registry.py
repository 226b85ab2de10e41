"""The list of adapters by name, and how a node's storage is put together from configuration.

Only `compose.py` modules and tests import this.

    parts = registry.open_node_parts(configurations, state_folder)
    node = LocalNode(node_name, parts, ThreadLocks(), registry.system_clock())
    node.recover()
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mooring.adapters.host.clock import SystemClock
from mooring.adapters.host.filesystems import KernelFilesystems
from mooring.adapters.host.freezing import GuardFreezes
from mooring.adapters.host.loops import KernelLoops
from mooring.adapters.host.mounts import KernelMounts
from mooring.adapters.host.target_paths import KernelPaths
from mooring.adapters.pool_opener import BACKENDS, NodeFacts, PoolOpener
from mooring.adapters.pools.image_contents import FileContents
from mooring.adapters.pools.known_pools import KnownPool, KnownPools
from mooring.adapters.pools.ownership import Ownership
from mooring.domain import errors, ids, pools
from mooring.ports import clock as clock_port
from mooring.ports import host
from mooring.ports import pools as pool_ports

__all__ = [
    "BACKENDS",
    "NodeOpener",
    "Ownership",
    "PoolOpener",
    "Wishes",
    "kernel_host",
    "open_node_parts",
    "system_clock",
]


def system_clock() -> clock_port.Clock:
    """Returns the wall clock of this machine."""
    return SystemClock()


def kernel_host() -> host.Host:
    """Returns loop devices, mounts and filesystems of this machine."""
    return host.Host(
        KernelLoops(),
        KernelMounts(),
        KernelFilesystems(),
        GuardFreezes(),
        KernelPaths(),
        FileContents(),
    )


@dataclass(frozen=True)
class Wishes:
    """What a node's configuration says of pools that are, or were, elsewhere.

    Attributes:
        ownership: Its claim to pools that other nodes had; None takes any.
        forgotten: Pools, by UUID, that it had and is told to know no more.
    """

    ownership: Ownership | None = None
    forgotten: frozenset[str] = frozenset()


def open_node_parts(
    configurations: Sequence[pool_ports.PoolConfiguration],
    state_folder: Path,
    wishes: Wishes = Wishes(),
) -> pool_ports.NodeParts:
    """Opens every configured pool; one that fails is reported and the others serve on.

    Args:
        configurations: The pools of this node.
        state_folder: The agent's own folder; embedded pools are mounted below it. In a pod it
            needs bidirectional mount propagation.
        wishes: What is said of pools that are, or were, elsewhere.
    """
    return NodeOpener(configurations, state_folder, wishes).open()


class NodeOpener:
    """Opens the pools of one node; tests and the command line also close them again.

    A pool that it had, and that is not among the configured ones, is opened as well, to be emptied.

    Args:
        configurations: The pools of this node.
        state_folder: The agent's own folder; see `open_node_parts`.
        wishes: See `open_node_parts`.
    """

    def __init__(
        self,
        configurations: Sequence[pool_ports.PoolConfiguration],
        state_folder: Path,
        wishes: Wishes = Wishes(),
    ) -> None:
        self._host = kernel_host()
        known = KnownPools(state_folder)
        facts = NodeFacts(known, wishes.ownership, wishes.forgotten)
        for one in known.all():
            absent = not PoolOpener(one.configuration, state_folder, self._host, facts).claimed()
            if one.pool_uuid in wishes.forgotten and absent:
                known.forget(one.pool_uuid)
        self._unread = [
            pool_ports.FailedPool(
                ids.PoolName(f"pool-{pool_uuid[:8]}"), pools.PoolBackend.DIRECTORY, fault
            )
            for pool_uuid, fault in known.faults.items()
        ]
        self._openers = [
            PoolOpener(one, state_folder, self._host, facts)
            for one in _wanted(configurations, known.all(), wishes.forgotten)
        ]

    def open(self) -> pool_ports.NodeParts:
        """Opens every configured pool; one that fails is reported and the others serve on."""
        opened: list[pool_ports.OpenPool] = []
        failed = list(self._unread)
        for opener in self._openers:
            try:
                opened.append(opener.open())
            except (errors.MooringError, OSError) as error:
                failed.append(
                    pool_ports.FailedPool(
                        opener.configuration.name,
                        opener.configuration.backend,
                        str(error),
                        opener.claimed(),
                    )
                )
        doors = {opener.configuration.name: opener for opener in self._openers}
        return pool_ports.NodeParts(self._host, tuple(opened), tuple(failed), doors)

    def close(self) -> None:
        """Lets go of every pool; embedded ones stay mounted, as their volumes do."""
        for opener in self._openers:
            opener.close()

    def unmount(self) -> None:
        """Closes every pool and takes embedded ones off the node.

        Raises:
            InUse: A volume is still attached.
        """
        for opener in self._openers:
            opener.unmount()


def _wanted(
    configurations: Sequence[pool_ports.PoolConfiguration],
    known: Sequence[KnownPool],
    forgotten: frozenset[str],
) -> list[pool_ports.PoolConfiguration]:
    """Returns what a node opens: what is configured, and what it had and is not rid of."""
    leaving = {one.configuration.name for one in known if one.pool_uuid in forgotten}
    names = {one.name for one in configurations}
    removed = [one.configuration for one in known if one.configuration.name not in names]
    return [
        *(
            replace(one, use=pools.PoolUse.FORGOTTEN) if one.name in leaving else one
            for one in configurations
        ),
        *(
            replace(
                one,
                use=pools.PoolUse.FORGOTTEN if one.name in leaving else pools.PoolUse.REMOVED,
            )
            for one in removed
        ),
    ]
