"""Opening one pool: its lock, its owner, its identity, what is in it; and letting go of it."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mooring.adapters.host import files
from mooring.adapters.host.clock import SystemClock
from mooring.adapters.pools import embedded, layout, pool_folder, probing
from mooring.adapters.pools.directory import DirectoryPool
from mooring.adapters.pools.image_folder import ImageFilePool
from mooring.adapters.pools.known_pools import KnownPool, KnownPools
from mooring.adapters.pools.ownership import Ownership
from mooring.adapters.pools.records import FolderRecords
from mooring.adapters.pools.reflink import ReflinkPool
from mooring.adapters.pools.tracking import FolderTracking
from mooring.domain import errors, ids, pools
from mooring.ports import host
from mooring.ports import pools as pool_ports

BACKENDS: Mapping[pools.PoolBackend, Callable[..., ImageFilePool]] = {
    pools.PoolBackend.DIRECTORY: DirectoryPool,
    pools.PoolBackend.REFLINK: ReflinkPool,
}


@dataclass(frozen=True)
class NodeFacts:
    """What all openers of one node share.

    Attributes:
        known: The pools that it had.
        ownership: Its claim to pools that others had; None takes any.
        forgotten: Pools, by UUID, that it is told to know no more.
    """

    known: KnownPools
    ownership: Ownership | None = None
    forgotten: frozenset[str] = field(default_factory=frozenset)


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
        facts: NodeFacts | None = None,
    ) -> None:
        self.configuration = configuration
        self._facts = facts or NodeFacts(KnownPools(state_folder))
        self._mountpoint = state_folder / "pools" / configuration.name
        self._ports = ports
        self._closers: list[Callable[[Callable[[int], None]], None]] = []
        self._root: int | None = None
        self._read_only = False
        before = self._facts.known.named(configuration.name)
        self._pool_uuid = before.pool_uuid if before else ""
        self._lost = ""

    def open(self) -> pool_ports.OpenPool:
        """Opens the pool, after making or adopting what is there.

        Raises:
            NotFound: It serves on another node now, and is not configured here any more.
            InUse: Another process has it open, or another node has it or may have it.
            DataCorrupt: What is there is not a pool, or not one that can be read.
            Unsupported: Its filesystem lacks what the backend needs.
        """
        try:
            return self._open()
        except (errors.MooringError, OSError):
            self.close()
            raise

    def claimed(self) -> str:
        """Returns the UUID of the pool that lies where this one belongs; see the port."""
        return self._pool_uuid if self._wanted.exists() else ""

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
        """Takes a pool that nobody uses off the node for good; see the port."""
        self.unmount()
        self._facts.known.forget(self._pool_uuid)

    def unmount(self) -> None:
        """Closes the pool and takes an embedded one off the node; see `embedded.unmount`."""
        self.close()
        if self.configuration.image_size_bytes is not None:
            embedded.unmount(self.configuration.folder, self._mountpoint, self._ports)

    def _open(self) -> pool_ports.OpenPool:
        configuration = self.configuration
        folder = configuration.folder
        self._require_present()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lost:
            raise errors.DataCorrupt(self._lost)
        self._lock(folder)
        folder = self._mounted(folder)
        if configuration.backend not in BACKENDS:
            raise errors.InvalidInput(f"no node can have a pool of {configuration.backend.value}")
        identity, adopted_from = self._enter(folder)
        self._grow(folder, identity)
        self._root, self._read_only = files.open_folder(folder), bool(identity.newer)
        images = BACKENDS[configuration.backend](folder / "images", read_only=self._read_only)
        self._closers.append(images.close)
        records = FolderRecords(folder / "records", read_only=self._read_only)
        self._closers.append(records.close)
        extents = layout.of_folder(folder / "images") if images.properties.copies_on_write else None
        if extents is not None:
            self._closers.append(extents.close)
        tracking = FolderTracking(
            folder / "images", shares_blocks=images.properties.copies_on_write
        )
        self._closers.append(tracking.close)
        return pool_ports.OpenPool(
            configuration.name,
            identity.pool_uuid,
            images,
            records,
            configuration.overcommit,
            extents=extents,
            tracking=tracking,
            trash_retention=configuration.trash_retention,
            read_only=identity.newer,
            use=configuration.use,
            adopted_from=adopted_from,
        )

    def _mounted(self, folder: Path) -> Path:
        """Returns where the pool's files are, which is inside its image when it is embedded."""
        size_bytes = self.configuration.image_size_bytes
        if size_bytes is None:
            return folder
        if self.configuration.backend is not pools.PoolBackend.REFLINK:
            raise errors.InvalidInput("an embedded pool has the backend 'reflink'")
        return embedded.mount(folder, size_bytes, self._mountpoint, self._ports)

    def _grow(self, folder: Path, identity: pool_folder.PoolIdentity) -> None:
        """Grows an embedded pool to what is configured, once it is known to be ours to change."""
        configuration = self.configuration
        if configuration.image_size_bytes is not None and not identity.newer:
            embedded.grow(configuration.folder, configuration.image_size_bytes, folder, self._ports)

    def _enter(self, folder: Path) -> tuple[pool_folder.PoolIdentity, tuple[ids.NodeName, ...]]:
        """Makes sure that what is in a pool's folder is this node's, and the pool that is meant."""
        try:
            if folder != self.configuration.folder:
                self._lock(folder)
            identity = pool_folder.identify(folder, self.configuration.backend, SystemClock())
            self._require_same(identity.pool_uuid)
            return identity, self._claim(folder, identity)
        except errors.MooringError:
            with contextlib.suppress(errors.MooringError):  # a volume of it may be attached still
                self.unmount()  # what is not this node's must be free to be taken elsewhere
            raise

    @property
    def _wanted(self) -> Path:
        """The file that is there if the pool is."""
        embedded_one = self.configuration.image_size_bytes is not None
        name = embedded.IMAGE_FILE if embedded_one else pool_folder.IDENTITY_FILE
        return self.configuration.folder / name

    def _require_present(self) -> None:
        """Refuses to make a new pool where one was: its disk may only not be mounted."""
        if not self._pool_uuid or self._wanted.exists():
            return
        ownership = self._facts.ownership
        moved_to = ownership.moved_to(self._pool_uuid) if ownership else None
        if moved_to is not None and self.configuration.use is not pools.PoolUse.OPEN:
            self._facts.known.forget(self._pool_uuid)
            raise errors.NotFound(f"pool {self._pool_uuid} serves on node {moved_to} now")
        where = f"it serves on node {moved_to} now" if moved_to else "mount its disk again"
        raise errors.DataCorrupt(
            f"{self._wanted} of pool {self._pool_uuid} is gone: {where}. If it shall not come "
            "back, put its UUID under `forgetPools` in the node's configuration; nothing new is "
            "made in its place until then"
        )

    def _claim(self, folder: Path, identity: pool_folder.PoolIdentity) -> tuple[ids.NodeName, ...]:
        """Writes down that the pool is this node's, on both sides; returns who had it before."""
        configuration, facts = self.configuration, self._facts
        pool_uuid = identity.pool_uuid
        if pool_uuid in facts.forgotten and configuration.use is not pools.PoolUse.FORGOTTEN:
            raise errors.PreconditionFailed(
                f"pool {pool_uuid} is under `forgetPools` in the node's configuration; take it out "
                "there to use it on this node again"
            )
        adopted_from: tuple[ids.NodeName, ...] = ()
        if facts.ownership is not None and not identity.newer:
            places = list(dict.fromkeys((configuration.folder, folder)))
            adopted_from = facts.ownership.claim(places, pool_uuid, configuration.name)
        facts.known.remember(KnownPool(pool_uuid, configuration))
        return adopted_from

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
        if self._facts.ownership is not None:
            self._facts.ownership.require(folder, self.configuration.name)
