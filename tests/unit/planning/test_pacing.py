"""Spreading bytes over time."""

from hypothesis import given
from hypothesis import strategies as st

from mooring.planning import pacing


@given(
    st.integers(1, 1 << 30),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 24)), max_size=20),
)
def test_no_more_than_the_pace_and_nothing_is_saved_up(
    rate: int, asks: list[tuple[float, int]]
) -> None:
    pace, now, end = pacing.Pace(rate), 100.0, 0.0
    for passed, size in asks:
        now += passed
        turn = now + pace.wait_seconds(now, size)
        assert turn >= now
        assert turn >= end - 1e-6
        now, end = turn, turn + size / rate


def test_what_waited_long_enough_goes_at_once() -> None:
    pace = pacing.Pace(100)
    assert pace.wait_seconds(0.0, 1000) == 0
    assert pace.wait_seconds(4.0, 100) == 6
    assert pace.wait_seconds(50.0, 1) == 0
