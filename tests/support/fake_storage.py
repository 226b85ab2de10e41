"""A node without a kernel: pools, records, loops, mounts and filesystems in memory.

`World` outlives the process that works on it, as disks and kernels do: a test kills one
`LocalNode` between two effects and starts another on the same world.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mooring.adapters.pools.memory import MemoryPool
from mooring.domain import errors, ids, transfers, volumes
from mooring.domain.extents import Range
from mooring.ports import host
from mooring.ports.pools import FailedPool, NodeParts, OpenPool
from mooring.ports.records import Listing
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.local.node import LocalNode

GIB = 1 << 30
POOL = ids.PoolName("fast")
IMAGES = Path("/pool/images")


class Killed(BaseException):
    """The process died: no rollback runs, unlike for an error."""


class Killer:
    """Counts effects and kills before the chosen one."""

    def __init__(self) -> None:
        self.count = 0
        self.fatal: int | None = None

    def arm(self, fatal: int) -> None:
        self.count = 0
        self.fatal = fatal

    def disarm(self) -> None:
        self.fatal = None

    def effect(self) -> None:
        self.count += 1
        if self.fatal is not None and self.count >= self.fatal:
            raise Killed


class Mortal:
    """Passes calls on, and lets a killer strike before each of the named ones."""

    def __init__(self, inner: object, effects: Sequence[str], killer: Killer) -> None:
        self._inner = inner
        self._effects = frozenset(effects)
        self._killer = killer

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if name not in self._effects:
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            self._killer.effect()
            return member(*args, **kwargs)

        return call


class AttachablePool(MemoryPool):
    """A memory pool whose images have paths that the fake loop devices know."""

    def __init__(self, capacity_bytes: int, *, snapshots_while_published: bool = True) -> None:
        super().__init__(capacity_bytes, snapshots_while_published=snapshots_while_published)
        self.content: dict[ids.ImageId, str] = {}
        self.inside_bytes: dict[ids.ImageId, int] = {}

    def path(self, image: ids.ImageId) -> Path:
        self._require(image)
        return IMAGES / image

    def pieces(self, image: ids.ImageId) -> dict[int, bytes]:
        self._require(image)
        return dict(self._pieces[image])

    def copy(
        self, source: ids.ImageId, target: ids.ImageId, size_bytes: int, *, preallocate: bool
    ) -> None:
        fresh = target not in self._sizes
        super().copy(source, target, size_bytes, preallocate=preallocate)
        if fresh and source in self.content:
            self.content[target] = self.content[source]
            self.inside_bytes[target] = self.inside_bytes.get(source, 0)

    def rename(self, image: ids.ImageId, name: ids.ImageId) -> None:
        content, inside_bytes = self.content.get(image), self.inside_bytes.get(image, 0)
        super().rename(image, name)
        if content is not None:
            self.content[name], self.inside_bytes[name] = content, inside_bytes

    def remove(self, image: ids.ImageId) -> None:
        super().remove(image)
        self.content.pop(image, None)


class ListedRanges:
    """Ranges in a list; `ports.extents.KeptRanges`."""

    trusted = True

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges = ranges
        self.length_bytes = sum(one.length_bytes for one in ranges)

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __enter__(self) -> "ListedRanges":
        return self

    def __exit__(self, *_: object) -> None:
        return


class MemoryTracking:
    """What changed between images in memory, told by their pieces."""

    def __init__(self, images: AttachablePool) -> None:
        self._images = images

    def changed(self, base: ids.ImageId, image: ids.ImageId) -> ListedRanges:
        before, after = self._images.pieces(base), self._images.pieces(image)
        names = sorted(before.keys() | after.keys())
        differing = [name for name in names if before.get(name) != after.get(name)]
        return ListedRanges([Range(name, 4096) for name in differing])

    def allocated(self, image: ids.ImageId) -> ListedRanges:
        return ListedRanges([Range(name, 4096) for name in sorted(self._images.pieces(image))])


class MemoryRecords:
    """Records in memory."""

    def __init__(self) -> None:
        self.volumes: dict[ids.VolumeId, volumes.VolumeRecord] = {}
        self.snapshots: dict[ids.SnapshotId, volumes.SnapshotRecord] = {}
        self.faults: tuple[str, ...] = ()
        self.full = False
        self.full_until_removed = False

    def volume(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord | None:
        return self.volumes.get(volume_id)

    def put_volume(self, record: volumes.VolumeRecord) -> None:
        self._take_room()
        self.volumes[record.spec.volume_id] = record

    def remove_volume(self, volume_id: ids.VolumeId) -> None:
        self.volumes.pop(volume_id, None)
        self.full_until_removed = False

    def list_volumes(self) -> Listing[volumes.VolumeRecord]:
        return Listing(tuple(self.volumes[key] for key in sorted(self.volumes)), self.faults)

    def snapshot(self, snapshot_id: ids.SnapshotId) -> volumes.SnapshotRecord | None:
        return self.snapshots.get(snapshot_id)

    def put_snapshot(self, record: volumes.SnapshotRecord) -> None:
        self._take_room()
        self.snapshots[record.snapshot_id] = record

    def remove_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        self.snapshots.pop(snapshot_id, None)

    def list_snapshots(self) -> Listing[volumes.SnapshotRecord]:
        return Listing(tuple(self.snapshots[key] for key in sorted(self.snapshots)), ())

    def _take_room(self) -> None:
        if self.full or self.full_until_removed:
            raise errors.SpaceExhausted("cannot record it: the pool's disk is full")


class FakeKernel:
    """Loop devices, mounts, filesystems and paths of one machine."""

    def __init__(self, images: AttachablePool, killer: Killer) -> None:
        self._images = images
        self._killer = killer
        self.devices: dict[Path, tuple[ids.ImageId, host.LoopDevice]] = {}
        self.mounts: list[host.Mount] = []
        self.folders: set[Path] = set()
        self.files: set[Path] = set()
        self.frozen_at: set[Path] = set()
        self.uncarried: set[volumes.FilesystemType] = set()
        self.grows_unmounted = False
        self.watchdog_strikes = False
        self.during_freeze: list[Callable[[], None]] = []
        self.groups: dict[Path, int] = {}
        self.occupied: set[str] = set()

    # loop devices
    def attach(
        self, image: Path, *, sector_size_bytes: int, read_only: bool, keeps_blocks: bool = False
    ) -> host.LoopDevice:
        del keeps_blocks
        for present in self.find_all(image):
            if present.read_only == read_only:
                return present
        number = next(n for n in range(99) if Path(f"/dev/loop{n}") not in self.devices)
        image_id = ids.ImageId(image.name)
        device = host.LoopDevice(
            path=Path(f"/dev/loop{number}"),
            number=f"7:{number}",
            backing=self._identity(image),
            sector_size_bytes=sector_size_bytes,
            direct_io=True,
            read_only=read_only,
            size_bytes=self._images.images()[image_id].size_bytes,
        )
        self.devices[device.path] = (image_id, device)
        return device

    def find(self, image: Path) -> host.LoopDevice | None:
        return next((one for one in self.find_all(image) if not one.read_only), None)

    def find_all(self, image: Path) -> Sequence[host.LoopDevice]:
        return tuple(d for d in self.attached() if d.backing == self._identity(image))

    def attached(self) -> Sequence[host.LoopDevice]:
        return tuple(device for _, device in self.devices.values())

    def on_top_of(self, device: Path) -> Sequence[host.LoopDevice]:
        del device
        return ()

    def flush(self, device: Path) -> None:
        assert device in self.devices

    def permit(self, device: Path, group_id: int) -> None:
        self.groups[device] = group_id

    def resize(self, device: Path) -> None:
        image, old = self.devices[device]
        size_bytes = self._images.images()[image].size_bytes
        self.devices[device] = (image, host.LoopDevice(**{**vars(old), "size_bytes": size_bytes}))

    def detach(self, device: Path, image: Path) -> None:
        found = self.devices.get(device)
        if found is None or found[1].backing != self._identity(image):
            return
        if any(mount.device == found[1].number for mount in self.mounts):
            raise errors.InUse(f"{device} is mounted")
        del self.devices[device]
        self.groups.pop(device, None)

    # mounts
    def table(self) -> Sequence[host.Mount]:
        return tuple(self.mounts)

    def mount(
        self, source: Path, target: Path, filesystem: str, options: Sequence[str] = ()
    ) -> None:
        image, device = self.devices[source]
        if self._images.content.get(image) != filesystem:
            raise errors.DataCorrupt(f"{source} holds no {filesystem}")
        self.mounts.append(
            host.Mount(target, "/", device.number, filesystem, tuple(options), str(source))
        )

    def bind(self, source: Path, target: Path, options: Sequence[str] = ()) -> None:
        if source in self.devices:
            self.mounts.append(
                host.Mount(target, f"/{source.name}", "0:5", "devtmpfs", (), "devtmpfs")
            )
            return
        origin = next(mount for mount in reversed(self.mounts) if mount.target == source)
        both = tuple(dict.fromkeys((*origin.options, *options)))
        self.mounts.append(
            host.Mount(target, "/", origin.device, origin.filesystem, both, origin.source)
        )

    def unmount(self, target: Path) -> None:
        for index in reversed(range(len(self.mounts))):
            if self.mounts[index].target == target:
                del self.mounts[index]
                return

    # filesystems
    def probe(self, device: Path, image: Path) -> str | None:
        assert IMAGES / self.devices[device][0] == image
        found = self._images.content.get(self.devices[device][0])
        if found == "garbage":
            raise errors.DataCorrupt(f"{device} holds unknown content")
        return found

    def require_carried(self, filesystem: volumes.FilesystemType) -> None:
        if filesystem in self.uncarried:
            raise errors.Unsupported(f"{filesystem.value} needs a newer kernel")

    def make(self, device: Path, filesystem: volumes.FilesystemType, *, blank: bool) -> None:
        image = self.devices[device][0]
        assert not (blank and image in self._images.content)
        self._images.content[image] = "garbage"
        self._killer.effect()
        self._images.content[image] = filesystem.value
        self._images.inside_bytes[image] = self.devices[device][1].size_bytes

    def grow(self, device: Path, mountpoint: Path, filesystem: volumes.FilesystemType) -> None:
        assert any(mount.target == mountpoint for mount in self.mounts)

    def must_grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> bool:
        image, found = self.devices[device]
        return self.grows_unmounted and self._images.inside_bytes[image] < found.size_bytes

    def grow_unmounted(self, device: Path, filesystem: volumes.FilesystemType) -> None:
        image, found = self.devices[device]
        assert not any(mount.device == found.number for mount in self.mounts)
        self._images.content[image] = "garbage"
        self._killer.effect()
        self._images.content[image] = filesystem.value
        self._images.inside_bytes[image] = found.size_bytes

    def unwritten_bytes(self) -> int:
        return 0

    # contents
    def pieces(self, image: Path, start_bytes: int) -> Iterator[transfers.Piece]:
        assert start_bytes >= 0
        for offset_bytes, content in sorted(self._images.pieces(ids.ImageId(image.name)).items()):
            if offset_bytes >= start_bytes:
                yield transfers.Piece(offset_bytes, content)

    def is_frozen(self, mountpoint: Path) -> bool:
        return mountpoint in self.frozen_at

    @contextmanager
    def frozen(
        self, mountpoint: Path, *, timeout_seconds: float, writers_first: bool = True
    ) -> Iterator[None]:
        del writers_first
        self.frozen_at.add(mountpoint)
        for act in self.during_freeze:
            act()
        try:
            yield
        finally:
            self.frozen_at.discard(mountpoint)
        if self.watchdog_strikes:
            raise errors.HostFailure(f"{mountpoint} was thawed before the work on it ended")

    def thaw(self, mountpoint: Path) -> None:
        self.frozen_at.discard(mountpoint)

    # paths
    def resolve(self, path: str) -> Path:
        return Path(path)

    def make_folder(self, path: Path) -> None:
        self._require_free(path)
        self.folders.add(path)

    def make_file(self, path: Path) -> None:
        self._require_free(path)
        self.files.add(path)

    def remove(self, path: Path) -> None:
        assert not any(mount.target == path for mount in self.mounts)
        self.folders.discard(path)
        self.files.discard(path)

    def _require_free(self, path: Path) -> None:
        if str(path) in self.occupied:
            raise errors.PreconditionFailed(f"{path} holds something")

    def block_device(self, path: Path) -> str | None:
        for mount in reversed(self.mounts):
            if mount.target == path and mount.root.startswith("/loop"):
                return f"7:{mount.root.removeprefix('/loop')}"
        return None

    def identity(self, path: Path) -> host.FileIdentity | None:
        return self._identity(path)

    def unchanged_seconds(self, folder: Path) -> float:
        return 0.0

    def usage(self, path: Path) -> host.FilesystemUsage:
        return host.FilesystemUsage(100, 40, 60, 10, 4, 6)

    def _identity(self, image: Path) -> host.FileIdentity:
        return host.FileIdentity(1, int.from_bytes(image.name.encode(), "big"))


@dataclass
class SteppingClock:
    """A clock that moves a second with each look."""

    moment: datetime = field(default_factory=lambda: datetime(2030, 1, 1, tzinfo=UTC))

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


class World:
    """One machine with one pool.

    Args:
        capacity_bytes: Size of the pool.
        snapshots_while_published: Which kind of backend the pool stands in for.
    """

    def __init__(
        self, capacity_bytes: int = 100 * GIB, *, snapshots_while_published: bool = True
    ) -> None:
        self.clock = SteppingClock()
        self.trash_retention = timedelta(hours=24)
        self.killer = Killer()
        self.images = AttachablePool(
            capacity_bytes, snapshots_while_published=snapshots_while_published
        )
        self.records = MemoryRecords()
        self.kernel = FakeKernel(self.images, self.killer)

    def node(self, *, failed: Sequence[FailedPool] = ()) -> LocalNode:
        """Starts a process on this world: its locks are its own; a pool named in `failed` is shut.

        A failed pool of another name is one more that the node has.
        """
        kernel = Mortal(
            self.kernel,
            ("attach", "detach", "resize", "permit", "mount", "bind", "unmount", "make", "grow",
             "grow_unmounted", "frozen", "thaw", "make_folder", "make_file", "remove"),
            self.killer,
        )  # fmt: skip
        images = Mortal(self.images, ("allocate", "copy", "grow", "rename", "remove"), self.killer)
        records = Mortal(
            self.records,
            ("put_volume", "remove_volume", "put_snapshot", "remove_snapshot"),
            self.killer,
        )
        ports: Any = kernel
        pool = OpenPool(
            POOL,
            "uuid",
            images,  # type: ignore[arg-type]
            records,  # type: ignore[arg-type]
            1.0,
            tracking=MemoryTracking(self.images)
            if self.images.properties.copies_on_write
            else None,
            trash_retention=self.trash_retention,
        )
        opened = () if any(one.name == POOL for one in failed) else (pool,)
        parts = NodeParts(
            host.Host(ports, ports, ports, ports, ports, ports), opened, tuple(failed)
        )
        return LocalNode(ids.NodeName("node-a"), parts, ThreadLocks(), self.clock)

    def state(self) -> tuple[object, ...]:
        """Everything that outlives a process, but for the times in records.

        A volume of the trash, whose id holds such a time, has the id that it had before.
        """
        before: dict[str, str] = {
            key: f"trashed {record.trashing.volume_id}"
            for key, record in self.records.volumes.items()
            if record.trashing is not None
        }
        return (
            {before.get(k, k): (replace(v.spec, volume_id=ids.volume_id_for(v.spec.name)), v.state,
                                v.formatted, v.formatting, v.growing_to_bytes)
             for k, v in self.records.volumes.items()},
            {k: (v.size_bytes, v.state, v.formatted) for k, v in self.records.snapshots.items()},
            {before.get(k, k): v for k, v in self.images.images().items()},
            {before.get(k, k): v for k, v in self.images.content.items()},
            {path: image for path, (image, _) in self.kernel.devices.items()},
            list(self.kernel.mounts),
            set(self.kernel.folders),
            set(self.kernel.files),
            set(self.kernel.frozen_at),
        )  # fmt: skip


def spec(name: str, **changes: Any) -> volumes.VolumeSpec:
    """Returns what a caller asks for; 1 GiB of ext4 unless changed."""
    given: dict[str, Any] = {"size_bytes": GIB, "pool": POOL, **changes}
    return volumes.VolumeSpec(volume_id=ids.volume_id_for(name), name=name, **given)
