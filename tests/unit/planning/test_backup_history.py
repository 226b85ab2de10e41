"""Which Backups of a schedule go: never the last good one of a claim, never for a failed one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.planning.backup_history import Limits, PastBackup, State, decide
from mooring.planning.retention import KeepRules

START = datetime(2026, 3, 1, tzinfo=UTC)
LAST_TWO = Limits(KeepRules(last=2), failed=1, at_a_time=100)


def past(day: int, state: State = State.GOOD, claim: str = "one", **more: object) -> PastBackup:
    backup = PastBackup(f"{claim}-{day:02}", claim, START + timedelta(days=day), state)
    return replace(backup, **more)  # type: ignore[arg-type]


def retired(backups: list[PastBackup], limits: Limits = LAST_TWO) -> list[str]:
    return [name for name, _ in decide(backups, limits).retire]


histories = st.lists(
    st.builds(
        past,
        st.integers(0, 60),
        st.sampled_from(State),
        st.sampled_from(["one", "two"]),
        deleting=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda backup: backup.name,
)
limits = st.builds(
    Limits,
    st.one_of(st.none(), st.builds(KeepRules, st.integers(1, 4), daily=st.integers(0, 4))),
    st.integers(0, 3),
    at_a_time=st.integers(1, 5),
)


@given(histories, limits)
@settings(deadline=None)
def test_the_newest_good_one_of_each_claim_stays_and_only_good_ones_are_retired(
    backups: list[PastBackup], rules: Limits
) -> None:
    verdicts = decide(backups, rules)
    going = {name for name, _ in verdicts.retire}
    good = [one for one in backups if one.state is State.GOOD and not one.deleting]
    for claim in {one.claim for one in good}:
        own = [one for one in good if one.claim == claim]
        assert max(own, key=lambda one: one.at).name not in going
    assert going <= {one.name for one in good}
    failed = {one.name for one in backups if one.state is State.FAILED and not one.deleting}
    assert set(verdicts.drop) <= failed
    leaving = sum(one.deleting and one.state is State.GOOD for one in backups)
    assert not going or leaving + len(going) <= rules.at_a_time


def test_a_newer_good_one_of_the_same_claim_is_needed_and_nothing_else_counts() -> None:
    assert retired([past(1), past(2), past(3)]) == ["one-01"]
    assert retired([past(1), past(2), past(3, State.FAILED)]) == []
    assert retired([past(1), past(2), past(3, State.ACTIVE)]) == []
    assert retired([past(1), past(2), past(3, State.DOUBTFUL)]) == []
    assert retired([past(1), past(2), past(3, claim="two")]) == []
    assert retired([past(1), past(2), past(3, deleting=True)]) == []


def test_what_a_suspect_one_is_to_be_mended_from_stays() -> None:
    assert retired([past(1, held=True), past(2), past(3), past(4)]) == ["one-02"]


def test_one_of_the_future_pushes_nothing_out_and_is_not_retired() -> None:
    jumped = past(4000, name="jumped")
    now = START + timedelta(days=4)
    limits = replace(LAST_TWO, rules=KeepRules(last=1), now=now)
    assert retired([past(1), past(2), jumped, past(3)], limits) == ["one-01", "one-02"]


def test_one_made_while_the_clock_was_set_back_is_not_the_oldest() -> None:
    back = past(-4000, name="back", backup_id="id-back", parent="id-2")
    history = [past(1), past(2, backup_id="id-2"), back]
    limits = replace(LAST_TWO, rules=KeepRules(last=1), now=START + timedelta(days=3))
    assert retired(history, limits) == ["one-01"]
    full = replace(back, parent=None, written_at=START + timedelta(days=2, hours=1))
    history[1] = replace(history[1], written_at=START + timedelta(days=2))
    assert retired([*history[:2], full], limits) == ["one-01"]


def test_without_rules_every_good_one_stays() -> None:
    days = [past(day) for day in range(30)]
    assert retired(days, Limits(None, failed=0)) == []


def test_few_go_at_a_time_and_the_oldest_first() -> None:
    days = [past(day) for day in range(10)]
    few = replace(LAST_TWO, at_a_time=3)
    assert retired(days, few) == ["one-00", "one-01", "one-02"]
    days[0] = replace(days[0], deleting=True)
    assert retired(days, few) == ["one-01", "one-02"]


def test_what_was_to_go_and_is_kept_after_all_is_said() -> None:
    days = [past(day, retired="no rule keeps it") for day in range(3)]
    assert decide(days, LAST_TWO).reprieve == ("one-01", "one-02")


def test_the_newest_failed_ones_are_kept_to_be_looked_at() -> None:
    days = [past(day, State.FAILED) for day in range(4)]
    assert decide(days, LAST_TWO).drop == ("one-02", "one-01", "one-00")
