"""Full pools: neighbours go on, what was acknowledged stays, and reserved blocks stay reserved."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.host import commands
from mooring.domain import errors, ids, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage, verified_writer
from support.real_storage import MIB, Machine, spec
from support.verified_writer import Writer

pytestmark = pytest.mark.system

ONE = ids.volume_id_for("one")
SNAP = ids.snapshot_id_for("snap", ONE)
NEIGHBOURS = {"reserved": True, "sparse": False}
BLOCKS = 3_000


@pytest.fixture
def small(scratch: Path) -> Iterator[Machine]:
    """A machine with an embedded pool of 1 GiB."""
    made = Machine(scratch / "a", image_size_bytes=1024 * MIB)
    yield made
    made.opener.close()


def _stage(machine: Machine, name: str) -> Path:
    machine.node.publisher.stage(ids.volume_id_for(name), machine.staging(name), Access())
    return Path(machine.staging(name))


def _unstage(machine: Machine, name: str) -> None:
    machine.node.publisher.unstage(ids.volume_id_for(name), machine.staging(name))


def _taken_bytes(machine: Machine, key: ids.VolumeId) -> int:
    return machine.image(key).stat().st_blocks * 512


def _free_share(machine: Machine) -> float:
    capacity = machine.node.list_pools()[0].capacity
    return capacity.free_bytes / capacity.total_bytes


def _fill(path: Path, most_bytes: int = 1 << 40) -> None:
    """Writes and syncs bytes that are not zero, until there is no more room."""
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        written, content = 0, os.urandom(MIB)
        with contextlib.suppress(OSError):
            while written < most_bytes:
                written += file.write(content)
        os.fsync(file.fileno())


@contextmanager
def _neighbours(machine: Machine, *, must_go_on: bool = True) -> Iterator[dict[str, Writer]]:
    """Two volumes, each written to without end; then each is checked after a new mount."""
    writers: dict[str, Writer] = {}
    for name, preallocated in NEIGHBOURS.items():
        machine.node.create_volume(spec(name, 128 * MIB, preallocated=preallocated))
        data = _stage(machine, name) / "data"
        verified_writer.fill(data, BLOCKS)
        writers[name] = Writer(data, machine.folder / f"{name}.log", BLOCKS)
    try:
        yield writers
        for writer in writers.values() if must_go_on else ():
            writer.wait_for_more()
    finally:
        codes = {name: writer.stop() for name, writer in writers.items()}
        for name in NEIGHBOURS:
            _unstage(machine, name)
    assert codes["reserved"] == 0
    assert codes["sparse"] == 0 or not must_go_on
    for name, writer in writers.items():
        _stage(machine, name)
        assert writer.wrong_blocks() == []
        _unstage(machine, name)


def test_neighbours_go_on_while_a_pool_is_filled_by_all_that_fills(small: Machine) -> None:
    reserved = ids.volume_id_for("reserved")
    with _neighbours(small) as writers:
        ballast = Path(small.staging("reserved")) / "ballast"
        _fill(ballast, 100 * MIB)
        small.node.create_snapshot(
            ids.snapshot_id_for("s", reserved), "s", freeze_timeout_seconds=10
        )
        small.node.create_snapshot(
            ids.snapshot_id_for("t", ids.volume_id_for("sparse")), "t", freeze_timeout_seconds=10
        )
        _restore(small)
        small.clock.ahead = timedelta(minutes=1)  # the next estimate counts anew
        left_bytes = small.node.list_pools()[0].available_bytes
        _fill_whole(small, "filler", left_bytes)
        _fill(Path(small.staging("sparse")) / "big")
        for writer in writers.values():
            writer.wait_for_more()
        _fill(ballast, 100 * MIB)
        assert _free_share(small) < 0.1
        with pytest.raises(errors.SpaceExhausted):
            small.node.create_volume(spec("more", 64 * MIB))
    assert _taken_bytes(small, reserved) >= 128 * MIB


def _fill_whole(machine: Machine, name: str, size_bytes: int) -> None:
    """Fills a sparse raw block volume from end to end, as a pod does."""
    machine.node.create_volume(spec(name, size_bytes, None))
    volume_id, access = ids.volume_id_for(name), Access(mode=volumes.VolumeMode.BLOCK)
    staging, target = machine.staging(name), machine.target(name)
    machine.node.publisher.stage(volume_id, staging, access)
    machine.node.publisher.publish(volume_id, Publication(staging, target, access))
    _fill(Path(target), size_bytes)
    machine.node.publisher.unpublish(volume_id, target)
    machine.node.publisher.unstage(volume_id, staging)


def _restore(machine: Machine) -> None:
    """Fills a raw volume whole, as a mover does."""
    machine.node.create_volume(spec("restored", 96 * MIB, None, filling=True))
    restored = ids.volume_id_for("restored")
    target = machine.target("restored")
    machine.node.exposures.expose(f"populate/{restored}", target, read_only=False, group_id=0)
    _fill(Path(target), 96 * MIB)
    machine.node.exposures.unexpose(f"populate/{restored}", target)
    machine.node.finish_filling(restored)


def test_what_was_acknowledged_stays_when_more_was_promised_than_there_is(scratch: Path) -> None:
    machine = Machine(scratch / "a", image_size_bytes=512 * MIB, overcommit=0.2)
    with _neighbours(machine, must_go_on=False) as writers:
        machine.node.create_volume(spec("filler", 440 * MIB))
        with contextlib.suppress(OSError):
            _fill(_stage(machine, "filler") / "big")
        assert _free_share(machine) < 0.03
        writers["reserved"].wait_for_more()
        pool = machine.node.list_pools()[0]
        assert (pool.available_bytes, pool.healthy) == (0, True)
        assert "below 10%" in pool.message
        with pytest.raises(errors.SpaceExhausted, match="below 10%"):
            machine.node.create_volume(spec("more", 16 * MIB, preallocated=True))
        _unstage(machine, "filler")
        machine.node.delete_volume(ids.volume_id_for("filler"))
        machine.node.free_trash_for_low_space()
    assert not machine.node.list_pools()[0].message
    machine.opener.close()


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_reserved_blocks_stay_reserved(small: Machine, filesystem: str) -> None:
    size_bytes = 64 * MIB if filesystem == "ext4" else 300 * MIB
    small.node.create_volume(spec("one", size_bytes, filesystem, preallocated=True))
    mounted = _stage(small, "one")
    assert _taken_bytes(small, ONE) >= size_bytes, "mkfs gave blocks back"
    assert commands.attempt(["fstrim", str(mounted)]).exit_code != 0, "it takes discards"
    _fill(mounted / "data", 20 * MIB)
    small.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
    _fill(mounted / "data", 20 * MIB)
    commands.attempt(["fstrim", str(mounted)])
    assert _taken_bytes(small, ONE) >= size_bytes, "it gave blocks back"
    source = volumes.Source(snapshot_id=SNAP)
    small.node.create_volume(spec("two", size_bytes, filesystem, preallocated=True, source=source))
    small.node.delete_snapshot(SNAP)
    two = ids.volume_id_for("two")
    _stage(small, "two")
    assert _taken_bytes(small, two) >= size_bytes, "the clone has not all blocks"
    for name in ("one", "two"):
        _unstage(small, name)
    # The kernel would give the next image of the same device its limit.
    small.node.create_volume(spec("three", 64 * MIB))
    three = _stage(small, "three")
    _fill(three / "data", 20 * MIB)
    (three / "data").unlink()
    commands.run(["sync", "-f", str(three)])
    commands.run(["fstrim", str(three)])
    assert _taken_bytes(small, ids.volume_id_for("three")) < 20 * MIB
    _unstage(small, "three")
    pool = small.node.list_pools()[0]
    used_bytes = pool.capacity.total_bytes - pool.capacity.free_bytes
    assert used_bytes >= 2 * size_bytes, "they share blocks"


def test_the_second_size_of_a_volume_with_a_snapshot_is_free_on_the_disk(scratch: Path) -> None:
    with real_storage.mounted(scratch, "xfs", 512 * MIB) as disk:
        machine = Machine(scratch / "a", image_size_bytes=None, pool=disk / "pool")
        machine.node.create_volume(spec("one", 96 * MIB, preallocated=True))
        data = _stage(machine, "one") / "data"
        _fill(data, 80 * MIB)
        machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
        (disk / "of others").touch()
        with (disk / "of others").open("r+b") as others:
            os.posix_fallocate(others.fileno(), 0, 100 * MIB)
        before = machine.node.list_pools()[0]
        assert before.available_bytes < before.capacity.free_bytes - 80 * MIB
        _fill(data, 80 * MIB)
        machine.restart()
        after = machine.node.list_pools()[0]
        assert after.available_bytes > after.capacity.free_bytes - 40 * MIB, "it has its own now"
        _unstage(machine, "one")
        machine.opener.close()
