"""CSI's SnapshotMetadata through controller and agent, against every byte of real snapshots."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from mooring.domain.extents import Range
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_dev import csi_processes
from support import real_storage
from support.csi_calls import MIB, block_capability, create_request
from support.image_changes import blocks_of, mutate, named_blocks, require_all_named

pytestmark = pytest.mark.system
SIZE = 32 * MIB
TIMEOUT = 60


@dataclass
class Driver:
    """The driver's processes, and the files behind them."""

    folder: Path
    controller: rpc.ControllerStub
    metadata: rpc.SnapshotMetadataStub

    def volume(self, name: str) -> str:
        request = create_request(name, SIZE, volume_capabilities=[block_capability()])
        return str(self.controller.CreateVolume(request, timeout=TIMEOUT).volume.volume_id)

    def snapshot(self, volume_id: str, name: str) -> str:
        request = pb.CreateSnapshotRequest(source_volume_id=volume_id, name=name)
        return str(self.controller.CreateSnapshot(request, timeout=TIMEOUT).snapshot.snapshot_id)

    def image(self, name: str) -> Path:
        return next(self.folder.glob(f"**/images/{name}"))

    def delta(self, base: str, target: str, **more: int) -> list[pb.GetMetadataDeltaResponse]:
        request = pb.GetMetadataDeltaRequest(
            base_snapshot_id=base, target_snapshot_id=target, **more
        )
        return list(self.metadata.GetMetadataDelta(request, timeout=TIMEOUT))

    def allocated(self, snapshot: str, **more: int) -> list[pb.GetMetadataAllocatedResponse]:
        request = pb.GetMetadataAllocatedRequest(snapshot_id=snapshot, **more)
        return list(self.metadata.GetMetadataAllocated(request, timeout=TIMEOUT))


@contextmanager
def driver_of(folder: Path, backend: str) -> Iterator[Driver]:
    options = (("grpc.default_authority", "localhost"),)
    with (
        csi_processes.served("agents", backend, folder) as sockets,
        grpc.insecure_channel(f"unix:{sockets.controller}", options=options) as channel,
    ):
        yield Driver(folder, rpc.ControllerStub(channel), rpc.SnapshotMetadataStub(channel))


@pytest.fixture
def folder() -> Iterator[Path]:
    with real_storage.scratch() as found:
        yield found


@pytest.fixture
def driver(folder: Path) -> Iterator[Driver]:
    with driver_of(folder, "reflink") as found:
        yield found


def write(image: Path, content: bytes) -> None:
    with image.open("r+b") as file:
        file.write(content)


def ranges_of(answers: list[Any]) -> list[Range]:
    for answer in answers:
        assert answer.block_metadata_type == pb.BlockMetadataType.VARIABLE_LENGTH
        assert answer.volume_capacity_bytes == answers[0].volume_capacity_bytes
    return [
        Range(one.byte_offset, one.size_bytes)
        for answer in answers
        for one in answer.block_metadata
    ]


def test_both_calls_against_a_comparison_of_every_byte(driver: Driver) -> None:
    dice = random.Random(21)
    volume = driver.volume("pvc-1")
    image = driver.image(volume)
    snapshots = [driver.snapshot(volume, "snap-0")]
    changed, named = 0, 0
    for step in range(1, 9):
        mutate(image, dice, grows=False)
        snapshots.append(driver.snapshot(volume, f"snap-{step}"))
        after = blocks_of(driver.image(snapshots[-1]))
        for base in snapshots[:-1][-3:]:
            answers = driver.delta(base, snapshots[-1])
            assert answers[0].volume_capacity_bytes == SIZE
            marks = named_blocks(ranges_of(answers), SIZE)
            before = blocks_of(driver.image(base))
            changed += require_all_named(before, after, marks, f"{base} to {snapshots[-1]}")
            named += sum(marks)
        present = named_blocks(ranges_of(driver.allocated(snapshots[-1])), SIZE)
        for content, allocated in zip(after, present, strict=True):
            assert allocated or not content.strip(b"\0")
    assert changed > 1000
    assert named < 2 * changed


def test_a_volume_that_grew(driver: Driver) -> None:
    volume = driver.volume("pvc-1")
    write(driver.image(volume), b"x" * MIB)
    base = driver.snapshot(volume, "before")
    driver.controller.ControllerExpandVolume(
        pb.ControllerExpandVolumeRequest(
            volume_id=volume,
            capacity_range=pb.CapacityRange(required_bytes=2 * SIZE),
            volume_capability=block_capability(),
        ),
        timeout=TIMEOUT,
    )
    target = driver.snapshot(volume, "after")
    answers = driver.delta(base, target)
    assert ranges_of(answers) == [Range(SIZE, SIZE)]
    assert answers[0].volume_capacity_bytes == 2 * SIZE
    assert ranges_of(driver.allocated(target)) == [Range(0, MIB)]


def test_a_call_goes_on_where_it_was_broken_off(driver: Driver) -> None:
    volume = driver.volume("pvc-1")
    base = driver.snapshot(volume, "before")
    with driver.image(volume).open("r+b") as file:
        for place in range(0, SIZE, MIB):
            file.seek(place)
            file.write(b"y" * 8192)
    target = driver.snapshot(volume, "after")
    whole = ranges_of(driver.delta(base, target))
    assert whole == [Range(place, 8192) for place in range(0, SIZE, MIB)]
    calls: list[Callable[..., list[Any]]] = [
        lambda **more: driver.delta(base, target, **more),
        lambda **more: driver.allocated(target, **more),
    ]
    for call in calls:
        for most in (1, 5, 100_000):
            answers = call(max_results=most)
            assert all(0 < len(answer.block_metadata) <= most for answer in answers)
            assert ranges_of(answers) == whole
        for number, one in enumerate(whole):
            assert ranges_of(call(starting_offset=one.end_bytes)) == whole[number + 1 :]
        assert ranges_of(call(starting_offset=4096)) == [Range(4096, 4096), *whole[1:]]
        at_the_end = call(starting_offset=SIZE)
        assert ranges_of(at_the_end) == []
        assert at_the_end[0].volume_capacity_bytes == SIZE


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert isinstance(caught.value, grpc.Call)
    return caught.value.code(), caught.value.details()


def test_bad_input(driver: Driver) -> None:
    first, second = driver.volume("pvc-1"), driver.volume("pvc-2")
    ours, other = driver.snapshot(first, "ours"), driver.snapshot(second, "other")
    code, message = refused(lambda: driver.delta(other, ours))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "of volume" in message
    gone = driver.snapshot(first, "gone")
    driver.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=gone), timeout=TIMEOUT)
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    outside = grpc.StatusCode.OUT_OF_RANGE
    expected: list[tuple[grpc.StatusCode, Callable[[], object]]] = [
        (missing, lambda: driver.delta(gone, ours)),
        (missing, lambda: driver.delta(ours, gone)),
        (missing, lambda: driver.allocated(gone)),
        (missing, lambda: driver.allocated("snap-of-nobody")),
        (invalid, lambda: driver.delta("", ours)),
        (invalid, lambda: driver.delta(ours, "")),
        (invalid, lambda: driver.allocated("")),
        (invalid, lambda: driver.allocated(ours, max_results=-1)),
        (outside, lambda: driver.allocated(ours, starting_offset=-1)),
        (outside, lambda: driver.delta(ours, ours, starting_offset=SIZE + 1)),
    ]
    for code, call in expected:
        assert refused(call)[0] is code
    assert ranges_of(driver.delta(ours, ours)) == []


def test_a_pool_of_whole_copies_does_not_tell_what_changed(folder: Path) -> None:
    with driver_of(folder, "directory") as driver:
        volume = driver.volume("pvc-1")
        write(driver.image(volume), b"x" * MIB)
        ours, later = driver.snapshot(volume, "ours"), driver.snapshot(volume, "later")
        code, message = refused(lambda: driver.delta(ours, later))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "read everything" in message
        named = named_blocks(ranges_of(driver.allocated(ours)), SIZE)
        assert all(named[: MIB // 4096])
