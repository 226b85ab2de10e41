"""What a schedule starts: once a time, never before it was made, whatever is killed or changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.domain import errors
from mooring.planning import backup_schedule_plan as plan
from mooring.planning import timetables
from mooring.planning.backup_schedule_plan import (
    ActiveBackup,
    Concurrency,
    Decision,
    Memory,
    Observed,
    Part,
    Run,
)  # fmt: skip

MADE = datetime(2026, 3, 28, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Schedule:
    """A schedule that is looked at now and then, by an operator that may be killed."""

    def __init__(self, text: str = "0 3 * * *", zone: str = "UTC", **facts: object) -> None:
        self.seen = Observed(
            created_at=MADE,
            following="",
            timetable=None,
            concurrency=Concurrency.FORBID,
            parallelism=10,
            starting_deadline=HOUR,
            asked=None,
            claims=("data",),
            active=(),
            memory=Memory(),
        )
        self.seen = replace(self.seen, **facts)  # type: ignore[arg-type]
        self.made: dict[str, Part] = {}
        self.begun: list[Run] = []
        self.last: Decision | None = None
        self.follow(text, zone)

    def follow(self, text: str, zone: str = "UTC") -> None:
        table = timetables.parse(text, ZoneInfo(zone))
        self.seen = replace(self.seen, following=f"{text} {zone}", timetable=table)

    def suspend(self) -> None:
        self.seen = replace(self.seen, following="", timetable=None)

    def look(self, now: datetime, *, killed: bool = False, done: bool = True) -> list[str]:
        """Looks once; returns the names of Backups that are new. Killed, it forgets what it did."""
        decision = self.last = plan.decide(self.seen, now)
        new = []
        for part in decision.start:
            name = plan.backup_name("nightly", "uid", part)
            if name not in self.made:
                self.made[name] = part
                new.append(name)
                if not done:
                    more = ActiveBackup(name, part.claim, part.run.name)
                    self.seen = replace(self.seen, active=(*self.seen.active, more))
        ended = [backup for backup in self.seen.active if backup.name not in decision.end]
        self.seen = replace(self.seen, active=tuple(ended))
        if not killed:
            self.seen = replace(self.seen, memory=decision.memory)
            self.begun += decision.runs
        return new

    def end_all(self) -> None:
        self.seen = replace(self.seen, active=())


at = {hour: datetime(2026, 3, 29, hour, tzinfo=UTC) for hour in range(24)}


def test_a_run_a_day_and_nothing_at_creation() -> None:
    schedule = Schedule()
    assert schedule.look(MADE) == []
    assert schedule.last is not None
    assert schedule.last.next_at == at[3]
    assert schedule.look(at[2]) == []
    (name,) = schedule.look(at[3])
    assert name.startswith("nightly-data-20260329-0300-")
    assert schedule.look(at[3]) == []
    assert schedule.look(at[3] + MINUTE) == []
    assert schedule.last is not None
    assert schedule.last.next_at == at[3] + 24 * HOUR


def test_made_within_the_minute_that_is_due_it_waits_for_the_next() -> None:
    schedule = Schedule(created_at=at[3])
    assert schedule.look(at[3] + timedelta(milliseconds=900)) == []
    schedule = Schedule(created_at=at[3] - timedelta(seconds=1))
    assert len(schedule.look(at[3])) == 1


def test_of_missed_runs_one_is_caught_up_and_none_that_is_too_late() -> None:
    schedule = Schedule("*/10 * * * *")
    schedule.look(MADE)
    (name,) = schedule.look(at[5] + 5 * MINUTE)
    assert "20260329-0500" in name
    assert schedule.look(at[5] + 6 * MINUTE) == []
    schedule = Schedule()
    schedule.look(MADE)
    assert schedule.look(at[4]) == []
    assert schedule.last is not None
    assert schedule.last.missed == at[3]
    schedule.look(at[4] + MINUTE)
    assert schedule.last is not None
    assert schedule.last.missed is None, "it is said once"
    assert len(schedule.look(at[3] + 24 * HOUR)) == 1


def test_neither_an_edit_nor_the_end_of_a_suspension_runs_what_has_passed() -> None:
    schedule = Schedule("0 1 * * *")
    schedule.look(MADE)
    schedule.look(at[1])
    schedule.follow("0 3 * * *")
    assert schedule.look(at[3] + 5 * MINUTE) == []
    schedule = Schedule()
    schedule.look(MADE)
    schedule.suspend()
    assert schedule.look(at[2]) == []
    assert schedule.last is not None
    assert schedule.last.next_at is None
    assert schedule.look(at[3]) == []
    schedule.follow("0 3 * * *")
    assert schedule.look(at[3] + 5 * MINUTE) == []
    assert len(schedule.look(at[3] + 24 * HOUR)) == 1


def test_a_clock_that_goes_back_repeats_nothing_and_years_ahead_stop_nothing() -> None:
    schedule = Schedule()
    schedule.look(MADE)
    schedule.look(at[3])
    assert schedule.look(at[2] + 50 * MINUTE) == []
    assert schedule.look(at[3] + MINUTE) == []
    schedule.look(datetime(2036, 1, 1, 3, tzinfo=UTC))
    assert len(schedule.made) == 2
    assert schedule.look(at[12]) == []
    assert len(schedule.look(at[3] + 24 * HOUR)) == 1


@pytest.mark.parametrize(
    ("concurrency", "names", "left"),
    [(Concurrency.ALLOW, 1, 2), (Concurrency.FORBID, 0, 1), (Concurrency.REPLACE, 1, 1)],
)
def test_what_happens_while_the_one_before_still_runs(
    concurrency: Concurrency, names: int, left: int
) -> None:
    schedule = Schedule("0 * * * *", concurrency=concurrency)
    schedule.look(MADE)
    schedule.look(at[3], done=False)
    assert len(schedule.look(at[4], done=False)) == names
    assert len(schedule.seen.active) == left
    assert schedule.look(at[4] + MINUTE, done=False) == []
    assert len(schedule.seen.active) == left


def test_a_claim_that_was_busy_is_backed_up_when_it_is_free_unless_it_is_too_late() -> None:
    schedule = Schedule("0 */4 * * *", claims=("data", "log"))
    schedule.look(MADE)
    schedule.look(at[4], done=False)
    schedule.seen = replace(schedule.seen, active=schedule.seen.active[:1])  # log is done
    assert [schedule.made[name].claim for name in schedule.look(at[8])] == ["log"]
    schedule.end_all()
    (late,) = schedule.look(at[8] + 59 * MINUTE)
    assert "data-20260329-0800" in late
    schedule.look(at[12], done=False)
    schedule.look(at[16], done=False)
    schedule.end_all()
    assert schedule.look(at[17]) == []


@pytest.mark.parametrize("concurrency", list(Concurrency))
def test_after_a_kill_what_it_made_is_neither_ended_nor_waited_for(
    concurrency: Concurrency,
) -> None:
    schedule = Schedule(concurrency=concurrency)
    schedule.look(MADE)
    schedule.look(at[3], killed=True, done=False)
    schedule.look(at[3] + MINUTE, done=False)
    assert schedule.last is not None
    assert schedule.last.end == ()
    assert schedule.last.memory.waiting == ()
    assert len(schedule.seen.active) == 1


def test_few_run_together_and_the_others_have_their_turn_however_late() -> None:
    claims = tuple(f"c{number}" for number in range(5))
    schedule = Schedule(claims=claims, parallelism=2)
    schedule.look(MADE)
    schedule.look(at[3], killed=True, done=False)
    assert len(schedule.look(at[3], done=False)) == 0, "what was made before the kill is enough"
    for hour in (5, 7):
        schedule.end_all()
        assert len(schedule.look(at[hour], done=False)) == (1 if hour == 7 else 2)
    schedule.end_all()
    assert schedule.look(at[8]) == []
    assert {part.claim for part in schedule.made.values()} == set(claims)
    assert {part.run.at for part in schedule.made.values()} == {at[3]}


def test_what_has_had_no_turn_is_in_the_next_run_once() -> None:
    schedule = Schedule("0 * * * *", claims=("a", "b"), parallelism=1)
    schedule.look(MADE)
    schedule.look(at[3], done=False)
    schedule.end_all()
    assert [schedule.made[name].run.at for name in schedule.look(at[4], done=False)] == [at[4]]
    assert schedule.last is not None
    assert [waiting.part.run.at for waiting in schedule.last.memory.waiting] == [at[4]]


def test_a_run_that_was_asked_for_is_made_once_a_name_also_while_suspended() -> None:
    schedule = Schedule()
    schedule.suspend()
    schedule.seen = replace(schedule.seen, asked="before-upgrade")
    (name,) = schedule.look(MADE + MINUTE)
    assert "before" not in name, "a word of any length is only in its label"
    schedule.seen = replace(schedule.seen, asked="another")
    assert len(schedule.look(MADE + 2 * MINUTE)) == 1
    schedule.made.clear()
    schedule.seen = replace(schedule.seen, asked="before-upgrade")
    assert schedule.look(MADE + 3 * MINUTE) == []


def everything(schedule: Schedule, names: list[str]) -> list[bool]:
    """Whether new Backups read everything, whatever tracking says."""
    return [schedule.made[name].everything for name in names]


def test_the_first_run_at_or_after_its_time_reads_everything() -> None:
    sundays = timetables.parse("0 3 * * 0", ZoneInfo("UTC"))
    schedule = Schedule(everything=sundays, created_at=at[4] - 24 * HOUR)
    found = []
    for day in range(15):  # the 29th is a Sunday
        now = at[3] + day * 24 * HOUR
        schedule.look(now, killed=True)
        found += everything(schedule, schedule.look(now) or list(schedule.made)[-1:])
    assert [day for day, whole in enumerate(found) if whole] == [0, 7, 14]


def test_a_time_to_read_everything_that_passed_without_a_run_is_made_up_for() -> None:
    sundays = timetables.parse("0 3 * * 0", ZoneInfo("UTC"))
    schedule = Schedule(everything=sundays, created_at=at[4] - 48 * HOUR)
    schedule.look(at[3] - 24 * HOUR)
    schedule.suspend()
    schedule.look(at[3])
    schedule.follow("0 3 * * *")
    schedule.look(at[12])
    assert everything(schedule, schedule.look(at[3] + 24 * HOUR)) == [True]
    assert everything(schedule, schedule.look(at[3] + 48 * HOUR)) == [False]


def test_what_waits_still_reads_everything_and_what_is_owed_does_too() -> None:
    hours = timetables.parse("0 3 * * *", ZoneInfo("UTC"))
    schedule = Schedule("0 * * * *", everything=hours, claims=("data", "log"), parallelism=1)
    schedule.look(at[3], done=False)
    (waiting,) = schedule.seen.memory.waiting
    assert waiting.part.everything
    schedule.end_all()
    assert everything(schedule, schedule.look(at[3] + MINUTE)) == [True]
    schedule.end_all()
    schedule.seen = replace(schedule.seen, owed=frozenset({"log"}), parallelism=2)
    assert everything(schedule, schedule.look(at[4])) == [False, True]
    schedule.seen = replace(schedule.seen, asked="by-hand")
    assert everything(schedule, schedule.look(at[4] + MINUTE)) == [False, True]


def test_new_claims_are_in_the_next_run() -> None:
    schedule = Schedule()
    schedule.look(MADE)
    schedule.look(at[3])
    schedule.seen = replace(schedule.seen, claims=("data", "new"))
    assert schedule.look(at[3] + MINUTE) == []
    assert len(schedule.look(at[3] + 24 * HOUR)) == 2


def test_names_tell_all_parts_apart_and_fit() -> None:
    run = plan.scheduled_run(at[3])
    long = Part("c" * 253, run)
    name = plan.backup_name("s" * 63, "uid", long)
    assert len(name) <= 253
    assert name != plan.backup_name("s" * 63, "uid", Part("c" * 252 + "d", run))
    assert plan.backup_name("a-b", "1", Part("c", run)) != plan.backup_name(
        "a", "2", Part("b-c", run)
    )
    dotted = plan.backup_name("s" * 63, "uid", Part("c" * 99 + ".d", run))
    assert ".-" not in dotted


@pytest.mark.parametrize("text", ["", "a b", "-a", "a" * 64, "../x", "20260329-0300", "a\n"])
def test_a_run_has_a_name_that_labels_can_hold(text: str) -> None:
    with pytest.raises(errors.InvalidInput, match="no name of a run"):
        plan.parse_run_name(text)
    assert plan.parse_run_name("before-1.2_upgrade") == "before-1.2_upgrade"


expressions = st.sampled_from(
    ["*/7 * * * *", "0 * * * *", "30 2 * * *", "0,30 1,2 * * *", "*/20 2 * * *", "0 3 * * *"]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
starts = st.sampled_from(
    [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC),
     datetime(2026, 11, 1, 0, 30, tzinfo=UTC), datetime(2026, 4, 4, 10, tzinfo=UTC)]
)  # fmt: skip
steps = st.lists(
    st.tuples(
        st.integers(1, 5000).map(lambda seconds: timedelta(seconds=seconds)),
        st.sampled_from(["look", "look", "killed", "end", "suspend", "follow", "back"]),
    ),
    max_size=60,
)


@given(expressions, zones, starts, steps, st.sampled_from(Concurrency), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_never_two_runs_of_one_time_never_one_before_creation_never_one_that_was_not_due(
    text: str,
    zone: str,
    start: datetime,
    history: list[tuple[timedelta, str]],
    concurrency: Concurrency,
    parallelism: int,
) -> None:
    facts = {"concurrency": concurrency, "parallelism": parallelism, "claims": ("data", "log")}
    schedule = Schedule(text, zone, created_at=start, **facts)
    table = timetables.parse(text, ZoneInfo(zone))
    now, resumed = start, start
    for step, what in history:
        now += step
        match what:
            case "end":
                schedule.end_all()
            case "suspend":
                schedule.suspend()
            case "follow":
                if schedule.seen.timetable is None:
                    schedule.look(now)  # it was seen to be suspended
                    schedule.follow(text, zone)
                    schedule.look(now)
                    resumed = now
            case "back":
                now -= timedelta(minutes=3)
        before, begun = set(schedule.made), list(schedule.begun)
        schedule.look(now, killed=what == "killed", done=False)
        for name in set(schedule.made) - before:
            part = schedule.made[name]
            assert part.run.at <= now
            assert part.run.at > start
            if part.run not in begun:  # else it waited
                assert part.run.at > resumed
                assert now - part.run.at < HOUR
            assert table.next_after(part.run.at - timedelta(seconds=1)) == part.run.at
        assert len(schedule.seen.active) <= parallelism
        if concurrency is Concurrency.FORBID:
            busy = [backup.claim for backup in schedule.seen.active]
            assert len(set(busy)) == len(busy)
    times = [run.at for run in schedule.begun]
    assert len(set(times)) == len(times)
    assert times == sorted(times)


@given(expressions, zones, starts, st.lists(st.integers(1, 3000), min_size=1, max_size=80))
@settings(max_examples=100, deadline=None)
def test_whoever_looks_often_enough_misses_nothing(
    text: str, zone: str, start: datetime, pauses: list[int]
) -> None:
    schedule = Schedule(text, zone, created_at=start, concurrency=Concurrency.ALLOW)
    table = timetables.parse(text, ZoneInfo(zone))
    now = start
    for pause in pauses:
        upcoming = table.next_after(now)
        assert upcoming is not None
        now = min(now + timedelta(seconds=pause), upcoming)
        schedule.look(now)
    expected, moment = [], table.next_after(start)
    while moment is not None and moment <= now:
        expected.append(moment)
        moment = table.next_after(moment)
    assert [run.at for run in schedule.begun] == expected
