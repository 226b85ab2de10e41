"""Which chunks a backup reads, cut into jobs for worker threads. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mooring.backup.format import trees
from mooring.domain.extents import Range
from mooring.planning import changed_ranges


@dataclass(frozen=True)
class Job:
    """Chunks of one leaf that one thread reads at once.

    Attributes:
        leaf: Number of the leaf.
        runs: Neighbouring chunks, in order: number of the first, and how many.
    """

    leaf: int
    runs: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        """Number of the chunk after its last one."""
        first, count = self.runs[-1]
        return first + count


def touched(
    ranges: Iterable[Range], chunk_size_bytes: int, size_bytes: int, most_chunks: int
) -> Iterator[Job]:
    """Yields jobs for all chunks that a range touches, in order."""
    whole = changed_ranges.aligned(ranges, chunk_size_bytes, size_bytes)
    runs = (
        (one.offset_bytes // chunk_size_bytes, -(-one.length_bytes // chunk_size_bytes))
        for one in whole
    )
    yield from _jobs(runs, most_chunks)


def _jobs(runs: Iterable[tuple[int, int]], most_chunks: int) -> Iterator[Job]:
    together: list[tuple[int, int]] = []
    room = 0
    for first, count in _cut(runs, most_chunks):
        leaf = first // trees.FANOUT
        if together and (count > room or leaf != together[0][0] // trees.FANOUT):
            yield Job(together[0][0] // trees.FANOUT, tuple(together))
            together = []
        room = (room if together else most_chunks) - count
        together.append((first, count))
    if together:
        yield Job(together[0][0] // trees.FANOUT, tuple(together))


def _cut(runs: Iterable[tuple[int, int]], most_chunks: int) -> Iterator[tuple[int, int]]:
    """Cuts runs where a leaf ends, and so that none is longer than a job may be."""
    for first, count in runs:
        start, end = first, first + count
        while start < end:
            leaf_end = (start // trees.FANOUT + 1) * trees.FANOUT
            stop = min(end, leaf_end, start + most_chunks)
            yield start, stop - start
            start = stop
