"""The list of adapters by name, and how a node's storage is put together from configuration.

Only `compose.py` modules and tests import this. A backend is known if it is listed here.

    parts = registry.open_node_parts(configurations, state_folder)
    node = LocalNode(node_name, parts, ThreadLocks(), registry.system_clock())
    node.recover()
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mooring.adapters.host import files
from mooring.adapters.host.clock import SystemClock
from mooring.adapters.host.filesystems import KernelFilesystems
from mooring.adapters.host.freezing import GuardFreezes
from mooring.adapters.host.loops import KernelLoops
from mooring.adapters.host.mounts import KernelMounts
from mooring.adapters.host.target_paths import KernelPaths
from mooring.adapters.pools import embedded, layout, pool_folder, probing
from mooring.adapters.pools.directory import DirectoryPool
from mooring.adapters.pools.image_contents import FileContents
from mooring.adapters.pools.image_folder import ImageFilePool
from mooring.adapters.pools.known_pools import KnownPool, KnownPools
from mooring.adapters.pools.records import FolderRecords
from mooring.adapters.pools.reflink import ReflinkPool
from mooring.domain import errors, ids, pools
from mooring.ports import clock as clock_port
from mooring.ports import host
from mooring.ports import pools as pool_ports

BACKENDS: Mapping[pools.PoolBackend, Callable[..., ImageFilePool]] = {
    pools.PoolBackend.DIRECTORY: DirectoryPool,
    pools.PoolBackend.REFLINK: ReflinkPool,
}


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


def open_node_parts(
    configurations: Sequence[pool_ports.PoolConfiguration],
    state_folder: Path,
    forgotten: Collection[str] = (),
) -> pool_ports.NodeParts:
    """Opens every configured pool; one that fails is reported and the others serve on.

    Args:
        configurations: The pools of this node.
        state_folder: The agent's own folder; embedded pools are mounted below it. In a pod it
            needs bidirectional mount propagation.
        forgotten: Pools, by UUID, that the node had and is told to know no more.
    """
    return NodeOpener(configurations, state_folder, forgotten).open()


class NodeOpener:
    """Opens the pools of one node; tests and the command line also close them again.

    A pool that it had, and that is not among the configured ones, is opened as well, to be emptied.

    Args:
        configurations: The pools of this node.
        state_folder: The agent's own folder; see `open_node_parts`.
        forgotten: See `open_node_parts`.
    """

    def __init__(
        self,
        configurations: Sequence[pool_ports.PoolConfiguration],
        state_folder: Path,
        forgotten: Collection[str] = (),
    ) -> None:
        self._host = kernel_host()
        known = KnownPools(state_folder)
        for pool_uuid in forgotten:
            known.forget(pool_uuid)
        names = {one.name for one in configurations}
        removed = [
            replace(one.configuration, use=pools.PoolUse.REMOVED)
            for one in known.all()
            if one.configuration.name not in names
        ]
        self._unread = [
            pool_ports.FailedPool(
                ids.PoolName(f"pool-{pool_uuid[:8]}"), pools.PoolBackend.DIRECTORY, fault
            )
            for pool_uuid, fault in known.faults.items()
        ]
        self._openers = [
            PoolOpener(one, state_folder, self._host, known) for one in (*configurations, *removed)
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
                        opener.configuration.name, opener.configuration.backend, str(error)
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


class PoolOpener:
    """Opens one pool, and keeps what has to be closed again.

    A serving agent never closes a pool: its volumes stay mounted while it restarts, and its locks
    go with the process. Tests and the command line close it.
    """

    def __init__(
        self,
        configuration: pool_ports.PoolConfiguration,
        state_folder: Path,
        ports: host.Host,
        known: KnownPools | None = None,
    ) -> None:
        self.configuration = configuration
        self._known = KnownPools(state_folder) if known is None else known
        self._mountpoint = state_folder / "pools" / configuration.name
        self._ports = ports
        self._closers: list[Callable[[Callable[[int], None]], None]] = []
        self._root: int | None = None
        self._read_only = False
        before = self._known.named(configuration.name)
        self._pool_uuid = before.pool_uuid if before else ""
        self._lost = ""

    def open(self) -> pool_ports.OpenPool:
        """Opens the pool, after making or adopting what is there.

        Raises:
            InUse: Another process has it open.
            DataCorrupt: What is there is not a pool, or not one that can be read.
            Unsupported: Its filesystem lacks what the backend needs.
        """
        try:
            return self._open()
        except (errors.MooringError, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the pool's files; an embedded pool stays mounted."""
        self._let_go(os.close)

    def retire(self) -> None:
        """Lets go of a failed pool, beneath operations that may still come to their end."""
        self._let_go(files.retire)

    def probe(self) -> None:
        """Tries whether the open pool's filesystem still takes writes; see the port."""
        if self._root is None:
            return
        if self.configuration.image_size_bytes is not None:
            self._require_whole()
        probing.probe(self._root, read_only=self._read_only)

    def give_up(self) -> None:
        """Takes an empty pool off the node for good; see the port."""
        self.unmount()
        self._known.forget(self._pool_uuid)

    def unmount(self) -> None:
        """Closes the pool and takes an embedded one off the node; see `embedded.unmount`."""
        self.close()
        if self.configuration.image_size_bytes is not None:
            embedded.unmount(self.configuration.folder, self._mountpoint, self._ports)

    def _open(self) -> pool_ports.OpenPool:
        configuration = self.configuration
        folder = configuration.folder
        self._require_present(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lost:
            raise errors.DataCorrupt(self._lost)
        self._lock(folder)
        if configuration.image_size_bytes is not None:
            if configuration.backend is not pools.PoolBackend.REFLINK:
                raise errors.InvalidInput("an embedded pool has the backend 'reflink'")
            folder = embedded.mount(
                folder, configuration.image_size_bytes, self._mountpoint, self._ports
            )
            self._lock(folder)
        if configuration.backend not in BACKENDS:
            raise errors.InvalidInput(f"no node can have a pool of {configuration.backend.value}")
        identity = pool_folder.identify(folder, configuration.backend, SystemClock())
        self._require_same(identity.pool_uuid)
        self._known.remember(KnownPool(identity.pool_uuid, configuration))
        self._root, self._read_only = files.open_folder(folder), bool(identity.newer)
        images = BACKENDS[configuration.backend](folder / "images", read_only=self._read_only)
        self._closers.append(images.close)
        records = FolderRecords(folder / "records", read_only=self._read_only)
        self._closers.append(records.close)
        extents = layout.of_folder(folder / "images") if images.properties.copies_on_write else None
        if extents is not None:
            self._closers.append(extents.close)
        return pool_ports.OpenPool(
            configuration.name,
            identity.pool_uuid,
            images,
            records,
            configuration.overcommit,
            extents=extents,
            trash_retention=configuration.trash_retention,
            read_only=identity.newer,
            use=configuration.use,
        )

    def _require_present(self, folder: Path) -> None:
        """Refuses to make a new pool where one was: its disk may only not be mounted."""
        embedded_one = self.configuration.image_size_bytes is not None
        wanted = folder / (embedded.IMAGE_FILE if embedded_one else pool_folder.IDENTITY_FILE)
        if self._pool_uuid and not wanted.exists():
            where = (
                "; it is not in the node's configuration any more, but was not empty when it was "
                "last open"
                if self.configuration.use is pools.PoolUse.REMOVED
                else ""
            )
            raise errors.DataCorrupt(
                f"{wanted} of pool {self._pool_uuid} is gone{where}. Mount its disk again, or, if "
                "it is lost for good or serves on another node, put its UUID under `forgetPools` "
                "in the node's configuration; nothing new is made in its place until then"
            )

    def _require_whole(self) -> None:
        """Refuses a file that was cut short, for good: writes may make it long again, with holes.

        Raises:
            DataCorrupt: It was.
        """
        if not self._lost:
            try:
                embedded.require_whole(self.configuration.folder, self._ports)
            except errors.DataCorrupt as error:
                self._lost = str(error)
        if self._lost:
            raise errors.DataCorrupt(self._lost)

    def _require_same(self, pool_uuid: str) -> None:
        if self._pool_uuid not in ("", pool_uuid):
            raise errors.PreconditionFailed(
                f"it is pool {pool_uuid} and not {self._pool_uuid}, which was there before; bring "
                "that back, or, if it is lost for good or serves on another node, put its UUID "
                "under `forgetPools` in the node's configuration"
            )
        self._pool_uuid = pool_uuid

    def _let_go(self, how: Callable[[int], None]) -> None:
        while self._closers:
            self._closers.pop()(how)
        if self._root is not None:
            os.close(self._root)
            self._root = None

    def _lock(self, folder: Path) -> None:
        self._closers.append(pool_folder.FolderLock(folder).close)
