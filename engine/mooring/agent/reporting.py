"""The agent's side of the catalogue: deletions asked for while it was away, and its own report.

A report is a copy of records at one moment. If a deletion could finish between the copy and its
arrival, the report would bring a deleted volume's entry back; so a deletion, once done, waits for
a report that began before it.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import structlog

from mooring.domain import errors, extents, ids, pools, volumes
from mooring.ports import catalogue as catalogue_port
from mooring.ports import nodes as nodes_port
from mooring.volumes.fleet import surveys, tombstones

_log = structlog.get_logger("reporting")
_INTERVAL_SECONDS = 30.0
_RETRY_SECONDS = 3.0
_SETTLE_SECONDS = 0.2
_REST_FACTOR = 8.0
"""A report costs time with the number of volumes; it may take at most one part in nine of it."""
_LONGEST_REPORT_SECONDS = 60.0


class Reporter:
    """Projects this node's records into the catalogue, after changes and from time to time."""

    def __init__(
        self,
        catalogue: catalogue_port.Catalogue,
        node: ids.NodeName,
        storage: nodes_port.OwnStorage,
        *,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._catalogue = catalogue
        self._node = node
        self._storage = storage
        self._interval_seconds = interval_seconds
        self._reporting = threading.Lock()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._reported = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporting", daemon=True)

    def start(self) -> None:
        """Begins to report, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the background work."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(timeout=_RETRY_SECONDS)

    def changed(self) -> None:
        """Asks for a report soon; returns at once."""
        self._changed.set()

    def deleted(self) -> None:
        """Waits until no report that began earlier is under way; then asks for a new one."""
        if self._reporting.acquire(timeout=_LONGEST_REPORT_SECONDS):
            self._reporting.release()
        self.changed()

    def wait_for_first(self, timeout_seconds: float | None = None) -> bool:
        """Waits until deletions were carried out and reported once; False when time is over."""
        return self._reported.wait(timeout_seconds)

    def run_once(self) -> None:
        """Frees old trash, carries out what the catalogue asks for, then reports.

        Raises:
            Unreachable: The catalogue does not answer.
        """
        self._free_expired_trash()
        carried = tombstones.carry_out(self._catalogue, self._node, self._storage)
        refused = [*carried.refused, *carried.kept_from.values()]
        if carried.volumes or carried.snapshots or refused:
            _log.info(
                "recorded deletions",
                volumes=carried.volumes,
                snapshots=carried.snapshots,
                refused=refused,
            )
        with self._reporting:
            report = _explained(surveys.node_report(self._storage), carried.kept_from)
            tombstones.forget_freed(self._catalogue, carried.trashed, report)
            self._catalogue.report(self._node, report)
        self._reported.set()

    def _free_expired_trash(self) -> None:
        """Needs no catalogue, and holds up no report."""
        try:
            freed = self._storage.free_expired_trash()
        except errors.MooringError as error:
            _log.warning("trash not freed", reason=error.reason, message=str(error))
            return
        if freed:
            _log.info("freed what was in the trash long enough", volumes=freed)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            wait_seconds = self._interval_seconds
            started = time.monotonic()
            try:
                self.run_once()
            except errors.MooringError as error:
                _log.warning("not reported", reason=error.reason, message=str(error))
                wait_seconds = _RETRY_SECONDS
            except Exception:  # a fault must not end the reports
                _log.exception("fault while reporting")
                wait_seconds = _RETRY_SECONDS
            rest_seconds = max(_SETTLE_SECONDS, _REST_FACTOR * (time.monotonic() - started))
            if self._changed.wait(wait_seconds):
                self._stopping.wait(rest_seconds)  # gathers a burst of changes


def _explained(
    report: catalogue_port.NodeReport, kept_from: Mapping[ids.VolumeId, str]
) -> catalogue_port.NodeReport:
    """Says of volumes that are wanted back from the trash why they are not back."""
    if not kept_from:
        return report
    statuses = [
        replace(status, condition=volumes.VolumeCondition(True, kept_from[volume_id]))
        if (volume_id := status.record.spec.volume_id) in kept_from
        else status
        for status in report.statuses
    ]
    return replace(report, statuses=statuses)


class ReportingStorage:
    """A node's storage that tells the reporter of every change."""

    def __init__(self, storage: nodes_port.NodeStorageAndSnapshots, reporter: Reporter) -> None:
        self._storage = storage
        self._reporter = reporter

    def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        """Creates a volume."""
        record = self._storage.create_volume(spec)
        self._reporter.changed()
        return record

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        """Deletes a volume; an absent one is no error."""
        self._storage.delete_volume(volume_id)
        self._reporter.deleted()

    def expand_volume(self, volume_id: ids.VolumeId, size_bytes: int) -> volumes.VolumeRecord:
        """Grows the image."""
        record = self._storage.expand_volume(volume_id, size_bytes)
        self._reporter.changed()
        return record

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a Filling volume Ready."""
        record = self._storage.finish_filling(volume_id)
        self._reporter.changed()
        return record

    def list_volumes(self) -> Sequence[volumes.VolumeStatus]:
        """Returns every volume of the node."""
        return self._storage.list_volumes()

    def list_pools(self) -> Sequence[pools.PoolStatus]:
        """Returns every pool of the node."""
        return self._storage.list_pools()

    def create_snapshot(
        self, snapshot_id: ids.SnapshotId, name: str, *, freeze_timeout_seconds: float
    ) -> volumes.SnapshotRecord:
        """Takes a snapshot."""
        record = self._storage.create_snapshot(
            snapshot_id, name, freeze_timeout_seconds=freeze_timeout_seconds
        )
        self._reporter.changed()
        return record

    def offer_snapshot(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        """Lets one other node read a snapshot for a while."""
        self._storage.offer_snapshot(snapshot_id, node)

    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> AbstractContextManager[extents.ImageRanges]:
        """Finds what of a snapshot holds data, or changed."""
        return self._storage.read_ranges(snapshot_id, base_id)

    def keep_base(self, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        """Keeps a snapshot for the next backup."""
        self._storage.keep_base(snapshot_id, base)
        self._reporter.changed()

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Deletes a snapshot; an absent one is no error."""
        self._storage.delete_snapshot(snapshot_id)
        self._reporter.deleted()

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot of the node."""
        return self._storage.list_snapshots()
