"""A pool that could not be opened: nothing is claimed of its volumes, and the others serve on."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.agent import reporting
from mooring.domain import errors, ids, pools, volumes
from mooring.ports.pools import FailedPool
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support.fake_storage import POOL, World, spec

ONE = ids.volume_id_for("one")
ABSENT = ids.volume_id_for("absent")
SNAP = ids.snapshot_id_for("snap", ONE)
STAGING = "/k/staging"
TARGET = "/k/pod/mount"
SHUT = FailedPool(POOL, pools.PoolBackend.REFLINK, "its disk is gone")
OTHER_SHUT = FailedPool(ids.PoolName("slow"), pools.PoolBackend.REFLINK, "its disk is gone")
EXPECTED = "its disk is gone.*nothing is done to it until the pool is back"


@pytest.fixture
def world() -> World:
    """A machine whose volume is published and has a snapshot."""
    made = World()
    node = made.node()
    node.create_volume(spec("one"))
    node.publisher.stage(ONE, STAGING, Access())
    node.publisher.publish(ONE, Publication(STAGING, TARGET, Access()))
    node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=1)
    return made


ACTS: dict[str, Callable[[LocalNode], object]] = {
    "delete a volume": lambda node: node.delete_volume(ONE),
    "delete a snapshot": lambda node: node.delete_snapshot(SNAP),
    "expand": lambda node: node.expand_volume(ONE, 2 << 30),
    "finish filling": lambda node: node.finish_filling(ONE),
    "snapshot": lambda node: node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=1),
    "create in it": lambda node: node.create_volume(spec("two")),
    "stage": lambda node: node.publisher.stage(ONE, STAGING, Access()),
    "unstage": lambda node: node.publisher.unstage(ONE, STAGING),
    "unpublish": lambda node: node.publisher.unpublish(ONE, TARGET),
    "stats": lambda node: node.publisher.stats(ONE, TARGET),
    "unexpose": lambda node: node.exposures.unexpose(f"snapshot/{SNAP}", TARGET),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_nothing_is_said_or_done_about_its_volumes(
    world: World, act: Callable[[LocalNode], object]
) -> None:
    before = world.state()
    with pytest.raises(errors.HostFailure, match="its disk is gone"):
        act(world.node(failed=[SHUT]))
    assert world.state() == before


def test_the_error_says_what_to_do(world: World) -> None:
    with pytest.raises(errors.HostFailure, match=EXPECTED):
        world.node(failed=[SHUT]).delete_volume(ONE)


def test_a_pod_whose_mount_is_gone_can_still_go(world: World) -> None:
    world.kernel.unmount(Path(TARGET))  # as after a reboot
    world.node(failed=[SHUT]).publisher.unpublish(ONE, TARGET)


def test_the_other_pools_serve_on(world: World) -> None:
    node = world.node(failed=[OTHER_SHUT])
    node.publisher.unpublish(ONE, TARGET)
    node.publisher.unstage(ONE, STAGING)
    node.delete_volume(ONE)
    node.delete_snapshot(SNAP)
    node.create_volume(spec("two"))
    live = [one for one in node.list_volumes() if one.record.state is volumes.VolumeState.READY]
    assert [one.record.spec.name for one in live] == ["two"]
    with pytest.raises(errors.HostFailure, match=EXPECTED):
        node.delete_volume(ABSENT)


def test_the_agent_still_reports_and_keeps_what_it_cannot_carry_out(world: World) -> None:
    catalogue, name = MemoryCatalogue(), ids.NodeName("node-a")
    reporting.Reporter(catalogue, name, world.node()).run_once()
    catalogue.request_deletion(ONE)
    catalogue.request_snapshot_deletion(SNAP)
    reporter = reporting.Reporter(catalogue, name, world.node(failed=[SHUT]))
    reporter.run_once()
    assert reporter.wait_for_first(0)
    [entry] = catalogue.entries()
    assert entry.deletion_requested
    assert entry.snapshot_deletions == (SNAP,)
    assert [one.snapshot_id for one in entry.snapshots] == [SNAP]


def test_a_pool_whose_volumes_could_not_be_listed_is_not_called_read(world: World) -> None:
    catalogue, name = MemoryCatalogue(), ids.NodeName("node-a")
    node = world.node()
    node.publisher.unpublish(ONE, TARGET)
    node.publisher.unstage(ONE, STAGING)
    node.delete_volume(ONE)
    reporter = reporting.Reporter(catalogue, name, node)
    reporter.run_once()
    in_trash = {entry.spec.volume_id for entry in catalogue.entries() if entry.trashed}
    assert in_trash
    images = world.images.images

    def broken() -> object:
        world.images.images = images  # type: ignore[method-assign]
        raise OSError(errno.EIO, "Input/output error")

    world.images.images = broken  # type: ignore[method-assign,assignment]
    reporter.run_once()
    assert {entry.spec.volume_id for entry in catalogue.entries() if entry.trashed} == in_trash
    (pool,) = node.list_pools()
    assert (pool.healthy, "Input/output error" in pool.message) == (False, True)
