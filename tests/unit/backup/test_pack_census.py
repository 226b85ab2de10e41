"""Packs in few bytes each, held against plain dictionaries and lists."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.backup.format import segments
from mooring.backup.pack_census import ListedPack, PackCensus, PackList
from mooring.planning.collection import PackFacts, PackPlan

names = st.binary(min_size=16, max_size=16)
alike = st.integers(0, 40).map(lambda number: number.to_bytes(16, "big"))  # one hash for all
sizes = st.integers(0, 1 << 40)
moments = st.datetimes(
    datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
)  # fmt: skip
listings = st.lists(
    st.builds(ListedPack, names | alike, sizes, moments),
    unique_by=lambda pack: pack.name,
    max_size=60,
)


@given(listings, st.lists(names | alike))
def test_a_census_is_a_dictionary_in_order(found: list[ListedPack], others: list[bytes]) -> None:
    model = {pack.name: pack for pack in found}
    census = PackCensus(found)
    assert list(census.in_order()) == [model[name] for name in sorted(model)]
    assert dict(census) == model
    for name in (*model, *others):
        assert census.get(name) == model.get(name)
        place = sorted(model).index(name) if name in model else None
        assert census.place(name) == place
    for name in set(others) - set(model):
        with pytest.raises(KeyError):
            census[name]


@given(st.lists(st.tuples(names | alike, sizes), unique_by=lambda one: one[0], max_size=200))
def test_a_list_finds_packs_by_number_and_by_name(found: list[tuple[bytes, int]]) -> None:
    packs = PackList()
    for number, (name, size) in enumerate(found):
        assert packs.number(name) is None
        assert packs.add(segments.PackInfo(name, name * 2, size)) == number
    assert len(packs) == len(found)
    assert [(pack.name, pack.size_bytes) for pack in packs] == found
    for number, (name, _) in enumerate(found):
        assert packs.number(name) == number
        assert packs[number].salt == name * 2
    with pytest.raises(IndexError):
        packs[len(found)]


def test_a_million_packs_would_take_some_200_mib() -> None:
    """Three tables of each kind and of each pack: what a collection keeps of it."""
    count = 20_000
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def name(number: int) -> bytes:
        return (number * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "little") * 2

    tracemalloc.start()
    try:
        census = PackCensus(
            ListedPack(name(number), number, now + timedelta(seconds=number))
            for number in range(count)
        )
        packs = PackList()
        for number in range(count):
            packs.add(segments.PackInfo(name(number), bytes(32), number))
        plan = PackPlan(
            PackFacts(pack.name, pack.size_bytes + 1, 0, timedelta(hours=1), "a writer")
            for pack in census.in_order()
        )
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(census) == len(packs) == len(plan) == count
    assert held_bytes / count < 200
