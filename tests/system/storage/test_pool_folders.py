"""Pools and their folders: made, adopted, refused; and two nodes on one kernel."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import commands
from mooring.domain import errors, ids, pools, volumes
from mooring.ports.pools import PoolConfiguration
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage
from support.real_storage import MIB, POOL, Machine, spec, write_synced

pytestmark = pytest.mark.system

ONE = ids.volume_id_for("one")
SNAP = ids.snapshot_id_for("snap", ONE)


def _embedded(folder: Path, size_bytes: int = 512 * MIB) -> registry.PoolOpener:
    configuration = PoolConfiguration(POOL, pools.PoolBackend.REFLINK, folder / "pool", size_bytes)
    return registry.PoolOpener(configuration, folder / "state", registry.kernel_host())


def test_a_pool_is_adopted_with_its_bytes_wherever_it_is_mounted(scratch: Path) -> None:
    machine = Machine(scratch / "a")
    machine.node.create_volume(spec("one"))
    pool_uuid = machine.node.list_pools()[0].pool_uuid
    machine.stop()
    moved = Machine(scratch / "b", pool=scratch / "a" / "pool")
    assert moved.node.list_pools()[0].pool_uuid == pool_uuid
    assert [one.record.spec.volume_id for one in moved.node.list_volumes()] == [ONE]
    moved.stop()


def test_the_image_of_a_pool_is_fully_allocated(machine: Machine) -> None:
    commands.attempt(["fstrim", str(machine.folder / "state/pools/fast")])
    status = (machine.folder / "pool" / "pool.img").stat()
    assert status.st_blocks * 512 >= status.st_size == 3 << 30


def test_restarting_finds_the_mounted_pool_and_its_mounted_volumes(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    before = (
        real_storage.attached_below(machine.folder),
        real_storage.mounts_below(machine.folder),
    )
    write_synced(Path(machine.staging("one")) / "data", b"before")
    machine.restart()
    write_synced(Path(machine.staging("one")) / "data", b"after")
    assert (
        real_storage.attached_below(machine.folder),
        real_storage.mounts_below(machine.folder),
    ) == before
    machine.node.publisher.unstage(ONE, machine.staging("one"))


def test_a_pool_grows_with_its_configured_size(scratch: Path) -> None:
    opener = _embedded(scratch)
    small = opener.open().images.capacity().total_bytes
    opener.close()
    larger = _embedded(scratch, 1024 * MIB)
    assert larger.open().images.capacity().total_bytes > small + 400 * MIB
    larger.unmount()


def test_a_pool_has_one_opener(scratch: Path) -> None:
    first = _embedded(scratch)
    first.open()
    second = _embedded(scratch)
    with pytest.raises(errors.InUse, match="one agent"):
        second.open()
    first.close()
    second.open()
    second.unmount()


@pytest.mark.parametrize("content", ["ext4", "text"])
def test_a_foreign_pool_image_is_refused_and_left_alone(scratch: Path, content: str) -> None:
    image = scratch / "pool" / "pool.img"
    image.parent.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * MIB)
        if content == "text":
            file.write(b"somebody's file")
    if content == "ext4":
        commands.run(["mkfs.ext4", "-q", "-F", str(image)])
    before = hashlib.sha256(image.read_bytes()).digest()
    with pytest.raises(errors.DataCorrupt):
        _embedded(scratch).open()
    assert hashlib.sha256(image.read_bytes()).digest() == before


def test_the_xfs_of_somebody_else_is_no_pool(scratch: Path) -> None:
    folder = scratch / "pool"
    folder.mkdir()
    with real_storage.mounted(folder, "xfs", 512 * MIB) as point:
        write_synced(point / "theirs", b"data")
    (folder / "xfs.img").rename(folder / "pool.img")
    opener = _embedded(scratch)
    with pytest.raises(errors.DataCorrupt, match="not empty"):
        opener.open()
    opener.unmount()


def test_one_broken_pool_leaves_the_others_serving(scratch: Path) -> None:
    good = PoolConfiguration(ids.PoolName("good"), pools.PoolBackend.DIRECTORY, scratch / "good")
    with real_storage.mounted(scratch, "ext4", 256 * MIB) as point:
        broken = PoolConfiguration(
            ids.PoolName("broken"), pools.PoolBackend.REFLINK, point / "broken"
        )
        opener = registry.NodeOpener([broken, good], scratch / "state")
        parts = opener.open()
        assert [one.name for one in parts.open_pools] == ["good"]
        assert "cannot share" in parts.failed_pools[0].message
        opener.close()


def test_a_volume_of_a_broken_pool_is_left_alone_until_the_pool_is_back(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
    write_synced(Path(machine.staging("one")) / "data", b"mine")
    identity = machine.image(ONE).parents[1] / "pool.json"
    content = identity.read_bytes()
    identity.write_bytes(b"{")
    seen = (
        real_storage.attached_below(machine.folder),
        real_storage.mounts_below(machine.folder),
    )
    node = machine.restart(opens=False)
    for act in (
        lambda: node.publisher.unstage(ONE, machine.staging("one")),
        lambda: node.delete_volume(ONE),
        lambda: node.delete_snapshot(SNAP),
    ):
        with pytest.raises(errors.HostFailure, match=r"pool\.json cannot be read"):
            act()
    assert seen == (
        real_storage.attached_below(machine.folder),
        real_storage.mounts_below(machine.folder),
    )
    assert (Path(machine.staging("one")) / "data").read_bytes() == b"mine"
    identity.write_bytes(content)
    machine.restart().publisher.unstage(ONE, machine.staging("one"))
    machine.node.delete_volume(ONE)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"{", errors.DataCorrupt),
        (b"{}", errors.DataCorrupt),
        (b'{"format_version": 2}', errors.Unsupported),
        (b'{"format_version": "later"}', errors.DataCorrupt),
        (
            b'{"format_version": 1, "backend": "reflink",'
            b' "pool_uuid": "00000000-0000-0000-0000-000000000000"}',
            errors.InvalidInput,
        ),
    ],
)
def test_an_identity_that_cannot_be_right(
    scratch: Path, content: bytes, error: type[Exception]
) -> None:
    (scratch / "pool").mkdir()
    (scratch / "pool" / "pool.json").write_bytes(content)
    configuration = PoolConfiguration(POOL, pools.PoolBackend.DIRECTORY, scratch / "pool")
    with pytest.raises(error):
        registry.PoolOpener(configuration, scratch / "state", registry.kernel_host()).open()
    assert (scratch / "pool" / "pool.json").read_bytes() == content


def test_an_older_agent_mounts_what_a_newer_one_wrote_and_changes_nothing(
    machine: Machine,
) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.create_volume(spec("new"))  # was never mounted, so never formatted
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    write_synced(Path(machine.staging("one")) / "data", b"mine")
    machine.node.publisher.unstage(ONE, machine.staging("one"))
    root = machine.image(ONE).parents[1]
    for path in (root / "pool.json", *root.glob("records/volumes/*.json")):
        document = json.loads(path.read_text()) | {"format_version": 2, "added_later": True}
        if "record" in document:
            document["record"] |= {"what_it_means": "only the newer one knows"}
        path.write_text(json.dumps(document))
    (root / "records" / "volumes" / ".half-made.json.tmp").touch()  # the newer one's affair
    before = _small_files(root)
    node = machine.restart()
    acts: list[Callable[[], object]] = [
        lambda: node.create_volume(spec("two")),
        lambda: node.delete_volume(ONE),
        lambda: node.expand_volume(ONE, 500 * MIB),
        lambda: node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5),
        lambda: node.publisher.stage(ids.volume_id_for("new"), machine.staging("new"), Access()),
    ]
    for act in acts:
        with pytest.raises(errors.MooringError, match="newer Mooring"):
            act()
    node.publisher.stage(ONE, machine.staging("one"), Access())
    assert (Path(machine.staging("one")) / "data").read_bytes() == b"mine"
    write_synced(Path(machine.staging("one")) / "data", b"written below the older agent")
    node.publisher.unstage(ONE, machine.staging("one"))
    node.pool_watch.check(now=True)
    assert "newer Mooring" in node.list_pools()[0].message
    assert not node.list_pools()[0].healthy
    assert _small_files(root) == before
    assert sorted(one.name for one in (root / "images").iterdir()) == sorted(
        [ONE, ids.volume_id_for("new")]
    )


def _small_files(root: Path) -> dict[str, bytes]:
    found = (*root.glob("*.json"), *root.glob(".*"), *root.glob("records/**/*"))
    return {str(one): one.read_bytes() for one in found if one.is_file() and one.name != "lock"}


def test_two_nodes_on_one_kernel_never_touch_each_others(scratch: Path) -> None:
    """The same names on both: only device and inode of the images tell them apart."""
    nodes = [Machine(scratch / name, image_size_bytes=1024 * MIB) for name in ("a", "b")]
    for index, machine in enumerate(nodes):
        machine.node.create_volume(spec("one", 128 * MIB))
        machine.node.publisher.stage(ONE, machine.staging("one"), Access())
        machine.node.publisher.publish(
            ONE, Publication(machine.staging("one"), machine.target("one"), Access())
        )
        write_synced(Path(machine.target("one")) / "data", b"%d" % index)
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
    first, second = nodes
    stranger = commands.run(
        ["losetup", "--show", "-f", str(_file(scratch / "stranger.img"))]
    ).strip()
    # The first node tries to take away what the second one and a stranger have.
    with pytest.raises(errors.PreconditionFailed):
        first.node.publisher.unpublish(ONE, second.target("one"))
    with pytest.raises(errors.PreconditionFailed):
        first.node.publisher.unstage(ONE, second.staging("one"))
    others = second.host.loops.find_all(second.image(ONE))
    for device in others:
        first.host.loops.detach(device.path, first.image(ONE))
    first.host.loops.detach(Path(stranger), first.image(ONE))
    first.restart()
    first.node.publisher.unpublish(ONE, first.target("one"))
    first.node.publisher.unstage(ONE, first.staging("one"))
    first.node.delete_volume(ONE)
    first.node.delete_snapshot(SNAP)
    first.stop()
    assert second.host.loops.find_all(second.image(ONE)) == others
    assert (Path(second.target("one")) / "data").read_bytes() == b"1"
    write_synced(Path(second.target("one")) / "data", b"still mine")
    assert (
        second.node.create_volume(
            spec("two", 128 * MIB, source=volumes.Source(snapshot_id=SNAP))
        ).state
        is volumes.VolumeState.READY
    )
    assert subprocess.run(["losetup", stranger], check=False, capture_output=True).returncode == 0
    assert not real_storage.attached_below(first.folder)
    commands.run(["losetup", "-d", stranger])
    second.opener.close()


def _file(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(MIB)
    return path
