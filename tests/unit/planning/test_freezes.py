"""Which freezes are granted, who ends them, and when a dead process is started again."""

import pytest

from mooring.planning import freezes, supervision

NOW = 1000.0
RUNNING = freezes.Freeze("/a", 1, NOW + 5)
LATE = freezes.Freeze("/b", 2, NOW - 1)
OVERDUE = freezes.Freeze("/c", 3, NOW - 3)
ALL = {"running": RUNNING, "late": LATE, "overdue": OVERDUE}


@pytest.mark.parametrize(
    ("timeout_seconds", "granted"),
    [(-1, False), (0, False), (0.1, True), (60, True), (61, False), (float("nan"), False)],
)
def test_a_freeze_has_a_short_end(timeout_seconds: float, granted: bool) -> None:
    assert freezes.is_grantable(timeout_seconds) is granted


def test_a_living_guard_ends_its_own_freezes_unless_it_is_stuck() -> None:
    due = freezes.to_thaw(ALL, guard_is_alive=True, now_seconds=NOW)
    assert due == {"overdue": OVERDUE}


def test_what_a_dead_guard_froze_is_thawed_at_once() -> None:
    assert freezes.to_thaw(ALL, guard_is_alive=False, now_seconds=NOW) == ALL


@pytest.mark.parametrize(
    ("left", "told_seconds_ago", "may"),
    [
        ({}, None, False),
        ({}, 0.0, True),
        (ALL, None, False),
        (ALL, 1.0, False),
        (ALL, 5.0, True),
    ],
)
def test_the_standby_stays_while_something_is_frozen(
    left: dict[str, freezes.Freeze], told_seconds_ago: float | None, may: bool
) -> None:
    ends = freezes.standby_may_end(left, told_seconds_ago=told_seconds_ago, patience_seconds=5)
    assert ends is may


@pytest.mark.parametrize(
    ("lives_seconds", "pause_seconds"),
    [
        ([100], 0.0),
        ([1], 0.0),
        ([1, 1], 0.5),
        ([1, 1, 1, 1], 0.5),
        ([1, 1, 1, 1, 1], None),
        ([1, 1, 1, 1, 60], 0.0),
        ([60, 1, 1, 1, 1], 0.5),
    ],
)
def test_a_dead_process_is_back_within_a_second_and_a_failing_one_is_given_up(
    lives_seconds: list[float], pause_seconds: float | None
) -> None:
    assert supervision.pause_before_restart(lives_seconds) == pause_seconds
