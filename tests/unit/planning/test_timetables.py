"""Cron expressions as instants, in particular where clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.domain import errors
from mooring.planning import timetables

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]
EXPRESSIONS = [
    "0 3 * * *", "30 2 * * *", "0,30 1,2 * * *", "*/30 2 * * *", "0 * * * *", "15 0 * * *",
    "0 0 1 * *", "0 2 * * SUN", "@daily", "@weekly",
]  # fmt: skip
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


def local(text: str, after: datetime, count: int) -> list[str]:
    table, found = timetables.parse(text, BERLIN), []
    moment: datetime | None = after
    for _ in range(count):
        assert moment is not None
        moment = table.next_after(moment)
        assert moment is not None
        found.append(f"{moment.astimezone(BERLIN):%m-%d %H:%M%z}")
    return found


@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), moments)
@settings(deadline=None)
def test_times_grow_and_do_not_depend_on_where_one_begins(
    text: str, zone: str, start: datetime
) -> None:
    table = timetables.parse(text, ZoneInfo(zone))
    first = table.next_after(start)
    assert first is not None
    assert first > start
    between = start + (first - start) / 2
    assert table.next_after(between) == first
    second = table.next_after(first)
    assert second is not None
    assert second > first


@given(st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES), moments, st.integers(0, 3000))
@settings(max_examples=50, deadline=None)
def test_the_latest_is_the_last_that_is_not_after_the_end(
    text: str, zone: str, start: datetime, minutes: int
) -> None:
    table = timetables.parse(text, ZoneInfo(zone))
    end = start + timedelta(minutes=minutes)
    latest = table.latest_in(start, end)
    upcoming = table.next_after(start if latest is None else latest)
    assert upcoming is not None
    assert upcoming > end
    if latest is not None:
        assert start < latest <= end


def test_the_hour_that_is_left_out_is_made_up_for_once() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert local("30 2 * * *", before, 2) == ["03-29 03:00+0200", "03-30 02:30+0200"]
    assert local("0,30 2 * * *", before, 2) == ["03-29 03:00+0200", "03-30 02:00+0200"]


def test_the_hour_that_comes_twice_counts_once_for_a_fixed_time_and_twice_by_the_hour() -> None:
    before = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    assert local("30 2 * * *", before, 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]
    assert local("0 * * * *", before, 2) == ["10-25 02:00+0200", "10-25 02:00+0100"]
    within = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # the second 02:10
    assert local("30 2 * * *", within, 1) == ["10-26 02:30+0100"]


def test_cronjobs_other_ways_to_write_it_are_understood() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert local("0 3 ? * *", at, 1) == local("0 3 * * *", at, 1)
    assert local("@Daily", at, 1) == local("0 0 * * *", at, 1)
    assert local("0 3 * * mon", at, 1) == ["01-05 03:00+0100"]


@pytest.mark.parametrize(
    "text",
    ["", "daily", "@every 1h", "* * * *", "* * * * * *", "61 * * * *", "TZ=UTC 0 3 * * *",
     "*/0 * * * *", "0 0 31 2 *", "* * */20 2 1L", "0 0 * * 1L/2", "0 0 1L/2 * *", "0 0 LW-3 * *",
     "a b c d e", "9" * 5000 + " * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_says_how_to_write_one(text: str) -> None:
    with pytest.raises(errors.InvalidInput, match=r"is no schedule|is never due"):
        timetables.parse(text, UTC)


@given(st.text("0123456789*/-,#LW? ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        table = timetables.parse(text, BERLIN)
    except errors.InvalidInput:
        return
    assert table.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None
