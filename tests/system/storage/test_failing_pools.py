"""A pool whose filesystem shuts down, or whose disk is cut short, while its volumes are in use."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.host import commands
from mooring.domain import errors, ids, pools, volumes
from mooring.ports.pools import PoolConfiguration
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet import surveys
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage
from support.real_storage import MIB, write_synced

pytestmark = pytest.mark.system

GOOD, BAD = ids.PoolName("good"), ids.PoolName("bad")


class TwoPools:
    """A node with two embedded pools, and a published volume in each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opener = registry.NodeOpener(
            [
                PoolConfiguration(name, pools.PoolBackend.REFLINK, folder / name, 400 * MIB)
                for name in (GOOD, BAD)
            ],
            folder / "state",
        )
        self.node = self.start()
        for name in (GOOD, BAD):
            self.node.create_volume(self.spec(name))
            self.publish(name)
            write_synced(self.target(name) / "data", name.encode())

    def start(self) -> LocalNode:
        """Opens what can be opened, as an agent does."""
        node = LocalNode(
            ids.NodeName("node-a"), self.opener.open(), ThreadLocks(), registry.system_clock()
        )
        node.recover()
        return node

    def spec(self, name: str, pool: ids.PoolName | None = None) -> volumes.VolumeSpec:
        made = real_storage.spec(name, 64 * MIB)
        return replace(made, pool=pool or ids.PoolName(name))

    def target(self, name: str) -> Path:
        return self.folder / "kubelet" / "pods" / name / "mount"

    def publish(self, name: str) -> None:
        staging, key = str(self.folder / "kubelet" / "staging" / name), ids.volume_id_for(name)
        self.node.publisher.stage(key, staging, Access())
        publication = Publication(staging, str(self.target(name)), Access())
        self.node.publisher.publish(key, publication)

    def end_pod(self, name: str) -> None:
        """What the kubelet does when a pod goes."""
        key = ids.volume_id_for(name)
        self.node.publisher.unpublish(key, str(self.target(name)))
        self.node.publisher.unstage(key, str(self.folder / "kubelet" / "staging" / name))

    def shut_down(self) -> None:
        point = self.folder / "state" / "pools" / BAD
        commands.run(["xfs_io", "-x", "-c", "shutdown", str(point)])

    def watch(self, until: Callable[[], bool]) -> None:
        """Looks after the pools until something is so."""
        deadline = time.monotonic() + 20
        while not until():
            self.node.pool_watch.check()
            assert time.monotonic() < deadline, self.status(BAD)
            time.sleep(0.05)

    def status(self, name: ids.PoolName) -> pools.PoolStatus:
        return next(one for one in self.node.list_pools() if one.name == name)

    def good_serves_on(self) -> None:
        """The other pool does everything as ever."""
        write_synced(self.target(GOOD) / "more", b"more")
        self.node.create_volume(self.spec("second", GOOD))
        self.publish("second")
        self.end_pod("second")
        self.node.delete_volume(ids.volume_id_for("second"))
        assert self.status(GOOD).healthy
        assert GOOD in {one.record.spec.pool for one in self.node.list_volumes()}


@pytest.fixture
def two(scratch: Path) -> Iterator[TwoPools]:
    """The node; its pools are taken away at the end."""
    made = TwoPools(scratch)
    yield made
    with contextlib.suppress(errors.MooringError, OSError):
        made.opener.close()


def test_a_pool_that_shuts_down_fails_alone_and_comes_back_when_its_pods_are_gone(
    two: TwoPools,
) -> None:
    volume_id, idle = ids.volume_id_for(BAD), ids.volume_id_for("idle")
    two.node.create_volume(two.spec("idle", BAD))
    two.shut_down()
    two.good_serves_on()  # also before anybody has looked at the broken one
    two.node.pool_watch.check(now=True)
    status = two.status(BAD)
    assert not status.healthy
    assert "delete the pods that use 1 volumes" in status.message
    report = surveys.node_report(two.node)
    assert BAD in report.unread_pools
    stats = two.node.publisher.stats(volume_id, str(two.target(BAD)))
    assert stats.condition.abnormal
    assert "Input/output error" in stats.condition.message
    for act in (
        lambda: two.node.create_volume(two.spec("new", BAD)),
        lambda: two.node.delete_volume(idle),
        lambda: two.publish(BAD),
    ):
        with pytest.raises(errors.HostFailure, match="repair the disk"):
            act()
    two.good_serves_on()
    two.end_pod(BAD)
    two.watch(lambda: two.status(BAD).healthy)
    two.publish(BAD)
    assert (two.target(BAD) / "data").read_bytes() == BAD.encode()
    two.good_serves_on()
    two.end_pod(BAD)


def test_an_operation_that_meets_the_fault_has_the_pool_looked_at(two: TwoPools) -> None:
    two.end_pod(BAD)
    two.node.pool_watch.check()
    two.shut_down()
    with pytest.raises(errors.MooringError):
        two.node.create_volume(two.spec("new", BAD))
    assert any("has failed" in note for note in two.node.pool_watch.check())
    two.watch(lambda: two.status(BAD).healthy)
    two.node.create_volume(two.spec("new", BAD))


def test_an_agent_that_starts_on_a_dead_pool_opens_it_once_it_is_free(two: TwoPools) -> None:
    two.shut_down()
    two.opener.close()
    two.node = two.start()
    assert "still attached" in two.status(BAD).message
    two.good_serves_on()
    # As when the node's containers are ended: mounts and devices go without the agent.
    for mount in real_storage.mounts_below(two.folder / "kubelet"):
        if f"/{BAD}" in mount:
            real_storage.unmount(Path(mount))
    for device in real_storage.attached_below(two.folder / "state" / "pools" / BAD):
        commands.run(["losetup", "-d", device])
    two.watch(lambda: two.status(BAD).healthy)
    two.publish(BAD)
    assert (two.target(BAD) / "data").read_bytes() == BAD.encode()
    two.end_pod(BAD)


def test_a_pool_whose_file_is_cut_short_fails_alone_and_nothing_is_made_in_its_place(
    two: TwoPools,
) -> None:
    image = two.folder / BAD / "pool.img"
    os.truncate(image, 64 * MIB)
    two.node.pool_watch.check(now=True)
    assert "was cut to" in two.status(BAD).message
    two.good_serves_on()
    with contextlib.suppress(errors.MooringError):
        two.end_pod(BAD)
    for _ in range(3):
        two.node.pool_watch.check(now=True)
    assert not two.status(BAD).healthy
    os.truncate(image, 400 * MIB)  # as the filesystem's own writes at its end may do
    two.node.pool_watch.check(now=True)
    assert not two.status(BAD).healthy
    two.good_serves_on()


def test_a_filesystem_that_went_read_only_after_an_error_is_noticed(scratch: Path) -> None:
    with real_storage.mounted(scratch, "ext4", 128 * MIB) as point:
        configuration = PoolConfiguration(BAD, pools.PoolBackend.DIRECTORY, point / "pool")
        opener = registry.NodeOpener([configuration], scratch / "state")
        node = LocalNode(
            ids.NodeName("node-a"), opener.open(), ThreadLocks(), registry.system_clock()
        )
        subprocess.run(["mount", "-o", "remount,errors=remount-ro", point], check=True)
        device = next(one for one in registry.kernel_host().mounts.table() if one.target == point)
        name = Path(device.source).name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")
        node.pool_watch.check(now=True)
        assert os.strerror(errno.EROFS) in node.list_pools()[0].message
        opener.close()


def test_an_empty_folder_where_a_pool_was_becomes_no_new_pool(scratch: Path) -> None:
    folder = scratch / "pool"
    configuration = PoolConfiguration(BAD, pools.PoolBackend.DIRECTORY, folder)
    opener = registry.PoolOpener(configuration, scratch / "state", registry.kernel_host())
    opener.open()
    opener.retire()
    folder.rename(scratch / "away")
    with pytest.raises(errors.DataCorrupt, match="nothing new is made in its place"):
        opener.open()
    assert not folder.exists()
    (scratch / "away").rename(folder)
    opener.open()
    opener.close()
