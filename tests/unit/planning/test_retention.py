"""Retention: what is kept, why, and what holds whatever the backups and rules are."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mooring.domain import backups, errors
from mooring.planning import retention
from mooring.planning.retention import KeepRules, PointInTime, decide_retention

NAMES = [field.name for field in fields(KeepRules)]
START = datetime(2026, 3, 1, tzinfo=UTC)


def point(at: datetime, good: bool = True, name: str = "") -> PointInTime:
    return PointInTime(backups.BackupId(name or f"bk-{at:%Y%m%d%H%M%S}"), at, good)


def kept(points: list[PointInTime], rules: KeepRules, zone: str = "UTC") -> list[PointInTime]:
    verdicts = decide_retention(points, rules, ZoneInfo(zone))
    return [verdict.point for verdict in verdicts if verdict.keep]


counts = st.builds(dict, **{name: st.integers(0, 5) for name in NAMES}).filter(
    lambda values: any(values.values())
)
moments = st.integers(0, 900 * 24).map(lambda hours: START + timedelta(minutes=20 * hours))
histories = st.lists(
    st.tuples(moments, st.booleans()), max_size=40, unique_by=lambda item: item[0]
).map(lambda items: [point(at, good) for at, good in items])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Chatham"])


@given(histories, counts, zones)
def test_the_newest_good_one_and_all_that_is_not_good_stay(
    points: list[PointInTime], numbers: dict[str, int], zone: str
) -> None:
    left = kept(points, KeepRules(**numbers), zone)
    good = [one for one in points if one.good]
    if good:
        assert max(good, key=lambda one: one.at) in left
    assert {one for one in points if not one.good} <= set(left)


@given(histories, counts, zones)
def test_a_second_time_changes_nothing(
    points: list[PointInTime], numbers: dict[str, int], zone: str
) -> None:
    left = kept(points, KeepRules(**numbers), zone)
    assert kept(left, KeepRules(**numbers), zone) == left


@given(histories, counts, st.sampled_from(NAMES), st.integers(1, 3), zones)
def test_a_larger_number_never_drops_more(
    points: list[PointInTime], numbers: dict[str, int], name: str, more: int, zone: str
) -> None:
    before = kept(points, KeepRules(**numbers), zone)
    after = kept(points, KeepRules(**{**numbers, name: numbers[name] + more}), zone)
    assert set(before) <= set(after)


@given(histories, counts, zones)
def test_a_bad_backup_changes_nothing_for_the_others(
    points: list[PointInTime], numbers: dict[str, int], zone: str
) -> None:
    good = [one for one in points if one.good]
    left = kept(points, KeepRules(**numbers), zone)
    assert [one for one in left if one.good] == kept(good, KeepRules(**numbers), zone)


@given(histories, counts, zones)
def test_every_verdict_has_a_reason_and_keeps_only_by_one(
    points: list[PointInTime], numbers: dict[str, int], zone: str
) -> None:
    verdicts = decide_retention(points, KeepRules(**numbers), ZoneInfo(zone))
    assert len(verdicts) == len(points)
    for verdict in verdicts:
        assert verdict.reasons
        assert ("no rule keeps it" in verdict.reasons) is not verdict.keep


@given(histories, st.sampled_from(NAMES), st.integers(1, 5), zones)
def test_one_rule_keeps_at_most_its_number_and_as_many_as_there_are(
    points: list[PointInTime], name: str, count: int, zone: str
) -> None:
    good = [one for one in points if one.good]
    assume(good)
    left = kept(good, KeepRules(**{name: count}), zone)
    assert 1 <= len(left) <= count
    if name == "last":
        assert len(left) == min(count, len(good))


def test_a_fortnight_of_hourly_backups() -> None:
    points = [point(START + timedelta(hours=hour)) for hour in range(14 * 24)]
    verdicts = decide_retention(points, KeepRules(last=2, hourly=3, daily=3, weekly=2))
    why = {f"{verdict.point.at:%m-%d %H}": verdict.reasons for verdict in verdicts if verdict.keep}
    assert why == {
        "03-14 23": (
            "the newest good one",
            "last 1 of 2",
            "hourly 1 of 3 (2026-03-14 23:00+0000)",
            "daily 1 of 3 (2026-03-14)",
            "weekly 1 of 2 (2026-W11)",
        ),
        "03-14 22": ("last 2 of 2", "hourly 2 of 3 (2026-03-14 22:00+0000)"),
        "03-14 21": ("hourly 3 of 3 (2026-03-14 21:00+0000)",),
        "03-13 23": ("daily 2 of 3 (2026-03-13)",),
        "03-12 23": ("daily 3 of 3 (2026-03-12)",),
        "03-08 23": ("weekly 2 of 2 (2026-W10)",),
    }


def test_a_day_begins_where_the_zone_says() -> None:
    points = [point(START + timedelta(hours=hour)) for hour in (22, 23, 24)]
    assert [one.at.hour for one in kept(points, KeepRules(daily=2))] == [0, 23]
    assert [one.at.hour for one in kept(points, KeepRules(daily=2), "Europe/Berlin")] == [0, 22]


def test_the_hour_that_comes_twice_is_two() -> None:
    twice = [point(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)) for hour in (0, 1, 2)]
    assert len(kept(twice, KeepRules(hourly=3), "Europe/Berlin")) == 3


def test_a_gap_costs_no_backup() -> None:
    points = [point(START), point(START + timedelta(days=90)), point(START + timedelta(days=91))]
    assert len(kept(points, KeepRules(daily=3))) == 3


def test_equal_moments_are_told_apart_by_name_and_offsets_do_not_matter() -> None:
    same = [point(START, name="bk-a"), point(START, name="bk-b")]
    assert [one.backup_id for one in kept(same, KeepRules(last=1))] == ["bk-b"]
    east = replace(same[0], at=START.astimezone(timezone(timedelta(hours=9))))
    assert [one.backup_id for one in kept([east, same[1]], KeepRules(daily=1))] == ["bk-b"]


@pytest.mark.parametrize(
    "numbers", [{}, {"last": 0, "daily": 0}, {"last": -1}, {"yearly": retention.MAXIMUM_COUNT + 1}]
)
def test_rules_that_say_nothing_or_nonsense_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(errors.InvalidInput, match="retention needs"):
        KeepRules(**numbers)


def held_by(at: datetime, *names: str) -> PointInTime:
    return PointInTime(
        backups.BackupId(f"suspect-{at:%H}"), at, False, tuple(map(backups.BackupId, names))
    )


def test_what_a_suspect_backup_is_to_be_mended_from_is_held() -> None:
    hour = timedelta(hours=1)
    old, held, newest = (point(START + n * hour, name=f"bk-{n}") for n in (0, 1, 3))
    suspect = held_by(START + 2 * hour, "bk-1", "bk-gone")
    points, rules = [old, held, suspect, newest], KeepRules(last=1)
    assert kept(points, rules) == [newest, suspect, held]
    verdicts = decide_retention(points, rules, drop_suspect=True)
    assert [verdict.point for verdict in verdicts if verdict.keep] == [newest]


def test_a_suspect_backup_that_no_good_one_has_followed_is_never_dropped() -> None:
    hour = timedelta(hours=1)
    good, suspect = point(START, name="bk-0"), held_by(START + hour, "bk-0")
    verdicts = decide_retention([good, suspect], KeepRules(last=1), drop_suspect=True)
    assert all(verdict.keep for verdict in verdicts)
    lost = point(START - hour, good=False)  # damaged, not Suspect
    verdicts = decide_retention([lost, good], KeepRules(last=1), drop_suspect=True)
    assert all(verdict.keep for verdict in verdicts)


@st.composite
def jumping_histories(draw: st.DrawFn) -> tuple[list[PointInTime], datetime]:
    """Backups in the order in which they were made, by clocks that jump; and the present.

    The store's clock is right, or it is the same one; each builds on one before it, or on none.
    """
    present, points = START, list[PointInTime]()
    right = draw(st.booleans())
    for number in range(draw(st.integers(1, 12))):
        present += timedelta(hours=draw(st.integers(1, 100)))
        told = present + timedelta(days=draw(st.sampled_from([0, 0, 0, 0, -3000, -1, 1, 3000])))
        parents: st.SearchStrategy[PointInTime | None] = st.none()
        if points:
            parents = st.one_of(st.none(), st.sampled_from(points))
        parent = draw(parents)
        one = PointInTime(
            backups.BackupId(f"bk-{number}"),
            told,
            draw(st.booleans()),
            parent=None if parent is None else parent.backup_id,
            written_at=present if right else told,
        )
        points.append(one)
    return points, present


@given(jumping_histories(), counts, zones)
def test_the_future_pushes_nothing_out_and_what_was_written_last_stays(
    history: tuple[list[PointInTime], datetime], numbers: dict[str, int], zone: str
) -> None:
    points, now = history
    verdicts = decide_retention(points, KeepRules(**numbers), ZoneInfo(zone), now=now)
    assert {verdict.point for verdict in verdicts} == set(points)
    left = {verdict.point for verdict in verdicts if verdict.keep}
    good = [one for one in points if one.good]
    assert {one for one in points if not one.good} <= left
    if not good:
        return
    assert max(good, key=lambda one: one.written_at or one.at) in left
    # What lies in the future has pushed nothing out, and was not dropped.
    of_now = [one for one in good if min(one.at, one.written_at or one.at) <= now]
    assert set(good) - set(of_now) <= left
    alone = decide_retention(of_now, KeepRules(**numbers), ZoneInfo(zone), now=now)
    assert {one.point for one in alone if one.keep} <= left


@given(jumping_histories(), st.sampled_from([1, 3]))
def test_what_is_made_now_by_a_right_clock_is_always_kept(
    history: tuple[list[PointInTime], datetime], count: int
) -> None:
    points, now = history
    made = PointInTime(backups.BackupId("bk-now"), now, parent=points[-1].backup_id)
    for name in NAMES:
        verdicts = decide_retention([*points, made], KeepRules(**{name: count}), now=now)
        assert made in {verdict.point for verdict in verdicts if verdict.keep}


def test_a_store_that_tells_times_to_the_second_makes_no_backup_one_of_the_future() -> None:
    made = START + timedelta(seconds=0.7)
    points = [point(START - timedelta(hours=1)), replace(point(made), written_at=made)]
    verdicts = decide_retention(points, KeepRules(last=1), now=START)
    assert [verdict.keep for verdict in verdicts] == [True, False]
    assert verdicts[0].reasons == ("the newest good one", "last 1 of 1")


def test_a_ring_of_parents_ends() -> None:
    ring = [
        replace(point(START + timedelta(hours=n), name=f"bk-{n}"), parent=backups.BackupId(other))
        for n, other in enumerate(["bk-2", "bk-0", "bk-1"])
    ]
    assert kept(ring, KeepRules(last=1))


def test_a_copy_of_a_repository_keeps_what_the_repository_did() -> None:
    """All its objects are as old as the copy, and were written in any order."""
    copied = START + timedelta(days=100)
    days = [point(START + timedelta(days=n), name=f"bk-{n}") for n in range(30)]
    rules = KeepRules(last=2, daily=5, monthly=2)
    before = [one.backup_id for one in kept(days, rules)]
    again = [replace(one, written_at=copied - timedelta(seconds=n)) for n, one in enumerate(days)]
    left = [one.backup_id for one in kept(again, rules)]
    assert left == [*before, "bk-0"]
