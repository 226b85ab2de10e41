"""What a collection decides: nothing that is needed, held or young ever goes."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mooring.domain import backups
from mooring.planning import collection
from mooring.planning.collection import (
    CollectionLimits,
    PackFacts,
    PackFate,
    PackPlan,
    SessionFacts,
    SessionFate,
    plan_session,
)

HOUR = timedelta(hours=1)

hours = st.integers(-50, 400).map(lambda number: number * HOUR)
facts = st.builds(
    PackFacts,
    name=st.binary(min_size=16, max_size=16),
    size_bytes=st.integers(100, 1000),
    live_bytes=st.integers(0, 100),
    doomed_for=st.none() | hours,
    held_by=st.none() | st.just("a writer"),
)
packs = st.lists(facts, max_size=12, unique_by=lambda pack: pack.name)
limits = st.builds(
    CollectionLimits, rewrite_bytes=st.none() | st.integers(0, 300), waste=st.floats(0, 1)
)


@given(packs, limits)
@example([PackFacts(bytes(16), 100, 0, 24 * HOUR, "a writer")], CollectionLimits())
def test_only_what_was_doomed_a_day_ago_and_nobody_needs_is_deleted(
    found: list[PackFacts], bounds: CollectionLimits
) -> None:
    by_name = {pack.name: pack for pack in found}
    for step in PackPlan(found, bounds):
        pack = by_name[step.name]
        if step.fate is PackFate.DELETE:
            assert pack.doomed_for is not None
            assert pack.doomed_for >= 24 * HOUR
            assert (pack.live_bytes, pack.held_by) == (0, None)
        if step.fate in (PackFate.DOOM, PackFate.REWRITE):
            assert (pack.doomed_for, pack.held_by) == (None, None)
        if step.fate is PackFate.DOOM:
            assert pack.live_bytes == 0


@given(packs, limits)
def test_what_is_doomed_never_comes_back_and_what_is_free_to_go_goes(
    found: list[PackFacts], bounds: CollectionLimits
) -> None:
    by_name = {pack.name: pack for pack in found}
    for step in PackPlan(found, bounds):
        pack = by_name[step.name]
        doomed = pack.doomed_for is not None
        assert doomed is (step.fate in (PackFate.WAIT, PackFate.RESCUE, PackFate.DELETE))
        if not doomed and not pack.held_by and not pack.live_bytes:
            assert step.fate is PackFate.DOOM
        assert step.reason


@given(packs, limits)
def test_the_budget_is_kept_and_rescues_come_first(
    found: list[PackFacts], bounds: CollectionLimits
) -> None:
    steps = PackPlan(found, bounds)
    assert [step.name for step in steps] == sorted(pack.name for pack in found)
    copied = [step for step in steps if step.fate in (PackFate.RESCUE, PackFate.REWRITE)]
    postponed = [step for step in steps if "budget" in step.reason]
    if bounds.rewrite_bytes is None:
        assert not postponed
        return
    assert sum(step.live_bytes for step in copied) <= bounds.rewrite_bytes
    for step in postponed:
        if step.fate is PackFate.WAIT:  # then nothing that is merely wasteful took its place
            rescued = sum(s.live_bytes for s in copied if s.fate is PackFate.RESCUE)
            assert rescued + step.live_bytes > bounds.rewrite_bytes


def session(**fields: object) -> SessionFacts:
    values: dict[str, object] = {
        "session_id": backups.SessionId("bk-1.0123456789abcdef"),
        "committed": False,
        "superseded": False,
        "readable": True,
        "idle_for": HOUR,
        "closed_for": None,
    }
    return SessionFacts(**{**values, **fields})  # type: ignore[arg-type]  # as given


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (session(), SessionFate.OPEN),
        (session(idle_for=7 * 24 * HOUR - timedelta(seconds=1)), SessionFate.OPEN),
        (session(idle_for=7 * 24 * HOUR), SessionFate.CLOSE),
        (session(superseded=True), SessionFate.OPEN),
        (session(superseded=True, idle_for=24 * HOUR), SessionFate.CLOSE),
        (session(readable=False), SessionFate.CLOSE),
        (session(idle_for=-HOUR), SessionFate.OPEN),
        (session(closed_for=HOUR), SessionFate.CLOSED),
        (session(closed_for=24 * HOUR), SessionFate.REMOVE),
        (session(committed=True, idle_for=900 * HOUR), SessionFate.COMMITTED),
        (session(committed=True, closed_for=900 * HOUR), SessionFate.COMMITTED),
        (session(committed=True, readable=False), SessionFate.COMMITTED),
    ],
)
def test_a_session_is_given_up_only_when_nothing_shows_that_it_lives(
    found: SessionFacts, expected: SessionFate
) -> None:
    step = plan_session(found)
    assert step.fate is expected
    assert step.reason


def test_the_marks_are_a_day_apart() -> None:
    assert collection.MARKS_APART == 24 * HOUR
