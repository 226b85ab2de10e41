"""What the use cases of one node refuse, and what they promise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mooring.domain import errors, ids, volumes
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, POOL, Killed, World, spec

ONE = ids.volume_id_for("one")
TWO = ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)
STAGING = "/k/staging"
TARGET = "/k/pod/mount"
OTHER = "/k/other/mount"
BLOCK = Access(mode=volumes.VolumeMode.BLOCK)


def _used(world: World) -> LocalNode:
    node = world.node()
    node.create_volume(spec("one"))
    node.publisher.stage(ONE, STAGING, Access())
    node.publisher.publish(ONE, Publication(STAGING, TARGET, Access()))
    return node


class TestCreate:
    def test_the_same_spec_returns_the_same_volume(self) -> None:
        world = World()
        first = world.node().create_volume(spec("one"))
        again = world.node().create_volume(spec("one", labels={"claim": "new"}))
        assert again == first
        assert len(world.images.images()) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"size_bytes": 2 * GIB},
            {"filesystem": volumes.FilesystemType.XFS},
            {"mode": volumes.VolumeMode.BLOCK, "filesystem": None},
            {"preallocated": True},
            {"filling": True},
            {"source": volumes.Source(volume_id=TWO)},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_the_same_name_with_something_else_is_refused(self, changes: dict[str, Any]) -> None:
        node = World().node()
        node.create_volume(spec("one"))
        with pytest.raises(errors.AlreadyExists, match=next(iter(changes))):
            node.create_volume(spec("one", **changes))

    @pytest.mark.parametrize("size_bytes", [0, -1, GIB + 1, 101 * GIB, 1 << 63])
    def test_impossible_sizes_are_refused_and_leave_nothing(self, size_bytes: int) -> None:
        world = World()
        with pytest.raises(errors.SizeOutOfRange):
            world.node().create_volume(spec("one", size_bytes=size_bytes))
        assert world.state() == World().state()

    def test_an_xfs_smaller_than_xfs_can_be_is_refused(self) -> None:
        with pytest.raises(errors.SizeOutOfRange, match="300Mi"):
            World().node().create_volume(
                spec("one", size_bytes=100 << 20, filesystem=volumes.FilesystemType.XFS)
            )

    def test_a_filesystem_that_this_kernel_cannot_carry_is_refused_before_it_takes_space(
        self,
    ) -> None:
        world = World()
        world.kernel.uncarried.add(volumes.FilesystemType.BTRFS)
        with pytest.raises(errors.Unsupported, match="newer kernel"):
            world.node().create_volume(spec("one", filesystem=volumes.FilesystemType.BTRFS))
        assert world.state() == World().state()

    def test_an_unknown_pool_is_not_found(self) -> None:
        with pytest.raises(errors.NotFound, match="no pool"):
            World().node().create_volume(spec("one", pool=ids.PoolName("slow")))

    def test_space_is_reserved_when_it_is_promised(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        node.create_volume(spec("one", size_bytes=6 * GIB))
        with pytest.raises(errors.SpaceExhausted, match=r"only 3\.8 GiB more"):
            node.create_volume(spec("two", size_bytes=4 * GIB))
        assert list(world.records.volumes) == [ONE]

    def test_a_disk_that_is_full_in_the_middle_leaves_nothing(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        # Someone else's bytes arrive between the check and the act.
        world.images.allocate(ids.ImageId("foreign.cut"), 9 * GIB, preallocate=True)
        world.images.remove(ids.ImageId("foreign.cut"))
        allocate = world.images.allocate

        def full(image: ids.ImageId, size_bytes: int, *, preallocate: bool) -> None:
            del image, size_bytes, preallocate
            raise errors.SpaceExhausted("the pool's disk is full")

        world.images.allocate = full  # type: ignore[method-assign]
        with pytest.raises(errors.SpaceExhausted):
            node.create_volume(spec("one"))
        assert world.state() == World().state()
        world.images.allocate = allocate  # type: ignore[method-assign]
        assert node.create_volume(spec("one")).state is volumes.VolumeState.READY

    def test_a_pool_with_an_unreadable_record_takes_no_new_volumes(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        world.records.faults = ("the record x.json cannot be read",)
        node = world.node()  # records are read when a pool is opened
        with pytest.raises(errors.HostFailure, match=r"x\.json"):
            node.create_volume(spec("two"))
        assert [one.record.spec.volume_id for one in node.list_volumes()] == [ONE]
        (pool,) = node.list_pools()
        assert (pool.healthy, pool.available_bytes) == (False, 0)


class TestClones:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"size_bytes": GIB // 2}, errors.SizeOutOfRange),
            ({"filesystem": volumes.FilesystemType.BTRFS}, errors.InvalidInput),
            ({"mode": volumes.VolumeMode.BLOCK, "filesystem": None}, errors.InvalidInput),
            ({"sector_size_bytes": 512}, errors.InvalidInput),
            ({"filling": True}, errors.InvalidInput),
        ],
    )
    def test_a_clone_that_cannot_be_is_refused(
        self, changes: dict[str, Any], error: type[Exception]
    ) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        with pytest.raises(error):
            node.create_volume(spec("two", source=volumes.Source(volume_id=ONE), **changes))
        assert list(world.records.volumes) == [ONE]

    def test_what_a_restore_fills_may_begin_as_a_snapshot_of_this_node_alone(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        elsewhere = volumes.Source(snapshot_id=SNAP, node=ids.NodeName("other"))
        with pytest.raises(errors.InvalidInput, match="of this node"):
            node.create_volume(spec("two", source=elsewhere, filling=True))
        source = volumes.Source(snapshot_id=SNAP)
        made = node.create_volume(spec("two", source=source, filling=True))
        assert made.state is volumes.VolumeState.FILLING
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.stage(TWO, STAGING, Access())
        assert node.finish_filling(TWO).formatted

    def test_a_missing_source_is_not_found(self) -> None:
        node = World().node()
        with pytest.raises(errors.NotFound):
            node.create_volume(spec("two", source=volumes.Source(volume_id=ONE)))
        with pytest.raises(errors.NotFound):
            node.create_volume(spec("two", source=volumes.Source(snapshot_id=SNAP)))

    def test_the_clone_of_a_volume_in_use_is_cut_while_it_is_frozen(self) -> None:
        world = World()
        node = _used(world)
        seen: list[set[ids.ImageId]] = []
        world.kernel.during_freeze.append(lambda: seen.append(set(world.images.images())))
        node.create_volume(spec("two", source=volumes.Source(volume_id=ONE), preallocated=True))
        assert seen == [{ids.ImageId(ONE)}]
        assert set(world.images.images()) == {ids.ImageId(ONE), ids.ImageId(TWO)}
        assert not world.kernel.frozen_at

    def test_the_clone_of_a_volume_that_was_never_mounted_is_formatted_when_staged(self) -> None:
        node = World().node()
        node.create_volume(spec("one"))
        clone = node.create_volume(spec("two", source=volumes.Source(volume_id=ONE)))
        assert not clone.formatted
        node.publisher.stage(TWO, STAGING, Access())
        assert node.list_volumes()[0].record.spec.volume_id in (ONE, TWO)

    def test_a_pool_that_copies_whole_images_refuses_volumes_in_use(self) -> None:
        world = World(snapshots_while_published=False)
        node = _used(world)
        with pytest.raises(errors.Unsupported):
            node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        with pytest.raises(errors.Unsupported):
            node.create_volume(spec("two", source=volumes.Source(volume_id=ONE)))
        assert not world.records.snapshots
        node.publisher.unpublish(ONE, TARGET)
        node.publisher.unstage(ONE, STAGING)
        assert node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5).size_bytes == GIB


class TestSnapshots:
    def test_a_snapshot_is_taken_once_and_outlives_its_volume(self) -> None:
        world = World()
        node = _used(world)
        first = node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        assert node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5) == first
        node.publisher.unpublish(ONE, TARGET)
        node.publisher.unstage(ONE, STAGING)
        node.delete_volume(ONE)
        assert node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5) == first
        restored = node.create_volume(spec("two", source=volumes.Source(snapshot_id=SNAP)))
        assert restored.formatted
        assert world.images.content[ids.ImageId(TWO)] == "ext4"

    def test_a_snapshot_that_the_watchdog_ended_is_no_snapshot(self) -> None:
        world = World()
        node = _used(world)
        world.kernel.watchdog_strikes = True
        with pytest.raises(errors.HostFailure):
            node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        assert not world.records.snapshots
        assert set(world.images.images()) == {ids.ImageId(ONE)}

    def test_a_preallocated_volume_costs_its_size_again_for_each_snapshot(self) -> None:
        node = World(10 * GIB).node()
        node.create_volume(spec("one", size_bytes=4 * GIB, preallocated=True))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        assert node.list_pools()[0].provisioned_bytes == 8 * GIB
        with pytest.raises(errors.SpaceExhausted):
            node.create_snapshot(
                ids.snapshot_id_for("second", ONE), "second", freeze_timeout_seconds=5
            )
        assert [one.snapshot_id for one in node.list_snapshots()] == [SNAP]
        node.delete_snapshot(SNAP)
        assert node.list_pools()[0].provisioned_bytes == 4 * GIB

    def test_deleting_an_absent_or_exposed_snapshot(self) -> None:
        node = World().node()
        node.delete_snapshot(SNAP)
        node.create_volume(spec("one"))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        node.exposures.expose(f"snapshot/{SNAP}", TARGET, read_only=True, group_id=7)
        with pytest.raises(errors.InUse):
            node.delete_snapshot(SNAP)

    def test_a_snapshot_of_nothing_is_not_found(self) -> None:
        with pytest.raises(errors.NotFound):
            World().node().create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)


class TestExpand:
    def test_growing_follows_to_the_device_and_shrinking_changes_nothing(self) -> None:
        world = World()
        node = _used(world)
        assert node.expand_volume(ONE, 2 * GIB).spec.size_bytes == 2 * GIB
        assert world.kernel.attached()[0].size_bytes == 2 * GIB
        assert node.expand_volume(ONE, GIB).spec.size_bytes == 2 * GIB
        assert node.publisher.node_expand(ONE, TARGET) == 2 * GIB

    def test_without_room_the_volume_keeps_its_size(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        node.create_volume(spec("one", preallocated=True))
        with pytest.raises(errors.SpaceExhausted):
            node.expand_volume(ONE, 10 * GIB)
        assert node.list_volumes()[0].record.spec.size_bytes == GIB
        assert world.records.volumes[ONE].growing_to_bytes is None

    @pytest.mark.parametrize("size_bytes", [2 * GIB + 1, 200 * GIB])
    def test_impossible_sizes_are_refused(self, size_bytes: int) -> None:
        node = World().node()
        node.create_volume(spec("one"))
        with pytest.raises(errors.SizeOutOfRange):
            node.expand_volume(ONE, size_bytes)


class TestFullPool:
    """Not even a record of some bytes can be written, and only deletions make room."""

    def test_volumes_and_snapshots_are_deleted_all_the_same(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        world.records.full = True
        with pytest.raises(errors.SpaceExhausted):
            node.create_volume(spec("two"))
        node.delete_snapshot(SNAP)
        node.delete_volume(ONE)
        assert world.state() == World().state()

    def test_a_deletion_killed_in_the_middle_is_ended_by_its_retry(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        world.records.full = True
        world.killer.arm(4)  # after the record that could not be written, and both images
        with pytest.raises(Killed):
            node.delete_volume(ONE)
        world.killer.disarm()
        assert list(world.records.volumes) == [ONE]
        assert not world.images.images()
        node = world.node()
        node.recover()
        node.delete_volume(ONE)
        assert world.state() == World().state()


class TestStage:
    def test_foreign_content_on_a_new_volume_is_never_formatted(self) -> None:
        for content in ("xfs", "garbage"):
            world = World()
            node = world.node()
            node.create_volume(spec("one"))
            world.images.content[ids.ImageId(ONE)] = content
            with pytest.raises(errors.DataCorrupt):
                node.publisher.stage(ONE, STAGING, Access())
            assert world.images.content[ids.ImageId(ONE)] == content
            assert not world.kernel.devices

    @pytest.mark.parametrize("content", [None, "xfs", "garbage"])
    def test_a_formatted_volume_is_never_formatted_again(self, content: str | None) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.publisher.stage(ONE, STAGING, Access())
        node.publisher.unstage(ONE, STAGING)
        if content is None:
            del world.images.content[ids.ImageId(ONE)]
        else:
            world.images.content[ids.ImageId(ONE)] = content
        with pytest.raises(errors.DataCorrupt):
            node.publisher.stage(ONE, STAGING, Access())
        assert world.images.content.get(ids.ImageId(ONE)) == content
        assert not world.kernel.devices

    @pytest.mark.parametrize(
        "access",
        [
            BLOCK,
            Access(filesystem=volumes.FilesystemType.XFS),
            Access(mount_flags=("nobarrier",)),
            Access(mount_flags=("noatime,suid",)),
        ],
    )
    def test_another_way_than_the_volumes_is_refused(self, access: Access) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        with pytest.raises(errors.InvalidInput):
            node.publisher.stage(ONE, STAGING, access)
        assert not world.kernel.devices

    def test_a_filling_volume_is_never_staged(self) -> None:
        node = World().node()
        node.create_volume(spec("one", filling=True))
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.stage(ONE, STAGING, Access())

    def test_what_is_mounted_there_already_is_left_alone(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.create_volume(spec("two"))
        node.publisher.stage(TWO, STAGING, Access())
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.stage(ONE, STAGING, Access())
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.unstage(ONE, STAGING)
        assert len(world.kernel.mounts) == 1

    def test_unstaging_a_published_volume_is_refused(self) -> None:
        world = World()
        node = _used(world)
        with pytest.raises(errors.InUse):
            node.publisher.unstage(ONE, STAGING)
        with pytest.raises(errors.InUse):
            node.delete_volume(ONE)
        assert world.kernel.devices


class TestPublish:
    def test_the_second_call_matrix(self) -> None:
        node = _used(World())
        one = Publication(STAGING, TARGET, Access())
        node.publisher.publish(ONE, one)
        with pytest.raises(errors.AlreadyExists):
            node.publisher.publish(ONE, replace(one, read_only=True))
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.publish(ONE, replace(one, target_path=OTHER, single_target=True))
        node.publisher.publish(ONE, replace(one, single_target=True))
        node.publisher.publish(ONE, replace(one, target_path=OTHER))

    def test_the_second_call_matrix_of_block_volumes(self) -> None:
        node = World().node()
        node.create_volume(spec("one", mode=volumes.VolumeMode.BLOCK, filesystem=None))
        node.publisher.stage(ONE, STAGING, BLOCK)
        one = Publication(STAGING, TARGET, BLOCK)
        node.publisher.publish(ONE, one)
        node.publisher.publish(ONE, one)
        with pytest.raises(errors.AlreadyExists):
            node.publisher.publish(ONE, replace(one, read_only=True))
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.publish(ONE, replace(one, target_path=OTHER, single_target=True))
        node.publisher.publish(ONE, replace(one, target_path=OTHER, read_only=True))

    def test_a_read_only_block_volume_has_a_device_of_its_own_while_it_is_published(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one", mode=volumes.VolumeMode.BLOCK, filesystem=None))
        node.publisher.stage(ONE, STAGING, BLOCK)
        node.publisher.publish(ONE, Publication(STAGING, TARGET, BLOCK, read_only=True))
        assert sorted(d.read_only for d in world.kernel.attached()) == [False, True]
        node.publisher.unpublish(ONE, TARGET)
        assert [d.read_only for d in world.kernel.attached()] == [False]

    def test_a_refused_read_only_device_is_taken_back(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one", mode=volumes.VolumeMode.BLOCK, filesystem=None))
        node.publisher.stage(ONE, STAGING, BLOCK)
        before = world.state()
        world.kernel.occupied.add(TARGET)
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.publish(ONE, Publication(STAGING, TARGET, BLOCK, read_only=True))
        assert world.state() == before

    def test_an_unstaged_volume_is_refused(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.publish(ONE, Publication(STAGING, TARGET, Access()))
        assert not world.kernel.mounts

    def test_a_vanished_staging_mount_is_made_again(self) -> None:
        world = World()
        node = _used(world)
        world.kernel.mounts = [m for m in world.kernel.mounts if str(m.target) != STAGING]
        node.publisher.publish(ONE, Publication(STAGING, OTHER, Access()))
        assert {str(m.target) for m in world.kernel.mounts} == {STAGING, TARGET, OTHER}
        assert {m.device for m in world.kernel.mounts} == {"7:0"}

    def test_unpublishing_leaves_what_is_not_the_volume(self) -> None:
        world = World()
        node = _used(world)
        node.create_volume(spec("two"))
        with pytest.raises(errors.PreconditionFailed):
            node.publisher.unpublish(TWO, TARGET)
        assert len(world.kernel.mounts) == 2
        node.publisher.unpublish(TWO, OTHER)

    def test_stats_and_paths(self) -> None:
        node = _used(World())
        stats = node.publisher.stats(ONE, TARGET)
        assert stats.size_bytes == GIB
        assert stats.usage is not None
        assert not stats.condition.abnormal
        for volume_id, path in ((ONE, OTHER), (TWO, TARGET)):
            with pytest.raises(errors.NotFound):
                node.publisher.stats(volume_id, path)
            with pytest.raises(errors.NotFound):
                node.publisher.node_expand(volume_id, path)


class TestExposures:
    def test_only_a_filling_volume_is_opened_for_writing(self) -> None:
        node = World().node()
        node.create_volume(spec("one"))
        with pytest.raises(errors.PreconditionFailed):
            node.exposures.expose(f"populate/{ONE}", TARGET, read_only=False, group_id=7)

    def test_a_snapshot_is_read_only_whatever_is_asked_for(self) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        node.exposures.expose(f"snapshot/{SNAP}", TARGET, read_only=False, group_id=7)
        (device,) = world.kernel.attached()
        assert device.read_only
        assert world.kernel.groups == {device.path: 7}
        node.exposures.unexpose(f"snapshot/{SNAP}", TARGET)
        assert not world.kernel.devices
        assert not world.kernel.groups

    @pytest.mark.parametrize("handle", [f"snapshot/{SNAP}", f"populate/{TWO}"])
    def test_a_target_that_is_something_else_leaves_nothing_attached(self, handle: str) -> None:
        world = World()
        node = world.node()
        node.create_volume(spec("one"))
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        node.create_volume(spec("two", filling=True))
        before = world.state()
        world.kernel.occupied.add(TARGET)
        with pytest.raises(errors.PreconditionFailed):
            node.exposures.expose(handle, TARGET, read_only=False, group_id=7)
        assert world.state() == before

    def test_a_volume_becomes_ready_only_when_its_mover_is_gone(self) -> None:
        node = World().node()
        node.create_volume(spec("one", filling=True))
        node.exposures.expose(f"populate/{ONE}", TARGET, read_only=False, group_id=7)
        with pytest.raises(errors.InUse):
            node.finish_filling(ONE)
        node.exposures.unexpose(f"populate/{ONE}", TARGET)
        done = node.finish_filling(ONE)
        assert (done.state, done.formatted) == (volumes.VolumeState.READY, True)
        assert node.finish_filling(ONE) == done
        with pytest.raises(errors.PreconditionFailed):
            node.exposures.expose(f"populate/{ONE}", TARGET, read_only=False, group_id=7)

    @pytest.mark.parametrize(
        "handle",
        ["", "snapshot/", "snapshot/../../etc", f"populate/{SNAP}", f"snapshot/{ONE}", str(ONE)],
    )
    def test_a_handle_that_is_none_is_not_found(self, handle: str) -> None:
        with pytest.raises(errors.NotFound):
            World().node().exposures.expose(handle, TARGET, read_only=True, group_id=7)


class TestBusy:
    @pytest.mark.parametrize(
        "act",
        [
            lambda node: node.delete_volume(ONE),
            lambda node: node.expand_volume(ONE, 2 * GIB),
            lambda node: node.publisher.unstage(ONE, STAGING),
            lambda node: node.publisher.unpublish(ONE, TARGET),
            lambda node: node.create_volume(spec("two", source=volumes.Source(volume_id=ONE))),
        ],
    )
    def test_nothing_else_happens_to_a_volume_while_it_is_frozen(
        self, act: Callable[[LocalNode], None]
    ) -> None:
        world = World()
        node = _used(world)
        refused: list[str] = []

        def attempt() -> None:
            with pytest.raises(errors.Busy) as caught:
                act(node)
            refused.append(str(caught.value))

        world.kernel.during_freeze.append(attempt)
        node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)
        assert len(refused) == 1

    def test_what_somebody_else_froze_is_not_unmounted_for_good(self) -> None:
        world = World()
        node = _used(world)
        world.kernel.frozen_at |= {Path(STAGING), Path(TARGET)}
        node.publisher.unpublish(ONE, TARGET)
        with pytest.raises(errors.Busy, match="thaw"):
            node.publisher.unstage(ONE, STAGING)
        assert [str(mount.target) for mount in world.kernel.mounts] == [STAGING]
        world.kernel.frozen_at.clear()
        node.publisher.unstage(ONE, STAGING)
        assert not world.kernel.mounts


class TestInventory:
    def test_a_lost_image_and_lost_direct_io_are_conditions(self) -> None:
        world = World()
        node = _used(world)
        node.create_volume(spec("two"))
        world.images.remove(ids.ImageId(TWO))
        by_id = {one.record.spec.volume_id: one for one in node.list_volumes()}
        assert by_id[ONE].published
        assert not by_id[ONE].condition.abnormal
        assert by_id[TWO].condition.abnormal
        assert "missing" in by_id[TWO].condition.message

    def test_pools_tell_what_they_can_take(self) -> None:
        node = World(10 * GIB).node()
        (pool,) = node.list_pools()
        assert pool.name == POOL
        node.create_volume(spec("one", size_bytes=sized(pool.available_bytes)))
        assert node.list_pools()[0].available_bytes == 0


def sized(size_bytes: int) -> int:
    return size_bytes - size_bytes % (1 << 20)
