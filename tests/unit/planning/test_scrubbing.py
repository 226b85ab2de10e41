"""What is read again: all of it in a period, no more than a turn's share, and none that changed."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import backups
from mooring.domain.extents import Range
from mooring.planning import changed_ranges, scrubbing

CHUNK = 512
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def manifest(size: int, next_chunk: int = 0, **scrub: object) -> backups.BackupManifest:
    return backups.BackupManifest(
        backup_id=backups.BackupId("bk-1"),
        volume=backups.VolumeFacts("volume-1", size),
        chunk_size_bytes=CHUNK,
        consistency="Crash",
        point_in_time=MOMENT,
        finished_at=MOMENT,
        parent=None,
        session=backups.SessionId("bk-1." + "0" * 16),
        root=bytes(32),
        scrub=backups.ScrubRecord(next_chunk, **scrub),  # type: ignore[arg-type]
    )


def place(offset: int, length: int, good: str = "bk-0") -> backups.SuspectPlace:
    return backups.SuspectPlace(offset, length, backups.BackupId(good), MOMENT)


def numbers(ranges: object) -> set[int]:
    return {
        number
        for one in ranges  # type: ignore[attr-defined]
        for number in range(one.offset_bytes // CHUNK, -(-one.end_bytes // CHUNK))
    }


ordered = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))).map(
    lambda pairs: [
        Range(first * CHUNK, count * CHUNK)
        for first, count in sorted(dict(pairs).items())  # one a beginning
    ]
)


@given(
    st.integers(1, 60 * CHUNK),
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 400), ordered), min_size=1, max_size=30),
    st.integers(1, 1000),
    st.integers(1, 8 * CHUNK),
)
def test_what_never_changes_is_read_within_the_period(
    size: int,
    begin: int,
    rounds: list[tuple[int, list[Range]]],
    period: int,
    least: int,
) -> None:
    policy = scrubbing.ScrubPolicy(timedelta(seconds=period), least)
    count = -(-size // CHUNK)
    position, seen, touched, elapsed = begin, set[int](), set[int](), 0
    for seconds, writes in rounds:
        changed = list(changed_ranges.aligned(writes, CHUNK, size))
        turn = scrubbing.plan_turn(
            manifest(size, position), size, timedelta(seconds=seconds), policy
        )
        read = list(scrubbing.without(turn.ranges, changed))
        budget = max(least // CHUNK, 1, -(-count * seconds // period))
        assert len(numbers(read)) == sum(-(-one.length_bytes // CHUNK) for one in read)
        assert len(numbers(read)) <= min(budget, count)
        assert not numbers(read) & numbers(changed)
        assert all(one.end_bytes <= size for one in read)
        seen |= numbers(read)
        touched |= numbers(changed)
        elapsed += seconds
        position = turn.next_chunk
    if elapsed >= period:
        assert set(range(count)) - touched <= seen


@given(ordered, ordered)
def test_what_is_left_out_is_left_out_and_nothing_else(
    kept: list[Range], removed: list[Range]
) -> None:
    wanted = list(changed_ranges.aligned(kept, CHUNK, 100 * CHUNK))
    holes = list(changed_ranges.aligned(removed, CHUNK, 100 * CHUNK))
    left = list(scrubbing.without(wanted, holes))
    assert numbers(left) == numbers(wanted) - numbers(holes)
    assert all(one.length_bytes > 0 for one in left)
    assert all(one.end_bytes <= two.offset_bytes for one, two in itertools.pairwise(left))


def test_no_period_reads_nothing_and_stays_where_it_was() -> None:
    turn = scrubbing.plan_turn(manifest(9 * CHUNK, 4), 9 * CHUNK, timedelta(9), scrubbing.NEVER)
    assert turn == scrubbing.Turn((), 4)


def test_a_whole_turn_reads_all_and_the_next_goes_on_where_it_was() -> None:
    turn = scrubbing.whole_turn(manifest(9 * CHUNK, 4), 9 * CHUNK)
    assert turn == scrubbing.Turn((Range(0, 9 * CHUNK),), 4)


def test_tracking_is_doubted_after_a_finding_of_its_own_or_of_a_neighbour() -> None:
    sound, doubtful = manifest(CHUNK), manifest(CHUNK, doubted=True)
    assert scrubbing.why_whole([sound], elsewhere=False, asked=False) == ""
    assert "asked for" in scrubbing.why_whole([sound], elsewhere=False, asked=True)
    assert "another volume" in scrubbing.why_whole([sound], elsewhere=True, asked=True)
    assert "bk-1 found" in scrubbing.why_whole([sound, doubtful], elsewhere=True, asked=False)


def test_a_clock_that_was_set_back_reads_the_least() -> None:
    policy = scrubbing.ScrubPolicy(timedelta(days=1), 2 * CHUNK)
    turn = scrubbing.plan_turn(manifest(9 * CHUNK), 9 * CHUNK, timedelta(days=-3), policy)
    assert turn == scrubbing.Turn((Range(0, 2 * CHUNK),), 2)


def test_places_that_touch_are_joined_and_others_are_not() -> None:
    found = scrubbing.joined([place(20, 5), place(0, 10), place(10, 4), place(14, 2, "bk-9")])
    assert found == (place(0, 14), place(14, 2, "bk-9"), place(20, 5))


def test_too_many_places_become_fewer_and_cover_all() -> None:
    many = [place(number * 10, 1) for number in range(5000)]
    found = scrubbing.joined(many)
    assert len(found) == scrubbing.MOST_PLACES
    assert found[-1].end_bytes == many[-1].end_bytes
    assert [one.coarse for one in found] == [False] * (scrubbing.MOST_PLACES - 1) + [True]


def bytes_of(places: Iterable[backups.SuspectPlace]) -> set[tuple[int, str]]:
    return {(at, one.good) for one in places for at in range(one.offset_bytes, one.end_bytes)}


some_places = st.lists(
    st.builds(
        lambda offset, length, good, coarse: replace(place(offset, length, good), coarse=coarse),
        st.integers(0, 60),
        st.integers(1, 5),
        st.sampled_from(["bk-0", "bk-1", "bk-2"]),
        st.booleans(),
    ),
    max_size=20,
)


@given(some_places, st.integers(1, 9))
def test_however_many_places_none_is_lost_and_none_claims_what_no_other_had(
    places: list[backups.SuspectPlace], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrubbing, "MOST_PLACES", most)
        found = scrubbing.joined(places)
    goods = {one.good for one in places}
    assert len(found) <= max(most, 2 * len(goods))
    assert {one.good for one in found} == goods
    assert bytes_of(places) <= bytes_of(found)
    fine = [one for one in found if not one.coarse]
    assert bytes_of(fine) <= bytes_of(one for one in places if not one.coarse)
    assert list(found) == sorted(found, key=lambda one: one.offset_bytes)
    if len(found) < len(set(places)) and not any(one.coarse for one in found):
        assert bytes_of(fine) == bytes_of(places)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_damage_is_over_when_no_bad_byte_is_left(good: bytes, bad: bytes) -> None:
    assert scrubbing.still_bad(good, bad, good) == []
    span = scrubbing.differing(good, bad)
    assert scrubbing.still_bad(good, bad, bad) == ([span] if span else [])
    other = bytes(
        next(b for b in range(256) if b not in (x, y)) for x, y in zip(good, bad, strict=True)
    )
    assert scrubbing.still_bad(good, bad, other) == []


def test_a_write_beside_a_bad_byte_does_not_hide_it() -> None:
    spans = scrubbing.still_bad(b"good data here", b"good dXta here", b"anew dXtb here")
    assert spans == [Range(6, 1)]


@given(*[st.lists(st.sampled_from("gbx"), min_size=8, max_size=8) for _ in range(3)])
def test_what_was_written_between_bad_bytes_is_not_taken_for_damage(
    good: list[str], bad: list[str], now: list[str]
) -> None:
    values = [[ord(one) for one in content] for content in (good, bad, now)]
    spans = scrubbing.still_bad(*values)
    covered = {at for span in spans for at in range(span.offset_bytes, span.end_bytes)}
    triples = list(zip(good, bad, now, strict=True))
    assert {at for at, (g, b, n) in enumerate(triples) if n == b != g} <= covered
    assert not {at for at, (g, b, n) in enumerate(triples) if n not in (g, b)} & covered


def test_the_words_name_volume_place_and_both_moments() -> None:
    doubtful = manifest(9 * CHUNK, suspect=(place(1000, 3), place(2000, 1)))
    said = scrubbing.words(doubtful)
    for part in ("3 bytes", "volume-1", "byte 1000", "bk-0", "2026-01-01 00:00:00 UTC", "1 more"):
        assert part in said
    assert scrubbing.words(manifest(CHUNK)) == ""
    coarse = manifest(9 * CHUNK, suspect=(replace(place(0, 999), coarse=True),))
    assert scrubbing.words(coarse).startswith("some of the 999 bytes of volume")
