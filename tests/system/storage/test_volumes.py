"""Volumes on real loop devices: their whole life, in every form."""

import hashlib
import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters.host import commands, filesystems
from mooring.domain import errors, ids, pools, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage
from support.real_storage import MIB, Machine, spec, write_synced

pytestmark = pytest.mark.system

ONE = ids.volume_id_for("one")
TWO = ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)
BLOCK = Access(mode=volumes.VolumeMode.BLOCK)
REFUSED = r"not permitted|Read-only|Permission"
FILESYSTEMS = ["ext4", "xfs", *(["btrfs"] if filesystems.kernel_version() >= (6, 7) else [])]
MAY_GROW_MOUNTED_EXT4 = bool(
    int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) >> 24 & 1
)


def _publish(machine: Machine, name: str, access: Access | None = None) -> Path:
    volume_id = ids.volume_id_for(name)
    access = access or Access()
    machine.node.publisher.stage(volume_id, machine.staging(name), access)
    publication = Publication(machine.staging(name), machine.target(name), access)
    machine.node.publisher.publish(volume_id, publication)
    return Path(machine.target(name))


def _digest(image: Path) -> bytes:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _scribble(device: Path) -> None:
    with device.open("r+b", buffering=0) as file:
        file.write(bytes(4096))


def _unpublish(machine: Machine, name: str) -> None:
    machine.node.publisher.unpublish(ids.volume_id_for(name), machine.target(name))
    machine.node.publisher.unstage(ids.volume_id_for(name), machine.staging(name))


@pytest.mark.parametrize("preallocated", [False, True], ids=["sparse", "preallocated"])
@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_the_life_of_a_volume(machine: Machine, filesystem: str, preallocated: bool) -> None:
    machine.node.create_volume(spec("one", filesystem=filesystem, preallocated=preallocated))
    target = _publish(machine, "one")
    content = os.urandom(20 * MIB)
    write_synced(target / "data", content)
    (device,) = machine.host.loops.find_all(machine.image(ONE))
    assert (device.sector_size_bytes, device.direct_io, device.read_only) == (4096, True, False)
    machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
    write_synced(target / "data", b"overwritten")
    machine.node.create_volume(
        spec(
            "two",
            500 * MIB,
            filesystem,
            preallocated=preallocated,
            source=volumes.Source(snapshot_id=SNAP),
        )
    )
    restored = _publish(machine, "two")  # beside its original
    assert (restored / "data").read_bytes() == content
    usage = machine.node.publisher.stats(TWO, str(restored)).usage
    assert usage is not None
    assert usage.total_bytes > 400 * MIB
    statuses = {one.record.spec.volume_id: one for one in machine.node.list_volumes()}
    assert statuses[ONE].published
    assert not statuses[TWO].condition.abnormal
    if preallocated:
        assert statuses[TWO].used_bytes >= 500 * MIB
    _unpublish(machine, "one")
    _unpublish(machine, "two")
    assert not Path(machine.target("one")).exists()
    target = _publish(machine, "one")
    assert (target / "data").read_bytes() == b"overwritten"
    _unpublish(machine, "one")
    for volume_id in (ONE, TWO):
        machine.node.delete_volume(volume_id)
    machine.node.delete_snapshot(SNAP)
    assert machine.node.list_pools()[0].provisioned_bytes == 0
    machine.stop()
    assert not real_storage.attached_below(machine.folder)
    assert not real_storage.mounts_below(machine.folder)


def test_btrfs_is_refused_when_it_is_asked_for_on_a_kernel_that_cannot_mount_its_clones(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if filesystems.kernel_version() >= (6, 7):
        monkeypatch.setattr(filesystems, "kernel_version", lambda: (6, 1))
    with pytest.raises(errors.Unsupported, match=r"Linux 6\.7 .* choose ext4 or xfs"):
        machine.node.create_volume(spec("one", filesystem="btrfs"))
    assert not machine.node.list_volumes()


@pytest.mark.parametrize("sector_size_bytes", [512, 4096])
def test_the_sector_size_survives_snapshot_detach_and_attach(
    machine: Machine, sector_size_bytes: int
) -> None:
    machine.node.create_volume(spec("one", filesystem="xfs", sector_size_bytes=sector_size_bytes))
    _publish(machine, "one")
    for _ in range(2):
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        (device,) = machine.host.loops.find_all(machine.image(ONE))
        assert device.sector_size_bytes == sector_size_bytes
        # The pool's own sectors are 4096 bytes: a volume of smaller ones is told to be slower.
        (status,) = machine.node.list_volumes()
        assert device.direct_io == (sector_size_bytes == 4096)
        assert status.condition.abnormal == (not device.direct_io)
        _unpublish(machine, "one")
        _publish(machine, "one")
    machine.node.create_volume(
        spec(
            "two",
            filesystem="xfs",
            sector_size_bytes=sector_size_bytes,
            source=volumes.Source(snapshot_id=SNAP),
        )
    )
    _publish(machine, "two")
    (copy,) = machine.host.loops.find_all(machine.image(TWO))
    assert copy.sector_size_bytes == sector_size_bytes


def test_a_block_volume(machine: Machine) -> None:
    machine.node.create_volume(spec("one", filesystem=None))
    target = _publish(machine, "one", BLOCK)
    assert stat.S_ISBLK(target.stat().st_mode)
    with target.open("r+b", buffering=0) as device:
        device.write(b"m" * 4096)  # only in the device's cache
    machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
    assert machine.image(SNAP).read_bytes()[:4096] == b"m" * 4096
    assert machine.node.publisher.stats(ONE, str(target)).size_bytes == 400 * MIB
    machine.node.expand_volume(ONE, 450 * MIB)
    assert machine.node.publisher.node_expand(ONE, str(target)) == 450 * MIB
    assert machine.node.publisher.stats(ONE, str(target)).size_bytes == 450 * MIB
    _unpublish(machine, "one")
    assert not target.exists()


def test_a_read_only_block_volume_refuses_writes(machine: Machine) -> None:
    machine.node.create_volume(spec("one", filesystem=None))
    machine.node.publisher.stage(ONE, machine.staging("one"), BLOCK)
    publication = Publication(machine.staging("one"), machine.target("one"), BLOCK, read_only=True)
    machine.node.publisher.publish(ONE, publication)
    machine.node.publisher.publish(ONE, publication)
    with pytest.raises(OSError, match=REFUSED):
        _scribble(Path(machine.target("one")))
    _unpublish(machine, "one")
    assert not machine.host.loops.find_all(machine.image(ONE))


def test_a_read_only_filesystem_refuses_writes(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    publication = Publication(machine.staging("one"), machine.target("one"), Access(), True)
    machine.node.publisher.publish(ONE, publication)
    with pytest.raises(OSError, match="Read-only"):
        (Path(machine.target("one")) / "x").write_bytes(b"x")
    (Path(machine.staging("one")) / "x").write_bytes(b"x")


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_growing_while_somebody_writes(machine: Machine, filesystem: str) -> None:
    machine.node.create_volume(spec("one", filesystem=filesystem))
    target = _publish(machine, "one")
    digest = hashlib.sha256()
    stop = threading.Event()

    def write() -> None:
        with (target / "log").open("wb", buffering=0) as file:
            while not stop.is_set() and file.tell() < 200 * MIB:
                piece = os.urandom(64 << 10)
                file.write(piece)
                os.fsync(file.fileno())
                digest.update(piece)

    writer = threading.Thread(target=write)
    writer.start()
    before = machine.node.publisher.stats(ONE, str(target)).usage
    try:
        machine.node.expand_volume(ONE, 800 * MIB)
        if filesystem == "ext4" and not MAY_GROW_MOUNTED_EXT4:
            with pytest.raises(errors.Unsupported, match="CAP_SYS_RESOURCE"):
                machine.node.publisher.node_expand(ONE, str(target))
        else:
            assert machine.node.publisher.node_expand(ONE, str(target)) == 800 * MIB
            machine.node.publisher.node_expand(ONE, str(target))
    finally:
        stop.set()
        writer.join()
    _unpublish(machine, "one")
    _publish(machine, "one")
    after = machine.node.publisher.stats(ONE, str(target)).usage
    assert before is not None
    assert after is not None
    assert after.total_bytes > before.total_bytes + 300 * MIB
    assert hashlib.sha256((target / "log").read_bytes()).digest() == digest.digest()


def test_an_ext4_that_cannot_use_so_little_more_is_as_large_as_asked_for(machine: Machine) -> None:
    machine.node.create_volume(spec("one", size_bytes=256 * MIB))
    target = _publish(machine, "one")
    machine.node.expand_volume(ONE, 257 * MIB)
    assert machine.node.publisher.node_expand(ONE, str(target)) == 257 * MIB


def test_an_ext4_grows_although_its_last_mount_lives_on(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    _publish(machine, "one")
    before = machine.node.publisher.stats(ONE, machine.target("one")).usage
    machine.node.expand_volume(ONE, 800 * MIB)
    with _namespace_of_its_own() as holder:
        machine.node.publisher.unpublish(ONE, machine.target("one"))
        with pytest.raises(errors.InUse):
            machine.node.publisher.unstage(ONE, machine.staging("one"))
        threading.Timer(1.0, holder.kill).start()
        _publish(machine, "one")
    after = machine.node.publisher.stats(ONE, machine.target("one")).usage
    assert before is not None
    assert after is not None
    assert after.total_bytes > before.total_bytes + 300 * MIB


@contextmanager
def _namespace_of_its_own() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has all mounts of now, as a container's has for a moment when it starts."""
    command = ["unshare", "--mount", "--propagation", "private", "sleep", "60"]
    holder = subprocess.Popen(command)
    try:
        own = Path("/proc/self/ns/mnt").readlink()
        while Path(f"/proc/{holder.pid}/ns/mnt").readlink() == own:
            time.sleep(0.01)
        yield holder
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_the_clone_of_a_volume_in_use(machine: Machine, filesystem: str) -> None:
    machine.node.create_volume(spec("one", filesystem=filesystem))
    target = _publish(machine, "one")
    (target / "unsynced").write_bytes(b"only in the page cache")
    machine.node.create_volume(
        spec("two", filesystem=filesystem, preallocated=True, source=volumes.Source(volume_id=ONE))
    )
    clone = _publish(machine, "two")
    assert (clone / "unsynced").read_bytes() == b"only in the page cache"
    (clone / "own").write_bytes(b"x")
    assert not (target / "own").exists()
    assert sorted(path.name for path in machine.image(ONE).parent.iterdir()) == sorted((ONE, TWO))


@pytest.mark.parametrize("content", ["foreign filesystem", "partition table", "unknown", "far end"])
def test_what_is_not_ours_is_never_formatted(machine: Machine, content: str) -> None:
    machine.node.create_volume(spec("one"))
    image = machine.image(ONE)
    if content == "foreign filesystem":
        commands.run(["mkfs.xfs", "-q", str(image)])
    else:
        offset = {"partition table": 510, "unknown": 70_000, "far end": 400 * MIB - 9}[content]
        with image.open("r+b") as file:
            file.seek(offset)
            file.write(b"\x55\xaa")
    before = _digest(image)
    with pytest.raises(errors.DataCorrupt):
        machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    assert _digest(image) == before
    assert not machine.host.loops.find_all(image)
    assert not real_storage.mounts_below(machine.kubelet)


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_a_destroyed_superblock_is_refused_and_left_alone(
    machine: Machine, filesystem: str
) -> None:
    machine.node.create_volume(spec("one", filesystem=filesystem))
    write_synced(_publish(machine, "one") / "data", b"precious" * 1000)
    _unpublish(machine, "one")
    image = machine.image(ONE)
    with image.open("r+b") as file:
        file.write(bytes(128 << 10))  # the superblock of each of them
    before = _digest(image)
    with pytest.raises(errors.DataCorrupt):
        machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    assert _digest(image) == before
    assert not machine.host.loops.find_all(image)


def test_a_kill_during_mkfs_is_repaired(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    context = machine.node._context  # what a killed process leaves: the mark and half a filesystem
    book, record = context.volume(ONE)
    book.records.put_volume(volumes.VolumeRecord(**{**vars(record), "formatting": True}))
    with machine.image(ONE).open("r+b") as file:
        file.seek(1024)
        file.write(os.urandom(64 << 10))
    machine.restart()
    write_synced(_publish(machine, "one") / "data", b"fine")
    _unpublish(machine, "one")
    assert (_publish(machine, "one") / "data").read_bytes() == b"fine"


def test_a_vanished_staging_mount_never_lets_a_pod_write_to_the_root_disk(
    machine: Machine,
) -> None:
    machine.node.create_volume(spec("one"))
    target = _publish(machine, "one")
    machine.host.mounts.unmount(target)
    machine.host.mounts.unmount(Path(machine.staging("one")))
    publication = Publication(machine.staging("one"), machine.target("one"), Access())
    machine.node.publisher.publish(ONE, publication)
    assert target.stat().st_dev != target.parent.stat().st_dev
    _unpublish(machine, "one")
    with pytest.raises(errors.PreconditionFailed, match="not staged"):
        machine.node.publisher.publish(ONE, publication)
    assert not target.exists()


def test_a_full_volume_hurts_no_neighbour(machine: Machine) -> None:
    for name in ("one", "two"):
        machine.node.create_volume(spec(name, 200 * MIB))
        _publish(machine, name)
    with pytest.raises(OSError, match="No space"):
        write_synced(Path(machine.target("one")) / "big", bytes(300 * MIB))
    write_synced(Path(machine.target("two")) / "fine", os.urandom(50 * MIB))


def test_no_room_is_said_with_figures_and_leaves_nothing(machine: Machine) -> None:
    before = _kept(machine)
    with pytest.raises(errors.SpaceExhausted, match="GiB more"):
        machine.node.create_volume(spec("one", pools_size(machine) // MIB * MIB))
    with pytest.raises(errors.SizeOutOfRange, match="larger than the whole pool"):
        machine.node.create_volume(spec("one", 4096 * MIB))
    assert _kept(machine) == before
    assert not machine.node.list_volumes()


def _kept(machine: Machine) -> tuple[int, int, list[str]]:
    """What the pool has promised, still takes and holds; XFS's own free blocks come and go."""
    [pool] = machine.node.list_pools()
    files = sorted(path.name for path in machine.folder.rglob("images/*"))
    return pool.provisioned_bytes, pool.available_bytes, files


def pools_size(machine: Machine) -> int:
    return machine.node.list_pools()[0].capacity.total_bytes


def test_a_foreign_file_in_the_mount_point_is_never_deleted(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    target = _publish(machine, "one")
    machine.host.mounts.unmount(target)
    (target / "stray").write_bytes(b"somebody's")
    with pytest.raises(errors.PreconditionFailed, match="mount point"):
        machine.node.publisher.unpublish(ONE, str(target))
    assert (target / "stray").read_bytes() == b"somebody's"


@pytest.mark.parametrize("path", ["relative", "/tmp/../etc/x", "/x", "/tmp/a\nb", "/tmp/a\0b"])
def test_strange_paths_are_refused(machine: Machine, path: str) -> None:
    machine.node.create_volume(spec("one"))
    with pytest.raises(errors.InvalidInput):
        machine.node.publisher.stage(ONE, path, Access())


def test_a_symbolic_link_is_no_target(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.kubelet.mkdir()
    (machine.kubelet / "link").symlink_to("/etc")
    with pytest.raises(errors.InvalidInput, match="symbolic"):
        machine.node.publisher.stage(ONE, str(machine.kubelet / "link"), Access())


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_a_directory_pool_on_any_filesystem(scratch: Path, kind: str) -> None:
    with real_storage.mounted(scratch, kind, 2 << 30) as point:
        machine = Machine(scratch / "a", pools.PoolBackend.DIRECTORY, None, point / "pool")
        machine.node.create_volume(spec("one"))
        target = _publish(machine, "one")
        write_synced(target / "data", b"kept")
        with pytest.raises(errors.Unsupported, match="in use"):
            machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        _unpublish(machine, "one")
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        machine.node.create_volume(spec("two", source=volumes.Source(snapshot_id=SNAP)))
        assert (_publish(machine, "two") / "data").read_bytes() == b"kept"
        _unpublish(machine, "two")
        machine.stop()


def test_a_reflink_pool_in_a_folder_of_btrfs(scratch: Path) -> None:
    with real_storage.mounted(scratch, "btrfs", 3 << 30) as point:
        machine = Machine(scratch / "a", pools.PoolBackend.REFLINK, None, point / "pool")
        machine.node.create_volume(spec("one", filesystem="xfs"))
        write_synced(_publish(machine, "one") / "data", b"kept")
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        machine.node.create_volume(
            spec("two", filesystem="xfs", source=volumes.Source(snapshot_id=SNAP))
        )
        assert (_publish(machine, "two") / "data").read_bytes() == b"kept"
        for name in ("one", "two"):
            _unpublish(machine, name)
        machine.stop()


class TestExposures:
    def test_a_snapshot_belongs_to_the_movers_group_while_it_is_exposed(
        self, machine: Machine
    ) -> None:
        machine.node.create_volume(spec("one"))
        write_synced(_publish(machine, "one") / "data", b"kept")
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        handle, path = f"snapshot/{SNAP}", Path(machine.target("mover"))
        for _ in range(2):
            machine.node.exposures.expose(handle, str(path), read_only=True, group_id=65532)
        status = path.stat()
        assert stat.S_ISBLK(status.st_mode)
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (65532, 0o660)
        device = Path(f"/dev/loop{os.minor(status.st_rdev)}")
        with pytest.raises(OSError, match=REFUSED):
            _scribble(path)
        with pytest.raises(errors.InUse):
            machine.node.delete_snapshot(SNAP)
        machine.node.exposures.unexpose(handle, str(path))
        machine.node.exposures.unexpose(handle, str(path))
        status = device.stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
        assert not path.exists()
        machine.node.delete_snapshot(SNAP)

    def test_a_volume_is_filled_and_then_mounted(self, machine: Machine) -> None:
        machine.node.create_volume(spec("two"))
        write_synced(_publish(machine, "two") / "data", b"restored")
        _unpublish(machine, "two")
        machine.node.create_volume(spec("one", filling=True))
        handle, path = f"populate/{ONE}", machine.target("mover")
        machine.node.exposures.expose(handle, path, read_only=False, group_id=65532)
        commands.run(["dd", f"if={machine.image(TWO)}", f"of={path}", "bs=1M", "conv=fsync"])
        machine.node.exposures.unexpose(handle, path)
        machine.node.finish_filling(ONE)
        assert (_publish(machine, "one") / "data").read_bytes() == b"restored"

    def test_a_loop_that_the_kubelet_put_on_top_is_waited_for(self, machine: Machine) -> None:
        machine.node.create_volume(spec("one", filling=True))
        handle, path = f"populate/{ONE}", machine.target("mover")
        machine.node.exposures.expose(handle, path, read_only=False, group_id=65532)
        # As the kubelet does: a bind of its own of the published file, and a loop on that.
        own = machine.kubelet / "volumeDevices"
        own.touch()
        machine.host.mounts.bind(Path(path), own)
        upper = commands.run(["losetup", "--show", "-f", str(own)]).strip()
        try:
            machine.node.exposures.unexpose(handle, path)
            assert not Path(path).exists()
            with pytest.raises(errors.InUse):
                machine.node.finish_filling(ONE)
        finally:
            commands.run(["losetup", "-d", upper])
            machine.host.mounts.unmount(own)
        deadline = time.monotonic() + 10
        while machine.host.loops.find_all(machine.image(ONE)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        machine.node.finish_filling(ONE)
