"""How long a copy of a fragmented image takes, and what of it to lay out anew. Pure.

An image in many pieces is slow to share: the kernel goes through them one by one, and whoever
writes waits. So the time is predicted, a copy that would hold writers too long is refused before
it begins, and images in too many pieces are laid out anew while they are in use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mooring.domain import errors, extents

BLOCK_BYTES = 4 << 10
"""Extents begin and end at whole blocks of the backing filesystem."""
WINDOW_BYTES = 32 << 20
"""Laid out in one place at a time; takes so much room until it is done."""
PIECE_BYTES = 256 << 10
"""Writers wait for one piece at most."""
BATCH_BYTES = 1 << 20
"""Copied, brought to the disk and taken over without a pause; what is written to stays."""
SMALLEST_PIECE_BYTES = 16 << 10
"""A piece that was written to is halved down to this, so that little of it stays."""

_START_SECONDS = 18e-6
_QUICKEST_SECONDS = _START_SECONDS / 4
_SLOWEST_SECONDS = _START_SECONDS * 16
_TELLING_EXTENTS = 2_000
_ALWAYS_QUICK_EXTENTS = 1_000
_FORGETTING = 0.25
_FREEZE_SHARE = 0.5
"""Of a freeze's time, for the copy; writing back what is cached takes its part before."""
_LEAST_GAIN = 8
_BYTES_FOR_AN_EXTENT = 256 << 10


@dataclass(frozen=True)
class Pace:
    """What one extent costs in a copy that shares blocks, learned from the pool's own copies.

    Attributes:
        seconds_an_extent: Begins as it was measured on a virtual disk: 1.8 s for 100,000.
    """

    seconds_an_extent: float = _START_SECONDS

    def predicted_seconds(self, count: int) -> float:
        """Returns how long a copy of so many extents takes."""
        return count * self.seconds_an_extent

    def learned(self, count: int, seconds: float) -> "Pace":
        """Takes a copy into account; slower ones at once, quicker ones little by little.

        Copies of few extents tell nothing, and no copy moves the figure out of its bounds.
        """
        if count < _TELLING_EXTENTS:
            return self
        seen = min(max(seconds / count, _QUICKEST_SECONDS), _SLOWEST_SECONDS)
        if seen < self.seconds_an_extent:
            seen = self.seconds_an_extent + _FORGETTING * (seen - self.seconds_an_extent)
        return Pace(seen)


def fits_a_freeze(pace: Pace, count: int, timeout_seconds: float) -> bool:
    """Whether a copy would end within its part of a freeze; one of few pieces always does."""
    if count <= _ALWAYS_QUICK_EXTENTS:
        return True
    return pace.predicted_seconds(count) <= timeout_seconds * _FREEZE_SHARE


def require_quick(pace: Pace, count: int, timeout_seconds: float, what: str) -> None:
    """Refuses a copy that would hold writers too long.

    Raises:
        Fragmented: It would; the message says what to do.
    """
    if fits_a_freeze(pace, count, timeout_seconds):
        return
    raise errors.Fragmented(
        f"{what} lies in {count:,} pieces: copying it would hold its writers for about "
        f"{pace.predicted_seconds(count):.1f} s, and {timeout_seconds * _FREEZE_SHARE:.1f} s of a "
        f"freeze's {timeout_seconds:.0f} s are for that. Nothing was frozen. Its node joins the "
        "pieces while the volume is in use, as long as the pool has room: try again later, let the "
        "freeze take longer, or stop the volume's pods for the time of the copy"
    )


@dataclass(frozen=True)
class Run:
    """Pieces without a gap that are laid out in one place together.

    Attributes:
        offset_bytes: Where in the image it begins.
        length_bytes: How long it is.
        count: How many extents it is now.
        shared_bytes: What other images hold of it: it is not freed, so it costs room for good.
    """

    offset_bytes: int
    length_bytes: int
    count: int
    shared_bytes: int = 0

    def batches(self) -> Iterator[tuple[int, int]]:
        """Yields offset and length of what is brought to the disk together."""
        end = self.offset_bytes + self.length_bytes
        for offset in range(self.offset_bytes, end, BATCH_BYTES):
            yield offset, min(BATCH_BYTES, end - offset)


def pieces(offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Yields offset and length of each piece of a range that one system call works on."""
    end = offset_bytes + length_bytes
    for offset in range(offset_bytes, end, PIECE_BYTES):
        yield offset, min(PIECE_BYTES, end - offset)


@dataclass
class _Run:
    """A run that still grows."""

    first: extents.Extent
    length_bytes: int = 0
    count: int = 0
    shared_bytes: int = 0

    def add(self, extent: extents.Extent) -> None:
        self.length_bytes += extent.length_bytes
        self.count += 1
        self.shared_bytes += extent.length_bytes if extent.shared else 0

    def ended(self) -> Run:
        return Run(self.first.offset_bytes, self.length_bytes, self.count, self.shared_bytes)


def runs(window: Iterable[extents.Extent]) -> Iterator[Run]:
    """Yields the runs of a window, in order.

    Holes stay holes and reserved blocks stay reserved, because no run holds any of either.
    """
    current: _Run | None = None
    end = -1
    for extent in window:
        if current is not None and (not extent.written or extent.offset_bytes != end):
            yield current.ended()
            current = None
        if not extent.written:
            continue
        current = current or _Run(extent)
        current.add(extent)
        end = extent.end_bytes
    if current is not None:
        yield current.ended()


@dataclass(frozen=True)
class Policy:
    """When and how quickly images are laid out anew.

    Attributes:
        above_extents: Images with more pieces are.
        bytes_per_second: Longest pace of copying.
    """

    above_extents: int = 5_000
    bytes_per_second: int = 16 << 20


def is_worth_it(run: Run, room_bytes: int) -> bool:
    """Whether a run is laid out anew.

    It has to join enough pieces, so that what was done once is not done again for nothing; what
    snapshots hold of it may cost 256 KiB of room for each piece that is saved; and the pool has
    to have the room, for the time of the copy and for good.

    Args:
        run: What is asked about.
        room_bytes: What may be taken without touching what the pool keeps free.
    """
    gain = run.count - 1
    if gain < _LEAST_GAIN or run.shared_bytes > gain * _BYTES_FOR_AN_EXTENT:
        return False
    return run.length_bytes + run.shared_bytes <= room_bytes
