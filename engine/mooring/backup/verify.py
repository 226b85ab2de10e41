"""Check of a backup: is it whole, and, if asked, is every byte of it still what was written?

A check names what is damaged and what it touches; it changes nothing.
"""

import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mooring.backup import blob_index, chunk_hashing, progress, tree_walk
from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs
from mooring.domain import backups, errors
from mooring.planning import backup_reads

_MAXIMUM_PROBLEMS = 100
_NAMED_PLACES = 4


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        backups: Number of backups looked at.
        chunks: Number of chunks looked at.
        bytes_read: Bytes read from packs.
        problems: What is wrong, in words; empty if all is well. At most 100 are kept.
        problem_count: How many there were.
    """

    backups: int = 0
    chunks: int = 0
    bytes_read: int = 0
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def healthy(self) -> bool:
        """True when nothing is wrong."""
        return not self.problem_count

    def add(self, problem: str) -> None:
        """Notes a problem."""
        self.problem_count += 1
        if len(self.problems) < _MAXIMUM_PROBLEMS:
            self.problems.append(problem)

    def take(self, other: "CheckReport") -> None:
        """Notes all problems of another report."""
        self.problem_count += other.problem_count
        self.problems.extend(other.problems[: _MAXIMUM_PROBLEMS - len(self.problems)])


def check_backup(
    repository: repositories.Repository,
    backup_id: backups.BackupId,
    watch: progress.Watch,
    *,
    full: bool = False,
) -> CheckReport:
    """Checks one backup.

    Args:
        repository: Which.
        backup_id: Of the backup.
        watch: Told of progress.
        full: Whether to read, decrypt and re-hash all of it.

    Raises:
        NotFound: There is no such backup.
        Unreachable: The store does not answer; nothing is known.
        Cancelled: The watch said so.
    """
    report = CheckReport()
    try:
        manifest = repository.manifest(backup_id)
    except errors.DataCorrupt as error:
        report.add(f"backup {backup_id}: {error}")
    else:
        _check(repository, manifest, watch, report, full=full)
    return report


def _check(
    repository: repositories.Repository,
    manifest: backups.BackupManifest,
    watch: progress.Watch,
    report: CheckReport,
    *,
    full: bool,
) -> None:
    report.backups += 1
    try:
        check = _Check(repository, manifest, watch, report)
        check.run(full=full)
        for lack in blob_index.advice(check.lacks()):
            report.add(f"{_of(manifest)} is not damaged by this, but {lack}")
    except errors.DataCorrupt as error:
        report.add(f"{_of(manifest)}: {error}")


def name_places(
    repository: repositories.Repository,
    manifest: backups.BackupManifest,
    bad: Mapping[bytes, str],
    report: CheckReport,
) -> set[bytes]:
    """Says where in a backup certain chunks are.

    Args:
        repository: Which.
        manifest: Of the backup.
        bad: Ids, each with what is wrong with it.
        report: Told of each place.

    Returns:
        The ids that the backup needs for its content.
    """
    named: set[bytes] = set()
    places = _Places(manifest, report)
    try:
        for window in tree_walk.Content(repository, manifest).windows():
            for ident in bad.keys() & window.places.keys():
                named.add(ident)
                places.add(window.places[ident], bad[ident])
    except errors.DataCorrupt as error:
        report.add(f"{_of(manifest)}: {error}")
    places.report()
    return named


def _of(manifest: backups.BackupManifest) -> str:
    moment = manifest.point_in_time.isoformat(timespec="seconds")
    return f"backup {manifest.backup_id} of {moment} (volume {manifest.volume.uid})"


class _Places:
    """Damaged places of one backup: one problem for all that have the same cause. Thread-safe."""

    def __init__(self, manifest: backups.BackupManifest, report: CheckReport) -> None:
        self._manifest = manifest
        self._report = report
        self._found: dict[str, tuple[int, list[int]]] = {}
        self._lock = threading.Lock()

    def add(self, numbers: list[int], why: str) -> None:
        with self._lock:
            count, first = self._found.get(why, (0, []))
            first = sorted([*first, *numbers])[:_NAMED_PLACES]
            self._found[why] = (count + len(numbers), first)

    def report(self) -> None:
        size = self._manifest.chunk_size_bytes
        for why, (count, first) in self._found.items():
            where = ", ".join(str(number * size) for number in first)
            more = f" and {count - len(first)} more places" if count > len(first) else ""
            self._report.add(f"{_of(self._manifest)} is damaged at byte {where}{more}: {why}")
        self._found.clear()


class _Check:
    def __init__(
        self,
        repository: repositories.Repository,
        manifest: backups.BackupManifest,
        watch: progress.Watch,
        report: CheckReport,
    ) -> None:
        self._repository = repository
        self._manifest = manifest
        self._report = report
        self._meter = progress.ProgressMeter(watch, manifest.volume.size_bytes)
        self._content = tree_walk.Content(repository, manifest)
        self._judged: dict[int, bool] = {}
        self._places = _Places(manifest, report)

    def run(self, *, full: bool) -> None:
        workers = chunk_hashing.worker_count()
        pending: deque[Future[tuple[int, int]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-check")
        try:
            for window in self._content.windows():
                self._meter.check()
                self._meter.add(done=sum(length for _, length in window.zeros))
                for planned in self._plan(window):
                    if full:
                        pending.append(pool.submit(self._read, planned, window.places))
                    while len(pending) > 4 * workers:
                        self._collect(pending)
                if not full:
                    self._meter.add(done=window.length - sum(part for _, part in window.zeros))
            while pending:
                self._collect(pending)
        finally:
            pool.shutdown(cancel_futures=True)
            self._places.report()
        self._meter.finish()

    def lacks(self) -> list[str]:
        return self._content.lacks()

    def _collect(self, pending: "deque[Future[tuple[int, int]]]") -> None:
        self._meter.check()
        done, read = pending.popleft().result()
        self._report.bytes_read += read
        self._meter.add(done=done, read=read)

    def _plan(self, window: tree_walk.Window) -> list[backup_reads.PackRead]:
        wanted = []
        for ident, numbers in window.places.items():
            self._report.chunks += 1
            found = self._content.index.find(ident)
            if found is not None and not self._pack_is_there(found):
                found = self._content.index.find(ident) or found
            if found is None:
                self._places.add(numbers, "chunks are in no index segment")
            elif self._pack_is_there(found):
                wanted.append(found)
            else:
                name = self._content.index.pack(found.pack).name
                self._places.add(numbers, f"pack {name.hex()} is missing or has a wrong size")
        return backup_reads.plan_reads(wanted)

    def _pack_is_there(self, found: backup_reads.StoredChunk) -> bool:
        if found.pack not in self._judged:
            pack = self._content.index.pack(found.pack)
            info = self._repository.store.head(layout.pack_key(pack.name))
            self._judged[found.pack] = info is not None and info.size_bytes == pack.size_bytes
            if not self._judged[found.pack]:  # a collector may have copied what was in it
                self._content.index.lose(found.pack)
        end = self._content.index.pack(found.pack).size_bytes - packs.TRAILER_BYTES
        return self._judged[found.pack] and found.offset + found.length <= end

    def _read(
        self, planned: backup_reads.PackRead, places: dict[bytes, list[int]]
    ) -> tuple[int, int]:
        done = 0
        try:
            for ident, data in self._content.reader.read(planned):
                done += len(data) * len(places[ident])
                self._check_lengths(ident, data, places[ident])
        except errors.DataCorrupt as error:
            if len(planned.chunks) == 1:
                self._places.add(places[planned.chunks[0].ident], str(error))
                return done, planned.length
            done = self._one_by_one(planned, places)
        return done, planned.length

    def _one_by_one(self, planned: backup_reads.PackRead, places: dict[bytes, list[int]]) -> int:
        """Reads again chunk by chunk, so that one flipped bit is blamed on one chunk only."""
        singles = (
            backup_reads.PackRead(planned.pack, chunk.offset, chunk.length, (chunk,))
            for chunk in planned.chunks
        )
        return sum(self._read(single, places)[0] for single in singles)

    def _check_lengths(self, ident: bytes, data: bytes, numbers: list[int]) -> None:
        if any(len(data) != self._content.chunk_length(number) for number in numbers):
            self._places.add(numbers, f"chunk {ident.hex()} has a wrong length")
