"""When a request that a store does not answer is given up."""

from hypothesis import given
from hypothesis import strategies as st

from mooring.planning import repeats

ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 120.0


def is_given_up(tries_seconds: list[float], waited_seconds: float = 0.0) -> bool:
    return repeats.is_given_up(
        tries_seconds,
        waited_seconds,
        answer_seconds=ANSWER_SECONDS,
        patience_seconds=PATIENCE_SECONDS,
    )


def test_a_request_that_hangs_is_given_up_after_the_patience() -> None:
    assert not is_given_up([30.0] * 3, 2.0)
    assert is_given_up([30.0] * 4, 2.0)


def test_a_refusal_is_repeated_for_as_long_as_the_patience() -> None:
    assert not is_given_up([0.01] * 20, 119.0)
    assert is_given_up([0.01] * 20, 120.0)


def test_a_large_write_that_broke_late_leaves_the_patience_for_what_follows() -> None:
    assert not is_given_up([200.0])
    assert not is_given_up([200.0, 0.0, 0.0, 0.0], 80.0)
    assert is_given_up([200.0, 0.0, 0.0, 0.0], 95.0)


def test_a_write_that_breaks_late_each_time_is_given_up_after_a_few_tries() -> None:
    assert not is_given_up([200.0] * 3)
    assert is_given_up([200.0] * 4)


@given(st.lists(st.floats(0, 4000), max_size=2), st.floats(0, 1e6))
def test_no_request_is_given_up_before_its_third_try(
    tries_seconds: list[float], waited_seconds: float
) -> None:
    assert not is_given_up(tries_seconds, waited_seconds)


@given(st.lists(st.floats(0, 4000), min_size=3), st.floats(0, 1e6))
def test_what_is_given_up_stays_so_and_is_given_up_at_some_time(
    tries_seconds: list[float], waited_seconds: float
) -> None:
    assert is_given_up(tries_seconds, PATIENCE_SECONDS)
    if is_given_up(tries_seconds, waited_seconds):
        assert is_given_up([*tries_seconds, 0.0], waited_seconds)
