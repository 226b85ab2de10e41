"""Scrubbing: a backup that reads only what changed reads some of the rest too, and compares.

A chunk that differs from the parent's although tracking says that it did not change is read again
past the kernel's cache. If it differs still, the disk has lost it or tracking missed a write. The
backup gets what is there now, and says so; the parent keeps what was there before.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice

from mooring.backup import (
    capture_jobs,
    chunk_hashing,
    devices,
    progress,
    suspicion,
    tree_reader,
)
from mooring.backup import repository as repositories
from mooring.backup.format import layout, trees
from mooring.domain import backups, errors
from mooring.domain.extents import Range
from mooring.planning import changed_ranges, scrubbing

_MOST_LOST = 4096  # chunks; with more the list would grow with the volume


@dataclass(frozen=True)
class ScrubRequest:
    """What is to be looked at.

    Attributes:
        parent: The backup before.
        latest: Those whose suspect places are looked at; mostly the parent alone.
        tree: The parent's tree; None when nothing is compared with it.
        changed: What may differ from it; everything when there is no tree.
        turn: What of the rest is read again.
        why_all: Why that is everything; empty when it is a part.
    """

    parent: backups.BackupManifest
    latest: tuple[backups.BackupManifest, ...] = ()
    tree: tree_reader.TreeReader | None = None
    changed: Iterable[Range] = ()
    turn: scrubbing.Turn = scrubbing.NO_TURN
    why_all: str = ""


@dataclass
class Scrubbed:
    """What came of it.

    Attributes:
        record: For the manifest.
        ranges: What has to be read into the backup, on top of what changed; in order.
        notes: Things worth knowing, for a log.
        shown: How far the watch was told that it is; None when it was told nothing.
    """

    record: backups.ScrubRecord = field(default_factory=backups.ScrubRecord)
    ranges: tuple[Range, ...] = ()
    notes: list[str] = field(default_factory=list)
    shown: progress.Progress | None = None


def scrub(
    repository: repositories.Repository,
    source: devices.VolumeSource,
    request: ScrubRequest,
    watch: progress.Watch,
) -> Scrubbed:
    """Reads again what is to be looked at, and what earlier backups found suspect.

    Args:
        repository: Where the parent is.
        source: The volume as it is now.
        request: What to look at.
        watch: Limits the rate, and may cancel it.

    Where the parent's tree cannot be read, everything has to be.

    Raises:
        Cancelled: The watch said so.
    """
    parent, size, end = request.parent, request.parent.chunk_size_bytes, source.size_bytes
    own = suspicion.Suspicion(repository, parent, source)
    known = _Known(own)
    changed = [Range(0, end)] if request.tree is None else request.changed
    for one in request.latest:
        same = one.backup_id == parent.backup_id
        known.judge(own if same else suspicion.Suspicion(repository, one, source), changed)
    found = _Found()
    if request.tree is not None:
        apart = changed_ranges.aligned(Together(changed, sorted(known.ranges)), size, end)
        rest = scrubbing.without(request.turn.ranges, apart)
        found = _Scrubbing(repository, source, request, watch).run(request.tree, rest)
    lost = [own.everything()] if found.lost_much else own.placed(*found.lost())
    all_again = found.lost_much or bool(found.broken) or known.broken
    again = tuple(sorted({*known.again, *_ranges(found.differing, size, end)}))
    record = backups.ScrubRecord(
        next_chunk=request.turn.next_chunk,
        bytes_read=found.bytes_read,
        doubted=bool(lost or known.fresh),
        whole=request.tree is None or bool(request.why_all) or all_again,
        suspect=scrubbing.joined([*known.places, *lost]),
    )
    notes = [*known.notes, *found.notes()]
    if request.why_all:
        notes.append(f"the rest was read as well, because {request.why_all}")
    return Scrubbed(record, (Range(0, end),) if all_again else again, notes, found.shown)


class Together:
    """Two sources of ranges, each in order, as one; gone through as often as wanted."""

    def __init__(self, one: Iterable[Range], other: Iterable[Range]) -> None:
        self._parts = (one, other)

    def __iter__(self) -> Iterator[Range]:
        return merge(*self._parts)


class _Known:
    """What became of all that earlier backups found suspect."""

    def __init__(self, own: suspicion.Suspicion) -> None:
        self._own = own
        self.ranges: list[Range] = []  # looked at
        self.again: list[Range] = []  # to be read into the backup
        self.places: list[backups.SuspectPlace] = []
        self.notes: list[str] = []
        self.fresh = self.broken = False

    def judge(self, one: suspicion.Suspicion, changed: Iterable[Range]) -> None:
        judged = one.judge(changed)
        self.ranges += one.ranges
        # What is as in another backup need not be as in the parent.
        self.again += judged.changed if one is self._own else one.ranges
        self.places += judged.places
        self.notes += [note for note in judged.notes if note not in self.notes]
        self.fresh = self.fresh or judged.fresh
        self.broken = self.broken or judged.broken


@dataclass
class _Found:
    differing: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    passing: int = 0
    bytes_read: int = 0
    broken: str = ""
    shown: progress.Progress | None = None

    def lost(self) -> tuple[list[int], list[int]]:
        return self.differing, self.unreadable

    @property
    def lost_much(self) -> bool:
        return len(self.differing) + len(self.unreadable) > _MOST_LOST

    def notes(self) -> list[str]:
        found = []
        if self.passing:
            found.append(
                f"{self.passing} chunks were read wrong once and right the second time: the memory "
                "of this machine, or the way to its disk, is not to be trusted"
            )
        if self.lost_much:
            found.append("so much differs from the backup before that everything is read anew")
        if self.broken:
            found.append(f"everything is read, because the parent cannot be: {self.broken}")
        return found


@dataclass(frozen=True)
class _Look:
    """What a worker saw of a job; no batch where something could not be read."""

    runs: tuple[tuple[int, int], ...]
    batch: chunk_hashing.Batch | None


class _Scrubbing:
    """One turn: worker threads read and hash, one thread compares with the parent's tree."""

    def __init__(
        self,
        repository: repositories.Repository,
        source: devices.VolumeSource,
        request: ScrubRequest,
        watch: progress.Watch,
    ) -> None:
        self._source = source
        self._request = request
        self._size = request.parent.chunk_size_bytes
        self._id_key = repository.keys.id_key(layout.BlobKind.DATA)
        self._hasher = chunk_hashing.ChunkHasher(source, self._id_key, self._size, lambda _: True)
        # A turn is a moment's work, but after a finding it is the whole volume, and what changed
        # is read after it.
        shown = watch if request.why_all else replace(watch, report=lambda _: None)
        self._meter = progress.ProgressMeter(shown, source.size_bytes, passes=2)
        self._found = _Found()

    def run(self, tree: tree_reader.TreeReader, ranges: Iterable[Range]) -> _Found:
        workers = chunk_hashing.reader_count()
        pending: deque[tuple[capture_jobs.Job, bytes, Future[_Look]]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="mooring-scrub")
        try:
            for job in self._jobs(tree, ranges):
                before = tree.leaf(job.leaf)
                pending.append((job, before, pool.submit(self._look, job, before)))
                if len(pending) > 2 * workers:
                    self._take(*pending.popleft())
                if self._found.lost_much:
                    break
            while pending:
                self._take(*pending.popleft())
        except errors.DataCorrupt as error:
            self._found.broken = str(error)
        finally:
            pool.shutdown(cancel_futures=True)
        if self._request.why_all:
            self._found.shown = self._meter.progress
        return self._found

    def _jobs(
        self, tree: tree_reader.TreeReader, ranges: Iterable[Range]
    ) -> Iterator[capture_jobs.Job]:
        most = self._hasher.batch_chunks
        jobs = capture_jobs.touched(ranges, self._size, self._source.size_bytes, most)
        while some := list(islice(jobs, tree_reader.AHEAD)):
            tree.want({job.leaf for job in some})
            yield from some

    def _look(self, job: capture_jobs.Job, before: bytes) -> _Look:
        runs = tuple(run for run in job.runs if not self._is_hole(*run, before))
        try:
            return _Look(runs, self._hasher.work(capture_jobs.Job(job.leaf, runs), before))
        except errors.HostFailure:
            return _Look(runs, None)

    def _is_hole(self, first: int, count: int, before: bytes) -> bool:
        offset = first * self._size
        length = min(count * self._size, self._source.size_bytes - offset)
        return not any(_ids(before, first, count)) and self._source.is_hole(offset, length)

    def _take(self, job: capture_jobs.Job, before: bytes, work: Future[_Look]) -> None:
        look = work.result()
        self._meter.check()
        for place, (first, count) in enumerate(look.runs):
            seen = look.batch.ids[place] if look.batch is not None else b""
            for number in range(first, first + count):
                self._compare(number, _ids(before, number, 1), seen)
                seen = seen[layout.ID_BYTES :]
        end = min(job.end * self._size, self._source.size_bytes)
        read = sum(count for _, count in look.runs) * self._size
        self._meter.hold_back(read)
        self._meter.add(done=max(0, end - self._meter.progress.done), read=read)
        self._found.bytes_read += read

    def _compare(self, number: int, wanted: bytes, seen: bytes) -> None:
        """Notes a chunk that is not what it was; first it is read again, past the cache."""
        if seen.startswith(wanted):
            return
        offset = number * self._size
        try:
            content = self._source.read_anew(
                offset, min(self._size, self._source.size_bytes - offset)
            )
        except errors.HostFailure:
            self._found.unreadable.append(number)
            return
        if suspicion.ident(self._id_key, content) != wanted:
            self._found.differing.append(number)
        elif seen:
            self._found.passing += 1


def _ids(node: bytes, first: int, count: int) -> bytes:
    start = first % trees.FANOUT * layout.ID_BYTES
    return node[start : start + count * layout.ID_BYTES]


def _ranges(numbers: Iterable[int], size: int, end: int) -> tuple[Range, ...]:
    return tuple(Range(number * size, min(size, end - number * size)) for number in numbers)
