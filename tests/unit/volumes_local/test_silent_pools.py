"""A pool whose disk never answers, beside one that does: what goes on, and what is said of it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.agent import reporting
from mooring.domain import errors, ids, pools, volumes
from mooring.ports import host
from mooring.ports.pools import FailedPool, NodeParts, OpenPool
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet import surveys
from mooring.volumes.local import context, defragment, forgotten, pool_watch, reclaim
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, POOL, AttachablePool, MemoryRecords, World, spec

SILENT = ids.PoolName("dead")
HERE, THERE = ids.volume_id_for("here"), ids.volume_id_for("there")
SNAP = ids.snapshot_id_for("snap", THERE)
NODE = ids.NodeName("node-a")


class Hanging:
    """Passes calls on, until the disk is gone: then none comes back before the end."""

    def __init__(self, inner: object, gone: threading.Event, over: threading.Event) -> None:
        self._inner, self._gone, self._over = inner, gone, over

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if not callable(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._gone.is_set():
                self._over.wait(120)
                raise OSError(5, "Input/output error")
            return member(*args, **kwargs)

        return call


class TwoPools:
    """A node with a volume in each of two pools, and a snapshot in the second."""

    def __init__(self) -> None:
        self.gone, self.over = threading.Event(), threading.Event()
        self.world = World(capacity_bytes=10 * GIB)
        inner, records = AttachablePool(10 * GIB), MemoryRecords()
        self.silent: Any = OpenPool(
            SILENT,
            "uuid-2",
            Hanging(inner, self.gone, self.over),  # type: ignore[arg-type]
            Hanging(records, self.gone, self.over),  # type: ignore[arg-type]
            1.0,
        )
        world = self.world
        live: Any = OpenPool(POOL, "uuid", world.images, world.records, 1.0)
        ports: Any = world.kernel
        # The silent one comes first, so that whoever goes through them in order hangs at once.
        parts = NodeParts(host.Host(*[ports] * 6), (self.silent, live), ())
        self.node = LocalNode(NODE, parts, ThreadLocks(), world.clock)
        self.node.create_volume(spec("here"))
        self.node.create_volume(spec("there", pool=SILENT))
        self.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=1)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoPools]:
    for module, name in (
        (context, "_LIST_SECONDS"),
        (context, "_LOOK_UP_SECONDS"),
        (reclaim, "_FREEING_SECONDS"),
        (forgotten, "_PATIENCE_SECONDS"),
        (defragment, "_ROUND_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.3)
    made = TwoPools()
    yield made
    made.over.set()


@pytest.mark.timeout(60)
def test_the_report_goes_on_and_takes_nothing_of_it_for_gone(two: TwoPools) -> None:
    catalogue = MemoryCatalogue()
    reporter = reporting.Reporter(catalogue, NODE, two.node)
    reporter.run_once()
    two.gone.set()
    two.node.create_volume(spec("new"))
    for _ in range(2):
        reporter.run_once()
        entries = {entry.spec.name: entry for entry in catalogue.entries()}
        assert entries.keys() == {"here", "there", "new"}
        there = entries["there"]
        assert not there.gone
        assert [one.snapshot_id for one in there.snapshots] == [SNAP]
        assert there.status is not None
        assert "does not answer" in there.status.condition.message
        assert entries["new"].status is not None
        assert not entries["new"].status.condition.abnormal


@pytest.mark.timeout(60)
def test_a_list_that_left_it_out_says_so_also_when_it_answers_again(two: TwoPools) -> None:
    two.gone.set()
    statuses = two.node.list_volumes()
    two.gone.clear()
    assert THERE not in {one.record.spec.volume_id for one in statuses}
    report = surveys.snapshot_report(two.node)
    assert "does not answer" in str(report.unread(SILENT))
    assert report.unread(POOL) is None
    silent = next(one for one in two.node.list_pools() if one.name == SILENT)
    assert (silent.healthy, silent.available_bytes) == (False, 0)


@pytest.mark.timeout(60)
def test_deletions_in_the_others_are_carried_out(two: TwoPools) -> None:
    catalogue = MemoryCatalogue()
    reporter = reporting.Reporter(catalogue, NODE, two.node)
    reporter.run_once()
    catalogue.request_deletion(HERE)
    catalogue.request_deletion(THERE)
    two.gone.set()
    reporter.run_once()
    assert reporter.wait_for_first(0)
    live = [one for one in two.node.list_volumes() if one.record.state is volumes.VolumeState.READY]
    assert not live
    entries = {entry.spec.name: entry for entry in catalogue.entries()}
    assert entries["there"].deletion_requested
    with pytest.raises(errors.HostFailure, match="which does not answer"):
        two.node.delete_volume(THERE)
    with pytest.raises(errors.HostFailure, match="which does not answer"):
        two.node.delete_snapshot(SNAP)


@pytest.mark.timeout(60)
def test_the_looks_at_the_others_go_on(two: TwoPools) -> None:
    node, world = two.node, two.world
    node.publisher.stage(HERE, "/k/staging", Access())
    two.gone.set()
    for _ in range(3):
        assert node.space_watch.check(patience_seconds=0.3) == []
    free_bytes = world.images.capacity().free_bytes
    world.images.allocate(ids.ImageId("other"), free_bytes - (64 << 20), preallocate=True)
    notes = node.space_watch.check(patience_seconds=5)
    assert any("pool fast is full" in note for note in notes)
    assert node.free_trash_for_low_space() == {}
    assert node.free_expired_trash() == []
    assert node.forgotten.check() == []
    node.space_watch.stop()


@pytest.mark.timeout(60)
def test_what_a_look_does_that_comes_back_too_late_is_undone(two: TwoPools) -> None:
    """It was taken out of service meanwhile, and nobody else would thaw its volumes."""
    node = two.node
    two.gone.set()
    node.space_watch.check(patience_seconds=0.2)
    look = node.space_watch._looks[SILENT]
    node._context.pool_set.leave(SILENT)
    node.space_watch.check(patience_seconds=0.2)
    assert look.over
    look.frozen = {THERE}  # as a look does that goes on
    two.over.set()
    deadline = time.monotonic() + 10
    while look.frozen and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not look.frozen


class Door:
    """A pool that the test breaks."""

    def __init__(self, fault: str = "", over: threading.Event | None = None) -> None:
        self.fault, self.over = fault, over
        self.opened = 0

    def probe(self) -> None:
        if self.fault:
            raise errors.HostFailure(self.fault)

    def open(self) -> OpenPool:
        self.opened += 1
        assert self.over is not None
        self.over.wait(60)
        raise errors.HostFailure("its disk is gone")

    def claimed(self) -> str:
        return "uuid"

    def retire(self) -> None:
        return

    def give_up(self) -> None:
        return


@pytest.mark.timeout(60)
def test_one_that_hangs_while_it_is_opened_does_not_stop_the_watch(two: TwoPools) -> None:
    found = two.node._context
    found.pool_set.shut(FailedPool(SILENT, pools.PoolBackend.REFLINK, "its disk is gone"))
    dead, live = Door(over=two.over), Door()
    watch = pool_watch.PoolWatch(found, {SILENT: dead, POOL: live})
    assert watch.check(now=True, patience_seconds=0.3) == []
    live.fault = "EIO"
    began = time.monotonic()
    assert watch.check(now=True, patience_seconds=0.3) == ["pool fast has failed: EIO"]
    assert time.monotonic() - began < 2
    assert dead.opened == 1
