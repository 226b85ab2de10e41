"""Check: is a backup whole, and, if asked, is every byte of it still what was written?

A check names what is damaged and what it touches; it changes nothing.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mooring.backup import chunk_hashing, progress, tree_walk
from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs
from mooring.domain import backups, errors
from mooring.planning import backup_reads

_MAXIMUM_PROBLEMS = 100


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        backups: Number of backups looked at.
        chunks: Number of chunks looked at; one counts for each backup that uses it.
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


def check_repository(
    repository: repositories.Repository, watch: progress.Watch, *, full: bool = False
) -> CheckReport:
    """Checks every backup, and with `full` reads every pack.

    Args:
        repository: Which.
        watch: Told of progress, backup by backup.
        full: Whether to read, decrypt and re-hash everything.

    Raises:
        Unreachable: The store does not answer; nothing is known.
        Cancelled: The watch said so.
    """
    report = CheckReport()
    for backup_id, found in repository.catalogue():
        if isinstance(found, backups.BackupManifest):
            _check(repository, found, watch, report, full=full)
        else:
            report.backups += 1
            report.add(f"backup {backup_id}: {found}")
    return report


def check_backup(
    repository: repositories.Repository,
    backup_id: backups.BackupId,
    watch: progress.Watch,
    *,
    full: bool = False,
) -> CheckReport:
    """Checks one backup; arguments and errors as for `check_repository`.

    Raises:
        NotFound: There is no such backup.
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
        _Check(repository, manifest, watch, report).run(full=full)
    except errors.DataCorrupt as error:
        report.add(f"backup {manifest.backup_id}: {error}")


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
        self._meter.finish()

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
            if found is None:
                self._damaged(numbers, f"chunk {ident.hex()} is in no index segment")
            elif self._pack_is_there(found):
                wanted.append(found)
            else:
                name = self._content.index.pack(found.pack).name
                self._damaged(numbers, f"pack {name.hex()} is missing or has a wrong size")
        return backup_reads.plan_reads(wanted)

    def _pack_is_there(self, found: backup_reads.StoredChunk) -> bool:
        if found.pack not in self._judged:
            pack = self._content.index.pack(found.pack)
            info = self._repository.store.head(layout.pack_key(pack.name))
            self._judged[found.pack] = info is not None and info.size_bytes == pack.size_bytes
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
                self._damaged(places[planned.chunks[0].ident], str(error))
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
            self._damaged(numbers, f"chunk {ident.hex()} has a wrong length")

    def _damaged(self, numbers: list[int], what: str) -> None:
        size = self._manifest.chunk_size_bytes
        where = ", ".join(str(number * size) for number in numbers[:4])
        more = f" and {len(numbers) - 4} more places" if len(numbers) > 4 else ""
        self._report.add(
            f"backup {self._manifest.backup_id} (volume {self._manifest.volume.uid}) is damaged "
            f"at byte {where}{more}: {what}"
        )
