"""Images in many pieces: counted, refused before a freeze, and joined under a verified load."""

import contextlib
import mmap
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import freezing, syscalls
from mooring.adapters.pools import layout
from mooring.domain import errors, ids
from mooring.planning.fragmentation import Policy
from mooring.volumes.local.defragment import Outcome, Pause
from mooring.volumes.local.staging import Access
from support import real_storage, verified_writer
from support.real_storage import MIB, Machine, spec

pytestmark = pytest.mark.system

ONE = ids.volume_id_for("one")
SNAP = ids.snapshot_id_for("snap", ONE)
BLOCKS = 12_000
POLICY = Policy(above_extents=2_000, bytes_per_second=1 << 30)


def _never(seconds: float) -> bool:
    return threading.Event().wait(seconds)


def _scatter(path: Path, writes: int) -> None:
    """Writes single blocks of random places past the cache, each the same content again."""
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    dice = random.Random(2)
    try:
        for _ in range(writes):
            number = dice.randrange(os.fstat(descriptor).st_size // 4096)
            os.preadv(descriptor, [buffer], number * 4096)
            os.pwritev(descriptor, [buffer], number * 4096)
    finally:
        os.close(descriptor)


@pytest.fixture
def scattered(machine: Machine) -> Iterator[Machine]:
    """A machine with one staged volume in more than 3,000 pieces, and a snapshot of it."""
    yield from _scattered(machine, preallocated=False)


def _scattered(machine: Machine, *, preallocated: bool) -> Iterator[Machine]:
    machine.node.create_volume(spec("one", preallocated=preallocated))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    data = Path(machine.staging("one")) / "data"
    verified_writer.fill(data, BLOCKS)
    machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=10)
    _scatter(data, 4_000)
    assert _extents(machine) > 3_000
    yield machine
    machine.node.publisher.unstage(ONE, machine.staging("one"))


def _extents(machine: Machine) -> int:
    with machine.image(ONE).open("rb") as image:
        return syscalls.count_extents(image.fileno())


def _join(machine: Machine, pause: Pause = _never) -> list[Outcome]:
    return list(machine.node.defragmentation(POLICY).run_once(pause))


def _joined(machine: Machine) -> bool:
    (outcome,) = _join(machine)
    assert outcome.ended_by == ""
    return _extents(machine) < POLICY.above_extents


def test_pieces_are_joined_under_a_load_without_a_wrong_byte(
    scattered: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = layout.FileRelayout.settle

    def _settle_slowly(self: layout.FileRelayout) -> None:
        settle(self)
        threading.Event().wait(0.02)  # gives the load time to write to what was copied

    monkeypatch.setattr(layout.FileRelayout, "settle", _settle_slowly)
    data = Path(scattered.staging("one")) / "data"
    with verified_writer.writing(data, scattered.folder / "log", BLOCKS) as writer:
        for _ in range(3):
            writer.wait_for_more()
            outcomes = _join(scattered)
            if not outcomes:
                break
            assert [one.ended_by for one in outcomes] == [""]
        writer.wait_for_more()
    assert _extents(scattered) < 2_000
    subprocess.run(["sync", "-f", str(data)], check=True)
    scattered.node.publisher.unstage(ONE, scattered.staging("one"))
    scattered.node.publisher.stage(ONE, scattered.staging("one"), Access())
    assert writer.wrong_blocks() == []
    (status,) = scattered.node.list_volumes()
    assert status.extents is not None
    assert not status.condition.abnormal


def test_a_power_cut_in_the_middle_loses_no_acknowledged_write(machine: Machine) -> None:
    with contextlib.contextmanager(_scattered)(machine, preallocated=False):
        pool = machine.image(ONE).parents[1]
        data = Path(machine.staging("one")) / "data"
        cut = threading.Thread(target=lambda: _cut_power(pool))
        steps = 0

        def cut_after_some(seconds: float) -> bool:
            nonlocal steps
            steps += 1
            if steps == 10:
                cut.start()  # and strikes in whatever comes next
            return threading.Event().wait(0.01)

        writer = verified_writer.Writer(data, machine.folder / "log", BLOCKS)
        try:
            (outcome,) = _join(machine, cut_after_some)
            cut.join()
        finally:
            met_an_error = writer.stop()
        assert "Input/output error" in outcome.ended_by
        assert met_an_error
        machine.opener.close()
        real_storage.unmount(Path(machine.staging("one")))
        for path in real_storage.attached_below(pool):
            subprocess.run(["losetup", "-d", path], check=True)
        real_storage.unmount(pool)
        machine.restart()
        machine.node.publisher.stage(ONE, machine.staging("one"), Access())
        assert writer.wrong_blocks() == []
        assert _joined(machine)  # what the cut left behind is in nobody's way
        assert writer.wrong_blocks() == []


def _cut_power(pool: Path) -> None:
    subprocess.run(["xfs_io", "-x", "-c", "shutdown", str(pool)], check=True)


@pytest.mark.parametrize("preallocated", [False, True], ids=["sparse", "preallocated"])
def test_holes_stay_holes_and_reserved_blocks_stay_reserved(
    machine: Machine, preallocated: bool
) -> None:
    with contextlib.contextmanager(_scattered)(machine, preallocated=preallocated):
        before = _shape(machine)
        assert _joined(machine)
        assert _shape(machine) == before
        if preallocated:
            assert sum(end - begin for begin, end, _ in before) == 400 * MIB
            assert any(reserved for _, _, reserved in before)


def _shape(machine: Machine) -> list[tuple[int, int, bool]]:
    """What of the image is written and what reserved, however many pieces it lies in."""
    shape: list[tuple[int, int, bool]] = []
    with machine.image(ONE).open("rb") as image:
        mapped = syscalls.map_extents(image.fileno(), 0, 1 << 40, 100_000)
    for offset, _, length, flags in mapped:
        reserved = bool(flags & syscalls.FIEMAP_EXTENT_UNWRITTEN)
        if shape and shape[-1][1:] == (offset, reserved):
            shape[-1] = (shape[-1][0], offset + length, reserved)
        else:
            shape.append((offset, offset + length, reserved))
    return shape


def test_the_copies_take_no_room_afterwards(scattered: Machine) -> None:
    scattered.node.delete_snapshot(SNAP)
    capacity = scattered.node.list_pools()[0].capacity.free_bytes
    assert _joined(scattered)
    assert scattered.node.list_pools()[0].capacity.free_bytes >= capacity - MIB
    assert sorted(path.name for path in scattered.image(ONE).parent.iterdir()) == [ONE]


def test_a_snapshot_goes_first_and_the_rest_is_done_in_the_next_round(scattered: Machine) -> None:
    taken: list[threading.Thread] = []
    late = ids.snapshot_id_for("late", ONE)

    def interrupted(seconds: float) -> bool:
        if seconds and not taken:
            taken.append(threading.Thread(target=_snapshot))
            taken[0].start()
        return threading.Event().wait(0.001)

    def _snapshot() -> None:
        scattered.node.create_snapshot(late, "late", freeze_timeout_seconds=10)

    (outcome,) = _join(scattered, interrupted)
    taken[0].join()
    assert late in {one.snapshot_id for one in scattered.node.list_snapshots()}
    assert "under way" in outcome.ended_by or "waits" in outcome.ended_by
    assert _joined(scattered)


def test_a_copy_that_would_take_too_long_is_refused_before_the_freeze(
    scattered: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def _frozen(*_: object, **__: object) -> Iterator[None]:
        pytest.fail("it was frozen")
        yield

    late = ids.snapshot_id_for("late", ONE)
    with monkeypatch.context() as patched:
        patched.setattr(freezing, "frozen", _frozen)
        with pytest.raises(errors.Fragmented, match="Nothing was frozen"):
            scattered.node.create_snapshot(late, "late", freeze_timeout_seconds=0.1)
    assert [one.snapshot_id for one in scattered.node.list_snapshots()] == [SNAP]
    _join(scattered)
    assert scattered.node.create_snapshot(late, "late", freeze_timeout_seconds=10)


def test_nothing_is_joined_when_the_pool_is_low_on_space(scattered: Machine) -> None:
    capacity = scattered.node.list_pools()[0].capacity
    filler = scattered.image(ONE).parents[1] / "filler"
    low_bytes = capacity.total_bytes // 10
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, capacity.free_bytes - low_bytes)
    before = _extents(scattered)
    assert not _joined(scattered)
    assert _extents(scattered) == before
    filler.unlink()
    assert _joined(scattered)
