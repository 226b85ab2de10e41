"""Deleted volumes are kept for a while, are in nobody's way, and come back when asked for."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, ids, volumes
from mooring.planning import trash
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, World, spec

MIB = 1 << 20
STAGING = "/k/staging"


def _used(node: LocalNode, name: str, **changes: object) -> ids.VolumeId:
    """Makes a volume that a pod has had."""
    volume_id = node.create_volume(spec(name, **changes)).spec.volume_id
    node.publisher.stage(volume_id, STAGING, Access())
    node.publisher.unstage(volume_id, STAGING)
    return volume_id


def _trashed(node: LocalNode) -> dict[str, volumes.VolumeRecord]:
    return {
        one.record.spec.name: one.record
        for one in node.list_volumes()
        if one.record.state is volumes.VolumeState.TRASHED
    }


def _written(world: World, node: LocalNode, name: str, size_bytes: int) -> ids.VolumeId:
    """Makes, uses, fills and deletes a volume; returns its id in the trash."""
    volume_id = _used(node, name, size_bytes=size_bytes, preallocated=True)
    world.images.write(ids.ImageId(volume_id), 0, name.encode())
    node.delete_volume(volume_id)
    return _trashed(node)[name].spec.volume_id


class TestKeeping:
    def test_what_is_recreated_is_new_and_the_old_one_can_still_come_back(self) -> None:
        world = World()
        node = world.node()
        trashed = _written(world, node, "one", GIB)
        anew = node.create_volume(spec("one", preallocated=True))
        assert anew.spec.volume_id != trashed
        assert world.images.read(ids.ImageId(anew.spec.volume_id), 0, 3) == bytes(3)
        node = world.node()  # another process
        node.recover()
        node.undelete_volume(trashed)
        assert node.undelete_volume(trashed).state is volumes.VolumeState.READY
        assert world.images.read(ids.ImageId(trashed), 0, 3) == b"one"
        node.publisher.stage(trashed, STAGING, Access())
        assert world.images.read(ids.ImageId(anew.spec.volume_id), 0, 3) == bytes(3)

    def test_it_can_be_deleted_again_and_again(self) -> None:
        world = World()
        node = world.node()
        first = _written(world, node, "one", GIB)
        node.delete_volume(first)  # it is deleted already
        node.undelete_volume(first)
        node.delete_volume(first)
        (second,) = (record.spec.volume_id for record in _trashed(node).values())
        assert second != first
        assert world.images.read(ids.ImageId(second), 0, 3) == b"one"

    @pytest.mark.parametrize(
        ("changes", "staged"),
        [({}, False), ({"filling": True}, False),
         ({"mode": volumes.VolumeMode.BLOCK, "filesystem": None}, False)],
        ids=["never formatted", "filling", "untouched block"],
    )  # fmt: skip
    def test_what_never_held_data_goes_at_once(
        self, changes: dict[str, object], staged: bool
    ) -> None:
        world = World()
        node = world.node()
        node.delete_volume(node.create_volume(spec("one", **changes)).spec.volume_id)
        assert not node.list_volumes()
        assert not world.images.images()

    def test_a_raw_block_volume_that_was_written_is_kept(self) -> None:
        world = World()
        node = world.node()
        asked = spec("one", mode=volumes.VolumeMode.BLOCK, filesystem=None)
        node.create_volume(asked)
        world.images.write(ids.ImageId(asked.volume_id), 0, b"x")
        node.delete_volume(asked.volume_id)
        assert list(_trashed(node)) == ["one"]

    def test_a_deletion_that_is_ended_late_leaves_what_was_brought_back(self) -> None:
        world = World()
        node = world.node()
        deleting: list[volumes.VolumeRecord] = []
        put = world.records.put_volume

        def watched(record: volumes.VolumeRecord) -> None:
            put(record)
            if record.state is volumes.VolumeState.DELETING:
                deleting.append(record)

        world.records.put_volume = watched  # type: ignore[method-assign]
        trashed = _written(world, node, "one", GIB)
        node.undelete_volume(trashed)
        world.records.volumes[deleting[0].spec.volume_id] = deleting[0]  # as a kill may leave it
        world.node().recover()
        (left,) = world.node().list_volumes()
        assert (left.record.spec.volume_id, left.record.state) == (
            trashed,
            volumes.VolumeState.READY,
        )

    def test_without_a_retention_nothing_is_kept(self) -> None:
        world = World()
        world.trash_retention = timedelta()
        node = world.node()
        node.delete_volume(_used(node, "one"))
        assert world.state()[:3] == World().state()[:3]

    def test_what_is_in_the_trash_is_not_used_or_copied(self) -> None:
        world = World()
        node = world.node()
        trashed = _written(world, node, "one", GIB)
        for act in (
            lambda: node.publisher.stage(trashed, STAGING, Access()),
            lambda: node.expand_volume(trashed, 2 * GIB),
            lambda: node.create_volume(spec("two", source=volumes.Source(volume_id=trashed))),
            lambda: node.finish_filling(trashed),
        ):
            with pytest.raises(errors.PreconditionFailed, match="undelete"):
                act()


class TestFreeing:
    def test_its_room_counts_as_free_and_the_oldest_is_freed_for_who_needs_it(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        before = node.list_pools()[0].available_bytes
        ages = {name: _written(world, node, name, 2 * GIB) for name in ("b", "a", "c")}
        node = world.node()
        pool = node.list_pools()[0]
        assert pool.available_bytes == before
        assert pool.provisioned_bytes == 0
        assert pool.capacity.free_bytes == 4 * GIB
        node.create_volume(spec("small", size_bytes=3 * GIB, preallocated=True))
        assert set(_trashed(node)) == {"a", "b", "c"}
        node.create_volume(spec("more", size_bytes=2 * GIB, preallocated=True))
        assert set(_trashed(node)) == {"a", "c"}, "the oldest goes, and no more than is needed"
        node.expand_volume(ids.volume_id_for("more"), 4 * GIB)
        assert set(_trashed(node)) == {"c"}
        with pytest.raises(errors.NotFound):
            node.undelete_volume(ages["b"])

    def test_who_fits_nowhere_frees_nothing(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        _written(world, node, "old", 2 * GIB)
        node.create_volume(spec("live", size_bytes=4 * GIB, preallocated=True))
        with pytest.raises(errors.SpaceExhausted):
            node.create_volume(spec("large", size_bytes=6 * GIB, preallocated=True))
        assert set(_trashed(node)) == {"old"}

    def test_what_was_freed_counts_once(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        _written(world, node, "old", 4 * GIB)
        world.clock.moment += timedelta(hours=25)
        with_trash = node.list_pools()[0].available_bytes
        node.free_expired_trash()
        assert node.list_pools()[0].available_bytes == with_trash

    def test_a_snapshot_frees_it_too(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        _written(world, node, "old", 4 * GIB)
        live = _used(node, "live", size_bytes=4 * GIB, preallocated=True)
        node.create_snapshot(ids.snapshot_id_for("s", live), "s", freeze_timeout_seconds=5)
        assert not _trashed(node)

    def test_a_record_that_the_disk_took_and_refused_does_not_stay_without_its_image(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(10 * GIB)
        node = world.node()
        volume_id = _used(node, "old", size_bytes=GIB)
        records = world.records
        put = records.put_volume

        def refused(record: volumes.VolumeRecord) -> None:
            put(record)
            if record.state is volumes.VolumeState.TRASHED:
                raise errors.SpaceExhausted("the folder could not be synced")

        monkeypatch.setattr(records, "put_volume", refused)
        node.delete_volume(volume_id)
        assert not node.list_volumes()
        assert not world.images.images()

    def test_a_record_without_room_frees_the_oldest_and_the_image_keeps_its_record(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(10 * GIB)
        node = world.node()
        _written(world, node, "older", GIB)
        volume_id = _used(node, "old", size_bytes=GIB)
        put = world.records.put_volume

        def refused(record: volumes.VolumeRecord) -> None:
            if record.spec.name == "old" and record.state is volumes.VolumeState.TRASHED:
                monkeypatch.setattr(world.records, "put_volume", put)
                world.clock.moment += timedelta(seconds=1)
                raise errors.SpaceExhausted("no room for the record")
            put(record)

        monkeypatch.setattr(world.records, "put_volume", refused)
        node.delete_volume(volume_id)
        assert set(_trashed(node)) == {"old"}
        assert list(world.images.images()) == [_trashed(node)["old"].spec.volume_id]

    def test_what_was_promised_to_others_cannot_be_taken_back(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        _written(world, node, "other", GIB)
        node.delete_volume(_used(node, "old", size_bytes=8 * GIB))
        node.create_volume(spec("live", size_bytes=4 * GIB))
        with pytest.raises(errors.SpaceExhausted):
            node.undelete_volume(_trashed(node)["old"].spec.volume_id)
        assert set(_trashed(node)) == {"old", "other"}

    def test_bringing_one_back_frees_others_but_never_itself(self) -> None:
        world = World(10 * GIB)
        node = world.node()
        oldest = _used(node, "oldest", size_bytes=5 * GIB)
        node.delete_volume(oldest)
        _written(world, node, "young", 4 * GIB)
        node.create_volume(spec("live", size_bytes=4 * GIB))
        node.undelete_volume(_trashed(node)["oldest"].spec.volume_id)
        assert not _trashed(node)
        assert {one.record.spec.name for one in node.list_volumes()} == {"live", "oldest"}

    def test_it_goes_when_its_time_is_over(self) -> None:
        world = World()
        node = world.node()
        first = _written(world, node, "first", GIB)
        world.clock.moment += timedelta(hours=23)
        _written(world, node, "second", GIB)
        assert not node.free_expired_trash()
        world.clock.moment += timedelta(hours=2)
        assert list(world.node().free_expired_trash()) == [first]
        assert set(_trashed(node)) == {"second"}
        assert ids.ImageId(first) not in world.images.images()


class TestFullDisk:
    """Nothing can be recorded, and deletions are what makes room."""

    def test_the_trash_goes_first_and_then_the_volume_itself(self) -> None:
        world = World()
        node = world.node()
        _written(world, node, "old", GIB)
        live = _used(node, "live")
        world.records.full = True
        node.delete_volume(live)
        assert not node.list_volumes()
        assert not world.images.images()

    def test_room_for_the_record_saves_the_volume(self) -> None:
        world = World()
        node = world.node()
        _written(world, node, "old", GIB)
        live = _used(node, "live")
        world.records.full_until_removed = True
        node.delete_volume(live)
        assert set(_trashed(node)) == {"live"}


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_no_more_is_freed_than_is_needed(sizes: list[int], wanted: int) -> None:
    world = World()
    record = world.node().create_volume(spec("one"))
    chosen = trash.to_free([trash.Item(record, size) for size in sizes], wanted)
    freed = sum(sizes[: len(chosen)])
    assert freed >= min(wanted, sum(sizes))
    assert not chosen or sum(sizes[: len(chosen) - 1]) < wanted
