"""A pool whose space is low takes nothing new, frees its trash, and lets everybody out."""

import pytest

from mooring.domain import errors, ids, pools, volumes
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, World, spec

MIB = 1 << 20
ONE = ids.volume_id_for("one")
SNAP = ids.snapshot_id_for("s", ONE)
STAGING, TARGET = "/k/staging", "/k/target"


def _left_free(world: World, free_bytes: int) -> None:
    """Lets others fill the pool's disk."""
    total_bytes = world.images.capacity().total_bytes
    world.images.capacity = lambda: pools.PoolCapacity(total_bytes, free_bytes)  # type: ignore[method-assign]


def _taken(node: LocalNode, name: str = "one", **changes: object) -> ids.VolumeId:
    volume_id = node.create_volume(spec(name, **changes)).spec.volume_id
    node.publisher.stage(volume_id, STAGING, Access())
    node.publisher.publish(volume_id, Publication(STAGING, TARGET, Access()))
    return volume_id


def _given_back(node: LocalNode, volume_id: ids.VolumeId) -> None:
    node.publisher.unpublish(volume_id, TARGET)
    node.publisher.unstage(volume_id, STAGING)
    node.delete_volume(volume_id)


def test_nothing_new_is_taken_and_everybody_gets_out() -> None:
    world = World(10 * GIB)
    node = world.node()
    _taken(node)
    _left_free(world, GIB - 1)
    for refused in (
        lambda: node.create_volume(
            spec("two", size_bytes=MIB, filesystem=None, mode=volumes.VolumeMode.BLOCK)
        ),
        lambda: node.create_volume(spec("two", preallocated=True)),
        lambda: node.create_volume(spec("two", source=volumes.Source(volume_id=ONE))),
        lambda: node.create_snapshot(SNAP, "s", freeze_timeout_seconds=5),
        lambda: node.expand_volume(ONE, 2 * GIB),
    ):
        with pytest.raises(errors.SpaceExhausted, match="below 10% of a pool"):
            refused()
    (pool,) = node.list_pools()
    assert (pool.available_bytes, pool.healthy) == (0, True)
    assert "Delete volumes or snapshots" in pool.message
    node.expand_volume(ONE, GIB)
    node.publisher.unpublish(ONE, TARGET)
    node.publisher.publish(ONE, Publication(STAGING, TARGET, Access()))
    _given_back(node, ONE)
    assert ONE not in {one.record.spec.volume_id for one in node.list_volumes()}


def test_preallocated_volumes_fill_a_pool() -> None:
    node = World(10 * GIB).node()
    node.create_volume(spec("one", size_bytes=9 * GIB + GIB // 2, preallocated=True))
    (pool,) = node.list_pools()
    assert not pool.message
    assert pool.available_bytes > 200 * MIB
    node.create_volume(spec("two", size_bytes=200 * MIB, preallocated=True))


def test_the_watch_frees_no_more_than_is_needed() -> None:
    world = World(10 * GIB)
    node = world.node()
    for name in ("a", "b", "c"):
        _given_back(node, _taken(node, name, size_bytes=GIB, preallocated=True))
    node.create_volume(spec("live", size_bytes=GIB))
    assert not node.free_trash_for_low_space()
    world.images.allocate(ids.ImageId("somebody"), 6 * GIB + GIB // 2, preallocate=True)
    assert world.images.capacity().free_bytes == GIB // 2
    assert node.free_trash_for_low_space() == {"fast": 1}
    assert not node.free_trash_for_low_space()
    assert sorted(one.record.spec.name for one in node.list_volumes()) == ["b", "c", "live"]
