"""What is laid out anew, and which copies are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors
from mooring.domain.extents import Extent
from mooring.domain.pools import PoolCapacity
from mooring.planning import fragmentation, space_marks

KIB, MIB = 1 << 10, 1 << 20
_piece = st.tuples(st.integers(1, 600), st.sampled_from(["data", "shared", "unwritten", "hole"]))


def _window(pieces: list[tuple[int, str]]) -> list[Extent]:
    window, offset = [], 0
    for blocks, kind in pieces:
        length = blocks * 4 * KIB
        if kind != "hole":
            window.append(Extent(offset, length, kind != "unwritten", kind == "shared"))
        offset += length
    return window


def _blocks(ranges: list[tuple[int, int]]) -> list[int]:
    return [block for begin, length in ranges for block in range(begin, begin + length, 4 * KIB)]


@given(pieces=st.lists(_piece, max_size=40))
def test_runs_hold_what_is_written_and_nothing_else(pieces: list[tuple[int, str]]) -> None:
    window = _window(pieces)
    found = list(fragmentation.runs(window))
    written = [(one.offset_bytes, one.length_bytes) for one in window if one.written]
    batches = [batch for run in found for batch in run.batches()]
    steps = [piece for batch in batches for piece in fragmentation.pieces(*batch)]
    assert _blocks(steps) == _blocks(batches) == _blocks(written)
    assert all(0 < length <= 256 * KIB for _, length in steps)
    assert sum(run.count for run in found) == len(written)
    assert sum(run.shared_bytes for run in found) == sum(
        one.length_bytes for one in window if one.shared
    )
    ends = [run.offset_bytes + run.length_bytes for run in found]
    between = zip(ends, found[1:], strict=False)
    assert all(end <= after.offset_bytes for end, after in between)


@pytest.mark.parametrize(
    ("count", "shared", "room", "worth"),
    [
        (8, 0, 99 * MIB, False),  # joins too few
        (9, 0, 99 * MIB, True),
        (9, 0, 8 * MIB, True),
        (9, 0, 8 * MIB - 1, False),  # no room for the time of the copy
        (9, 2 * MIB, 10 * MIB, True),
        (9, 2 * MIB, 10 * MIB - 1, False),  # no room for what a snapshot keeps
        (9, 2 * MIB + 1, 99 * MIB, False),  # costs more than it saves
    ],
)
def test_what_is_worth_it(count: int, shared: int, room: int, worth: bool) -> None:
    run = fragmentation.Run(0, 8 * MIB, count, shared)
    assert fragmentation.is_worth_it(run, room) is worth


@given(copies=st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e4)), max_size=30))
def test_no_copy_moves_the_pace_out_of_its_bounds(copies: list[tuple[int, float]]) -> None:
    pace = fragmentation.Pace()
    for count, seconds in copies:
        pace = pace.learned(count, seconds)
    assert 0.4 < pace.predicted_seconds(100_000) < 30


def test_a_slow_disk_is_believed_at_once_and_a_quick_one_slowly() -> None:
    start = fragmentation.Pace()
    assert start.predicted_seconds(100_000) == pytest.approx(1.8)
    assert start.learned(100_000, 7.0).predicted_seconds(100_000) == pytest.approx(7)
    assert 1.4 < start.learned(100_000, 1.0).predicted_seconds(100_000) < 1.8
    assert start.learned(10, 7.0) == start


def test_a_copy_that_would_hold_writers_too_long_is_refused_with_advice() -> None:
    pace = fragmentation.Pace()
    fragmentation.require_quick(pace, 270_000, 10, "volume v")
    with pytest.raises(errors.Fragmented, match=r"volume v .* 280,000 .* 5\.0 s .*Nothing was fro"):
        fragmentation.require_quick(pace, 280_000, 10, "volume v")
    fragmentation.require_quick(pace, 280_000, 20, "volume v")


def test_the_room_that_a_pool_keeps_free_is_never_taken() -> None:
    assert space_marks.above_low_bytes(PoolCapacity(1000, 150)) == 50
    assert space_marks.above_low_bytes(PoolCapacity(1000, 99)) == 0
