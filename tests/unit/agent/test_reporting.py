"""The agent's reports: after changes, after silence, and never bringing a deleted volume back."""

import threading

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.agent import reporting
from mooring.domain import errors, ids, volumes
from support.fake_nodes import FakeNode

NODE = ids.NodeName("node-a")


def make_spec(name: str = "pvc-1") -> volumes.VolumeSpec:
    return volumes.VolumeSpec(ids.volume_id_for(name), name, ids.PoolName("main"), 1 << 30)


class SlowCatalogue(MemoryCatalogue):
    """Holds a report back until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()
        self.gate = threading.Event()

    def report(self, node, report) -> None:
        self.arrived.set()
        assert self.gate.wait(10)
        super().report(node, report)


def test_a_report_under_way_cannot_bring_a_deleted_volume_back():
    catalogue, node = SlowCatalogue(), FakeNode("node-a")
    reporter = reporting.Reporter(catalogue, NODE, node)
    storage = reporting.ReportingStorage(node, reporter)
    spec = make_spec()
    catalogue.reserve(spec, NODE)
    storage.create_volume(spec)

    reports = threading.Thread(target=reporter.run_once)
    reports.start()
    assert catalogue.arrived.wait(10)  # it has read the records, the volume is among them
    deleting = threading.Thread(target=storage.delete_volume, args=(spec.volume_id,))
    deleting.start()
    deleting.join(0.1)
    assert deleting.is_alive(), "the deletion was answered before the older report had arrived"
    catalogue.gate.set()
    deleting.join(10)
    reports.join(10)
    catalogue.drop(spec.volume_id)  # what the controller does with the answer
    reporter.run_once()
    assert catalogue.entries() == []


def test_recorded_deletions_come_before_the_first_report():
    catalogue, node = MemoryCatalogue(), FakeNode("node-a")
    spec = make_spec()
    node.create_volume(spec)
    catalogue.reserve(spec, NODE)
    catalogue.request_deletion(spec.volume_id)
    reporter = reporting.Reporter(catalogue, NODE, node)
    assert not reporter.wait_for_first(0)
    reporter.run_once()
    assert reporter.wait_for_first(0)
    assert node.volumes == {}
    assert catalogue.entries() == []


def test_changes_are_reported_soon_and_a_silent_catalogue_is_asked_again():
    class Flaky(MemoryCatalogue):
        def __init__(self) -> None:
            super().__init__()
            self.failures = 1
            self.reported = threading.Semaphore(0)

        def entries(self):
            if self.failures:
                self.failures -= 1
                raise errors.Unreachable("the API server does not answer")
            return super().entries()

        def report(self, node, report) -> None:
            super().report(node, report)
            self.reported.release()

    catalogue, node = Flaky(), FakeNode("node-a")
    reporter = reporting.Reporter(catalogue, NODE, node, interval_seconds=60)
    storage = reporting.ReportingStorage(node, reporter)
    reporter.start()
    try:
        storage.create_volume(make_spec())
        assert catalogue.reported.acquire(timeout=10)
        while not catalogue.entries():
            assert catalogue.reported.acquire(timeout=10)
        assert catalogue.entries()[0].node == NODE
    finally:
        reporter.stop()


def test_a_change_of_every_kind_asks_for_a_report():
    class Counting(reporting.Reporter):
        asked = 0

        def changed(self) -> None:
            self.asked += 1

    node = FakeNode("node-a")
    reporter = Counting(MemoryCatalogue(), NODE, node)
    storage = reporting.ReportingStorage(node, reporter)
    spec = make_spec()
    snapshot_id = ids.snapshot_id_for("s", spec.volume_id)
    storage.create_volume(spec)
    storage.expand_volume(spec.volume_id, 2 << 30)
    storage.finish_filling(spec.volume_id)
    storage.create_snapshot(snapshot_id, "s", freeze_timeout_seconds=1)
    assert (len(storage.list_volumes()), len(storage.list_snapshots())) == (1, 1)
    assert storage.list_pools() == node.list_pools()
    storage.delete_snapshot(snapshot_id)
    storage.delete_volume(spec.volume_id)
    assert reporter.asked == 6


def test_a_deletion_that_is_refused_stays_an_error():
    node = FakeNode("node-a")
    storage = reporting.ReportingStorage(node, reporting.Reporter(MemoryCatalogue(), NODE, node))
    node.create_volume(make_spec())
    node.in_use.add(make_spec().volume_id)
    with pytest.raises(errors.InUse):
        storage.delete_volume(make_spec().volume_id)


def test_a_volume_is_wanted_back_from_the_trash():
    catalogue, node = MemoryCatalogue(), FakeNode("node-a")
    spec = make_spec()
    node.create_volume(spec)
    trashed = node.trash(spec.volume_id)
    reporter = reporting.Reporter(catalogue, NODE, node)
    reporter.run_once()
    assert catalogue.entry(trashed).trashed
    catalogue.request_undelete(trashed)
    node.no_room_to_undelete = True
    reporter.run_once()
    entry = catalogue.entry(trashed)
    assert entry.undelete_requested
    assert "no room" in entry.status.condition.message
    node.no_room_to_undelete = False
    reporter.run_once()
    entry = catalogue.entry(trashed)
    assert (entry.trashed, entry.undelete_requested) == (False, False)
    assert node.volumes[trashed].state is volumes.VolumeState.READY


def test_the_entry_of_a_trashed_volume_goes_when_its_bytes_are_gone():
    catalogue, node = MemoryCatalogue(), FakeNode("node-a")
    spec = make_spec()
    node.create_volume(spec)
    trashed = node.trash(spec.volume_id)
    reporter = reporting.Reporter(catalogue, NODE, node)
    reporter.run_once()
    del node.volumes[trashed]
    catalogue.request_undelete(trashed)  # too late
    reporter.run_once()
    assert catalogue.entries() == []
