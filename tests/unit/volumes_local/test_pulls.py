"""Copying from another node, with every way in which the other node or the wire can fail."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.host.clock import SystemClock
from mooring.adapters.pools.directory import DirectoryPool
from mooring.adapters.pools.image_contents import FileContents
from mooring.adapters.pools.records import FolderRecords
from mooring.domain import errors, ids, transfers, volumes
from mooring.ports import host
from mooring.ports.pools import NodeParts, OpenPool
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.local import pull
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.outgoing import Transfers
from support.fake_storage import POOL, World

MIB = 1 << 20
SOURCE = ids.volume_id_for("pvc-1")
COPY = ids.volume_id_for("pvc-2")
A, B = ids.NodeName("node-a"), ids.NodeName("node-b")


@dataclass
class Wire:
    """The way to the other node, where each part can be dropped, changed or cut off.

    Attributes:
        faults: What happens to the next streams: a function over the parts of each.
        sent: Offsets of the pieces that were asked for, by stream.
    """

    source: Any = None
    faults: list[Any] = field(default_factory=list)
    sent: list[list[int]] = field(default_factory=list)

    def read(self, node, snapshot_id, progress):
        assert node == A
        fault = self.faults.pop(0) if self.faults else iter
        self.sent.append([])
        for part in fault(self.source.outgoing.read(snapshot_id, B, progress)):
            if isinstance(part, transfers.Sent):
                self.sent[-1].append(part.piece.offset_bytes // MIB)
            yield part


class Machines:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wire = Wire()
        self.wire.source = self.a = self.start(A)
        self.b = self.start(B)
        self.spec = volumes.VolumeSpec(
            SOURCE, "pvc-1", POOL, 8 * MIB, volumes.VolumeMode.BLOCK, filesystem=None
        )
        self.a.create_volume(self.spec)
        for offset in (0, 1, 4, 7):
            self.write(offset, bytes([offset + 1]) * 5000)
        self.snapshot_id = self.snapshot("s")

    def start(self, name: ids.NodeName) -> LocalNode:
        kernel: Any = World().kernel
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        pool = OpenPool(
            POOL, "uuid", DirectoryPool(folder / "images"), FolderRecords(folder / "records"), 1.0
        )
        ports = host.Host(kernel, kernel, kernel, kernel, kernel, FileContents())
        node = LocalNode(
            name,
            NodeParts(ports, (pool,), ()),
            ThreadLocks(),
            SystemClock(),
            Transfers(self.wire, 1 << 40),
        )
        node.recover()
        return node

    def write(self, offset: int, content: bytes) -> None:
        with self.image(A, SOURCE).open("r+b") as file:
            file.seek(offset * MIB + 4096)
            file.write(content)

    def snapshot(self, name: str) -> ids.SnapshotId:
        snapshot_id = ids.snapshot_id_for(name, SOURCE)
        self.a.create_snapshot(snapshot_id, name, freeze_timeout_seconds=5)
        return snapshot_id

    def image(self, node: str, name: str) -> Path:
        return self.folder / node / "images" / name

    def copy(self, **changes: object) -> volumes.VolumeRecord:
        self.a.offer_snapshot(self.snapshot_id, B)
        source = volumes.Source(snapshot_id=self.snapshot_id, node=A)
        spec = replace(self.spec, volume_id=COPY, name="pvc-2", source=source)
        return self.b.create_volume(replace(spec, **changes))

    def assert_copied(self, added_bytes: int = 0) -> None:
        content = self.image(A, self.snapshot_id).read_bytes() + bytes(added_bytes)
        assert self.image(B, COPY).read_bytes() == content
        assert [one.name for one in (self.folder / B / "images").iterdir()] == [COPY]


@pytest.fixture
def machines(tmp_path, monkeypatch) -> Machines:
    monkeypatch.setattr(pull, "_FIRST_PAUSE_SECONDS", 0.001)
    return Machines(tmp_path)


def cut_after(count):
    def fault(parts):
        for _, part in zip(range(count), parts, strict=False):
            yield part
        raise errors.Unreachable("the wire was cut")

    return fault


def damaged(parts):
    for part in parts:
        if isinstance(part, transfers.Sent) and part.piece.offset_bytes:
            content = b"\x01" + part.piece.content[1:]
            yield replace(part, piece=replace(part.piece, content=content))
        else:
            yield part


def without_third(parts):
    for index, part in enumerate(parts):
        if index != 2:
            yield part


def without_last_piece(parts):
    held = list(parts)
    yield from [*held[:-2], held[-1]]


def test_holes_stay_holes_and_a_larger_size_reads_as_zeros(machines):
    done = machines.copy(size_bytes=10 * MIB)
    assert (done.state, done.formatted, done.pull) == (volumes.VolumeState.READY, False, None)
    machines.assert_copied(2 * MIB)
    assert machines.wire.sent == [[0, 1, 4, 7]]
    used = machines.image(B, COPY).stat().st_blocks * 512
    assert used <= machines.image(A, machines.snapshot_id).stat().st_blocks * 512
    assert machines.copy(size_bytes=10 * MIB) == done
    assert len(machines.wire.sent) == 1


def test_a_preallocated_copy_has_all_its_blocks(machines):
    machines.copy(preallocated=True)
    machines.assert_copied()
    assert machines.image(B, COPY).stat().st_blocks * 512 >= 8 * MIB


def test_a_cut_wire_costs_nothing_that_has_come(machines):
    machines.wire.faults = [cut_after(2), cut_after(0), cut_after(2)]
    machines.copy()
    machines.assert_copied()
    assert machines.wire.sent == [[0], [], [1], [4, 7]]


def test_a_wire_that_stays_cut_is_an_error_and_the_next_call_goes_on(machines):
    machines.wire.faults = [cut_after(2), *[cut_after(0)] * 5]
    with pytest.raises(errors.Unreachable):
        machines.copy()
    machines.b = machines.start(B)  # and the agent was restarted as well
    machines.copy()
    assert machines.wire.sent[-1] == [1, 4, 7]
    machines.assert_copied()


@pytest.mark.parametrize("fault", [damaged, without_third])
def test_a_piece_that_arrives_damaged_or_not_at_all_is_sent_again(machines, fault):
    machines.wire.faults = [fault]
    machines.copy()
    machines.assert_copied()
    assert machines.wire.sent[1][0] == 1


def test_an_end_that_comes_too_early_is_not_believed(machines):
    machines.wire.faults = [without_last_piece]
    machines.copy()
    machines.assert_copied()
    assert machines.wire.sent == [[0, 1, 4], [7]]


def test_another_point_in_time_is_copied_from_its_beginning(machines):
    machines.wire.faults = [cut_after(3), *[cut_after(0)] * 5]
    with pytest.raises(errors.Unreachable):
        machines.copy()
    machines.a.delete_snapshot(machines.snapshot_id)
    machines.write(0, bytes(5000))
    machines.snapshot("s")
    machines.copy()
    machines.assert_copied()
    assert machines.wire.sent[-1] == [1, 4, 7]


def test_what_does_not_read_back_as_it_was_sent_is_never_ready(machines):
    def spoil(parts):
        for part in parts:
            if isinstance(part, transfers.Ending):
                with machines.image(B, COPY).open("r+b") as file:
                    file.seek(5 * MIB)
                    file.write(b"rot")
            yield part

    machines.wire.faults = [spoil]
    with pytest.raises(errors.DataCorrupt, match="does not read back"):
        machines.copy()
    assert machines.b.list_volumes() == []
    assert list((machines.folder / B / "images").iterdir()) == []


def test_a_node_reads_only_what_was_offered_to_it(machines):
    source = volumes.Source(snapshot_id=machines.snapshot_id, node=A)
    spec = replace(machines.spec, volume_id=COPY, name="pvc-2", source=source)
    machines.a.offer_snapshot(machines.snapshot_id, ids.NodeName("node-c"))
    with pytest.raises(errors.Busy, match="node-b may not read"):
        machines.b.create_volume(spec)
    machines.copy()
    machines.assert_copied()


def test_a_source_that_is_gone_leaves_nothing(machines):
    machines.wire.faults = [cut_after(2), *[cut_after(0)] * 5]
    with pytest.raises(errors.Unreachable):
        machines.copy()
    machines.a.offer_snapshot(machines.snapshot_id, B)
    source = volumes.Source(snapshot_id=machines.snapshot_id, node=A)
    spec = replace(machines.spec, volume_id=COPY, name="pvc-2", source=source)
    machines.a.delete_snapshot(machines.snapshot_id)
    with pytest.raises(errors.NotFound):
        machines.b.create_volume(spec)
    assert machines.b.list_volumes() == []


def test_a_deletion_ends_a_copy_under_way_and_others_wait_for_it(machines, monkeypatch):
    monkeypatch.setattr(pull, "_ANSWER_SECONDS", 0.02)
    going_on = threading.Event()

    def slow(parts):
        for part in parts:
            yield part
            going_on.wait(0.1)

    machines.wire.faults = [slow]
    with pytest.raises(errors.Busy, match="is being copied from node node-a"):
        machines.copy()
    [status] = machines.b.list_volumes()
    assert not status.condition.abnormal
    with pytest.raises(errors.Busy, match="still being created"):
        machines.b.expand_volume(COPY, 9 * MIB)
    machines.b.delete_volume(COPY)
    assert machines.b.list_volumes() == []
    assert list((machines.folder / B / "images").iterdir()) == []
