"""When sparse volumes stand still, when they go on, and when they breathe."""

from dataclasses import replace

import pytest

from mooring.domain.pools import PoolCapacity
from mooring.planning import space_marks
from mooring.planning.space_marks import Room

GIB = 1 << 30
MIB = 1 << 20
LARGE = Room(PoolCapacity(100 * GIB, 2 * GIB), wanting_bytes=50 * GIB)
SMALL = Room(PoolCapacity(GIB, 63 * MIB), wanting_bytes=GIB)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (LARGE, True),
        (replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB)), False),
        (replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB), owed_bytes=2 * GIB), True),
        (replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB), unwritten_bytes=GIB), False),
        (replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB), unwritten_bytes=2 * GIB), True),
        (replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB), pace=10 * GIB), True),
        (replace(LARGE, wanting_bytes=GIB), False),  # all that was promised is there
        (SMALL, True),
        (replace(SMALL, capacity=PoolCapacity(GIB, 65 * MIB)), False),
    ],
)
def test_they_stop_where_the_next_writes_may_find_no_room(room: Room, expected: bool) -> None:
    assert room.must_freeze is expected
    assert not (room.must_freeze and room.may_thaw)
    assert room.is_near or not room.must_freeze


def test_they_go_on_only_with_more_room_than_they_stopped_with() -> None:
    assert not replace(LARGE, capacity=PoolCapacity(100 * GIB, 4 * GIB)).may_thaw
    assert replace(LARGE, capacity=PoolCapacity(100 * GIB, 5 * GIB)).may_thaw


def test_they_breathe_while_half_of_the_mark_is_left() -> None:
    assert LARGE.may_breathe
    assert not replace(LARGE, owed_bytes=GIB).may_breathe


def test_a_pace_is_remembered_for_a_while() -> None:
    pace = space_marks.followed_pace(0.0, 100 * MIB, 0.1)
    assert pace == pytest.approx(1000 * MIB)
    later = space_marks.followed_pace(pace, 0, 1.0)
    assert 0 < later < pace
