"""Real filesystems and real nodes for tests, on loop devices that are gone afterwards."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from mooring.adapters import registry
from mooring.adapters.host import commands
from mooring.domain import errors, ids, pools, volumes
from mooring.ports import host
from mooring.ports.pools import PoolConfiguration
from mooring.ports.transfers import RemoteSnapshots
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.outgoing import Transfers
from support import mount_namespace

POOL = ids.PoolName("fast")
GIB = 1 << 30
MIB = 1 << 20


@contextmanager
def mounted(folder: Path, filesystem: str, size_bytes: int = GIB) -> Iterator[Path]:
    """A filesystem of its own in a file below `folder`, mounted for the time of a block."""
    ports = registry.kernel_host()
    image = folder / f"{filesystem}.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    device = ports.loops.attach(image, sector_size_bytes=4096, read_only=False)
    point = folder / filesystem
    try:
        commands.run([f"mkfs.{filesystem}", "-q", str(device.path)])
        point.mkdir()
        ports.mounts.mount(device.path, point, filesystem)
        yield point
    finally:
        unmount(point)
        ports.loops.detach(device.path, image)


def unmount(point: Path) -> None:
    """Unmounts, after waiting for what a killed process still has open."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return registry.kernel_host().mounts.unmount(point)
        except errors.InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of its own; everything mounted or attached below it is taken away at the end."""
    mount_namespace.enter()
    with tempfile.TemporaryDirectory(prefix="mooring-storage-", dir="/var/tmp") as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            sweep(folder)


def sweep(folder: Path) -> None:
    """Unmounts and detaches everything below a test's own folder, innermost first."""
    for _ in range(6):
        kernel = registry.kernel_host()
        for mount in reversed(kernel.mounts.table()):
            if mount.target.is_relative_to(folder):
                with contextlib.suppress(errors.InUse):
                    kernel.mounts.unmount(mount.target)
        left = attached_below(folder)
        for path in left:
            commands.attempt(["losetup", "-d", path])
        if not left:
            return


def attached_below(folder: Path) -> list[str]:
    """Loop devices whose image lies below a folder, as the kernel shows them."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if entry.read_text().startswith(f"{folder}/"):
                found.append(f"/dev/{entry.parent.parent.name}")
    return sorted(found)


def mounts_below(folder: Path) -> list[str]:
    """Mount points below a folder."""
    table = registry.kernel_host().mounts.table()
    return [str(mount.target) for mount in table if mount.target.is_relative_to(folder)]


class ShiftedClock:
    """The time of this machine, and what a test puts it ahead by."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return registry.system_clock().now() + self.ahead


class Machine:
    """One node with one pool below a folder of its own.

    Args:
        folder: Holds the pool, the state and the paths that a kubelet would name.
        backend: The pool's backend.
        image_size_bytes: Makes it an embedded pool.
        pool: The pool's folder when it is not below `folder`.
        overcommit: Share of a sparse volume's size that admission counts.
        source: Makes the other node that snapshots are copied from; None for no other nodes.
    """

    def __init__(
        self,
        folder: Path,
        backend: pools.PoolBackend = pools.PoolBackend.REFLINK,
        image_size_bytes: int | None = 3 * GIB,
        pool: Path | None = None,
        overcommit: float = 1.0,
        source: Callable[[ShiftedClock], RemoteSnapshots] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.clock = ShiftedClock()
        self._transfers = Transfers(source(self.clock) if source else None)
        self.kubelet = folder / "kubelet"
        configuration = PoolConfiguration(
            POOL, backend, pool or folder / "pool", image_size_bytes, overcommit
        )
        self.opener = registry.NodeOpener([configuration], folder / "state")
        try:
            self.node = self._start()
        except BaseException:
            self.opener.close()
            raise

    @property
    def host(self) -> host.Host:
        return registry.kernel_host()

    def restart(self, *, opens: bool = True) -> LocalNode:
        """Lets go of the pool and opens it again, as the next agent does, or fails to."""
        self.opener.close()
        self.node = self._start(opens=opens)
        return self.node

    def stop(self) -> None:
        """Takes the pool off the machine."""
        self.opener.unmount()

    def image(self, volume_id: ids.VolumeId | ids.SnapshotId) -> Path:
        """The image's file."""
        found = next(self.folder.glob(f"state/pools/fast/images/{volume_id}"), None)
        return found or next(self.folder.glob(f"pool/images/{volume_id}"))

    def staging(self, name: str) -> str:
        return str(self.kubelet / "staging" / name)

    def target(self, name: str) -> str:
        return str(self.kubelet / "pods" / name / "mount")

    def _start(self, *, opens: bool = True) -> LocalNode:
        parts = self.opener.open()
        assert bool(parts.failed_pools) is not opens, parts.failed_pools
        name = ids.NodeName("node-a")
        node = LocalNode(name, parts, ThreadLocks(), self.clock, self._transfers)
        self.notes = node.recover()
        return node


def empty_trash(machine: Machine) -> None:
    """Lets the time pass that deleted volumes are kept."""
    machine.clock.ahead = timedelta(days=2)
    machine.node.free_expired_trash()
    machine.clock.ahead = timedelta()


def trashed(machine: Machine) -> list[volumes.VolumeRecord]:
    """What is in the trash, by id."""
    found = [one.record for one in machine.node.list_volumes()]
    return [one for one in found if one.state is volumes.VolumeState.TRASHED]


def take_away(machine: Machine, *names: str) -> None:
    """Takes volumes from their pods and deletes them, whatever of it is there."""
    for name in names:
        volume_id = ids.volume_id_for(name)
        machine.node.publisher.unpublish(volume_id, machine.target(name))
        machine.node.publisher.unstage(volume_id, machine.staging(name))
        machine.node.delete_volume(volume_id)


def spec(
    name: str, size_bytes: int = 400 * MIB, filesystem: str | None = "ext4", **changes: object
) -> volumes.VolumeSpec:
    """Returns what a caller asks for; without a filesystem it is a Block volume."""
    return volumes.VolumeSpec(
        volume_id=ids.volume_id_for(name),
        name=name,
        pool=POOL,
        size_bytes=size_bytes,
        mode=volumes.VolumeMode.FILESYSTEM if filesystem else volumes.VolumeMode.BLOCK,
        filesystem=volumes.FilesystemType(filesystem) if filesystem else None,
        **changes,  # type: ignore[arg-type]
    )


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file and brings it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
