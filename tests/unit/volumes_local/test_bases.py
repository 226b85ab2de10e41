"""What is kept of a volume's last backup: one snapshot, in nobody's way, gone with its volume."""

from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from mooring.domain import errors, ids, pools, volumes
from mooring.domain.extents import ImageRanges, Range
from mooring.planning import admission, change_lists
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, World, spec

ONE = ids.volume_id_for("one")
FIRST, SECOND = (ids.snapshot_id_for(name, ONE) for name in ("first", "second"))
REPOSITORY = "f" * 32


def base(backup_id: str) -> volumes.BackupBase:
    return volumes.BackupBase(REPOSITORY, backup_id)


def snapshot(node: LocalNode, snapshot_id: ids.SnapshotId) -> None:
    node.create_snapshot(snapshot_id, str(snapshot_id), freeze_timeout_seconds=5)


def kept(node: LocalNode) -> dict[str, str]:
    return {one.snapshot_id: one.base.backup_id for one in node.list_snapshots() if one.base}


def backed_up(node: LocalNode, name: str = "one", size_bytes: int = GIB) -> ids.VolumeId:
    """Makes a volume with something in it, and keeps a base of it."""
    volume_id = node.create_volume(spec(name, size_bytes=size_bytes)).spec.volume_id
    node.publisher.stage(volume_id, "/k/staging", Access())
    node.publisher.unstage(volume_id, "/k/staging")
    snapshot_id = ids.snapshot_id_for("first", volume_id)
    snapshot(node, snapshot_id)
    node.keep_base(snapshot_id, base(f"bk-{name}"))
    return volume_id


def test_the_next_one_takes_its_place() -> None:
    node = World().node()
    backed_up(node)
    assert kept(node) == {FIRST: "bk-one"}
    snapshot(node, SECOND)
    assert kept(node) == {FIRST: "bk-one"}  # the old one stays until the new one stands
    node.keep_base(SECOND, base("bk-2"))
    node.keep_base(SECOND, base("bk-2"))
    assert kept(node) == {SECOND: "bk-2"}
    assert [one.snapshot_id for one in node.list_snapshots()] == [SECOND]


def test_of_two_the_newer_is_kept_whichever_backup_ended_first() -> None:
    node = World().node()
    node.create_volume(spec("one"))
    snapshot(node, FIRST)
    snapshot(node, SECOND)
    node.keep_base(SECOND, base("bk-2"))
    node.keep_base(FIRST, base("bk-1"))
    assert kept(node) == {SECOND: "bk-2"}
    assert [one.snapshot_id for one in node.list_snapshots()] == [SECOND]


def test_it_survives_its_agent() -> None:
    world = World()
    backed_up(world.node())
    node = world.node()
    node.recover()
    assert kept(node) == {FIRST: "bk-one"}


def test_other_snapshots_are_left_alone() -> None:
    node = World().node()
    backed_up(node)
    other = ids.snapshot_id_for("users", ONE)
    snapshot(node, other)
    snapshot(node, SECOND)
    node.keep_base(SECOND, base("bk-2"))
    assert {one.snapshot_id for one in node.list_snapshots()} == {other, SECOND}


def test_it_goes_with_its_volume() -> None:
    world = World()
    node = world.node()
    volume_id = backed_up(node)
    node.delete_volume(volume_id)
    assert node.list_snapshots() == []
    assert world.images.images().keys().isdisjoint({FIRST})


def test_a_base_of_a_volume_that_is_gone_is_dropped() -> None:
    world = World()
    backed_up(world.node())
    del world.records.volumes[ONE]
    node = world.node()
    assert any("a volume that is gone" in note for note in node.recover())
    assert node.list_snapshots() == []


@pytest.mark.parametrize("state", [volumes.VolumeState.FILLING, volumes.VolumeState.DELETING])
def test_only_of_a_volume_that_is_there(state: volumes.VolumeState) -> None:
    world = World()
    node = world.node()
    backed_up(node)
    snapshot(node, SECOND)
    world.records.volumes[ONE] = replace(world.records.volumes[ONE], state=state)
    with pytest.raises(errors.PreconditionFailed):
        node.keep_base(SECOND, base("bk-2"))
    with pytest.raises(errors.NotFound):
        node.keep_base(ids.snapshot_id_for("no", ONE), base("bk-2"))
    assert kept(node) == {FIRST: "bk-one"}


def test_not_while_a_mover_has_it() -> None:
    node = World().node()
    backed_up(node)
    snapshot(node, SECOND)
    handle, target = f"snapshot/{SECOND}", "/k/pod/device"
    node.exposures.expose(handle, target, read_only=True, group_id=65532)
    with pytest.raises(errors.InUse):
        node.keep_base(SECOND, base("bk-2"))
    assert kept(node) == {FIRST: "bk-one"}
    node.exposures.unexpose(handle, target)
    node.keep_base(SECOND, base("bk-2"))


def test_a_pool_of_whole_copies_keeps_none() -> None:
    node = World(snapshots_while_published=False).node()
    node.create_volume(spec("one"))
    snapshot(node, FIRST)
    with pytest.raises(errors.Unsupported, match="cannot tell what changed"):
        node.keep_base(FIRST, base("bk-1"))


def test_it_is_promised_and_makes_room_when_that_is_needed() -> None:
    world = World(10 * GIB)
    node = world.node()
    backed_up(node, size_bytes=2 * GIB)
    backed_up(node, "two", size_bytes=2 * GIB)
    for name, seconds in (("one", 1), ("two", 2)):
        snapshot_id = ids.snapshot_id_for("first", ids.volume_id_for(name))
        record = world.records.snapshots[snapshot_id]
        moment = record.created_at.replace(year=2029, second=seconds)
        world.records.snapshots[snapshot_id] = replace(record, created_at=moment, preallocated=True)
    (pool,) = world.node().list_pools()
    assert pool.provisioned_bytes == 8 * GIB
    assert pool.available_bytes > 5 * GIB  # what is kept can go
    node = world.node()
    node.create_volume(spec("three", size_bytes=3 * GIB))
    assert kept(node) == {ids.snapshot_id_for("first", ids.volume_id_for("two")): "bk-two"}
    node.create_volume(spec("four", size_bytes=2 * GIB))
    assert kept(node) == {}


def test_nothing_is_dropped_for_what_is_refused_all_the_same() -> None:
    world = World(10 * GIB)
    node = world.node()
    backed_up(node, size_bytes=2 * GIB)
    with pytest.raises(errors.SpaceExhausted):
        node.create_volume(spec("two", size_bytes=9 * GIB))
    assert kept(node) == {FIRST: "bk-one"}


def test_the_trash_goes_before_it_when_space_is_low() -> None:
    world = World(10 * GIB)
    node = world.node()
    deleted = node.create_volume(spec("old", size_bytes=GIB, preallocated=True)).spec.volume_id
    node.publisher.stage(deleted, "/k/staging", Access())
    node.publisher.unstage(deleted, "/k/staging")
    node.delete_volume(deleted)
    backed_up(node)
    world.images.allocate(ids.ImageId("somebody"), 8 * GIB + GIB // 2, preallocate=True)
    assert node.free_trash_for_low_space() == {"fast": 1}
    assert kept(node) == {FIRST: "bk-one"}
    world.images.allocate(ids.ImageId("somebody-else"), GIB, preallocate=True)
    assert node.free_trash_for_low_space() == {"fast": 1}
    assert kept(node) == {}


def test_without_bases_a_budget_is_what_it_would_be() -> None:
    capacity = pools.PoolCapacity(100 * GIB, 50 * GIB)
    volume = admission.Promise(30 * GIB, 10 * GIB, size_bytes=30 * GIB)
    held = admission.Promise(10 * GIB, 10 * GIB, base_bytes=10 * GIB)
    found = admission.budget(capacity, [volume, held]).without_bases
    alone = admission.budget(pools.PoolCapacity(100 * GIB, 60 * GIB), [volume])
    assert found == alone


def since(
    node: LocalNode, snapshot_id: ids.SnapshotId
) -> AbstractContextManager[tuple[change_lists.Head, ImageRanges]]:
    return node.changes.since_base(snapshot_id)


def test_what_changed_since_it() -> None:
    world = World()
    node = world.node()
    backed_up(node)
    world.images.write(ids.ImageId(ONE), 8192, b"new")
    snapshot(node, SECOND)
    with since(node, SECOND) as (head, image):
        assert head == change_lists.Head(GIB, base("bk-one"), GIB)
        assert list(image.ranges) == [Range(8192, 4096)]
    with since(node, FIRST) as (head, image):  # nothing is its own base
        assert (head.since, list(image.ranges)) == (None, [])
    with node.read_ranges(SECOND, FIRST) as image:
        assert list(image.ranges) == [Range(8192, 4096)]
    world.images.remove(ids.ImageId(FIRST))  # dropped meanwhile
    with since(node, SECOND) as (head, image):
        assert (head.since, list(image.ranges)) == (None, [])
    with pytest.raises(errors.NotFound), since(node, ids.snapshot_id_for("no", ONE)):
        pass


def test_a_newer_one_is_no_base_of_an_older_snapshot() -> None:
    node = World().node()
    backed_up(node)
    snapshot(node, SECOND)
    third = ids.snapshot_id_for("third", ONE)
    snapshot(node, third)
    node.keep_base(third, base("bk-3"))
    with since(node, SECOND) as (head, _):
        assert head.since is None


def copied(name: str, source: ids.SnapshotId) -> volumes.VolumeSpec:
    return spec(name, size_bytes=4 * GIB, source=volumes.Source(snapshot_id=source), filling=True)


def test_what_a_volume_is_copied_from_makes_no_room_for_it() -> None:
    world = World(10 * GIB)
    node = world.node()
    backed_up(node, size_bytes=3 * GIB)
    world.records.snapshots[FIRST] = replace(world.records.snapshots[FIRST], preallocated=True)
    node = world.node()
    with pytest.raises(errors.SpaceExhausted):
        node.create_volume(copied("restored", FIRST))
    assert kept(node) == {FIRST: "bk-one"}
    node.create_volume(spec("empty", size_bytes=4 * GIB))
    assert kept(node) == {}


def test_nothing_drops_it_before_the_copy_is_made() -> None:
    world = World(10 * GIB)
    node = world.node()
    backed_up(node)
    snapshot(node, SECOND)
    copy, somebody = world.images.copy, ids.ImageId("somebody")
    kept_meanwhile = []

    def others_come(*arguments: object, **named: object) -> None:
        node.keep_base(SECOND, base("bk-2"))
        kept_meanwhile.append(kept(node))
        world.images.allocate(somebody, 9 * GIB + GIB // 2, preallocate=True)
        node.free_trash_for_low_space()
        kept_meanwhile.append(kept(node))
        world.images.remove(somebody)
        copy(*arguments, **named)  # type: ignore[arg-type]

    world.images.copy = others_come  # type: ignore[method-assign]
    made = node.create_volume(copied("restored", FIRST))
    assert made.state is volumes.VolumeState.FILLING
    assert kept_meanwhile == [{FIRST: "bk-one", SECOND: "bk-2"}, {FIRST: "bk-one"}]
    third = ids.snapshot_id_for("third", ONE)
    world.images.copy = copy  # type: ignore[method-assign]
    snapshot(node, third)
    node.keep_base(third, base("bk-3"))
    assert kept(node) == {third: "bk-3"}
