"""Packs in few bytes each, held against plain dictionaries and lists."""

import random
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.backup.format import packs, segments
from mooring.backup.pack_census import ListedPack, PackCensus, PackList
from mooring.domain import backups
from mooring.planning.collection import PackFacts, PackPlan
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect

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
    listed = PackList()
    for number, (name, size) in enumerate(found):
        assert listed.number(name) is None
        assert listed.add(segments.PackInfo(name, name * 2, size)) == number
    assert len(listed) == len(found)
    assert [(pack.name, pack.size_bytes) for pack in listed] == found
    for number, (name, _) in enumerate(found):
        assert listed.number(name) == number
        assert listed[number].salt == name * 2
    with pytest.raises(IndexError):
        listed[len(found)]


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
        listed = PackList()
        for number in range(count):
            listed.add(segments.PackInfo(name(number), bytes(32), number))
        plan = PackPlan(
            PackFacts(pack.name, pack.size_bytes + 1, 0, timedelta(hours=1), "a writer")
            for pack in census.in_order()
        )
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(census) == len(listed) == len(plan) == count
    assert held_bytes / count < 200


def test_a_collection_that_deletes_holds_little_of_each_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it holds of a chunk would show as well: there are two of them in each pack."""
    monkeypatch.setattr(packs, "MAXIMUM_BLOBS", 2)
    monkeypatch.setattr(segments, "MAXIMUM_ENTRIES", 64)
    peaks = []
    for count in (400, 1600):
        folder = tmp_path / str(count)
        folder.mkdir()
        engine = Engine(folder)
        engine.back_up(random.Random(1).randbytes(2 * count * SMALL_CHUNK), "bk-1")
        engine.open().forget(backups.BackupId("bk-1"))
        collect(engine)
        age(engine.store)
        tracemalloc.start()
        try:
            assert collect(engine).acts.packs_deleted > count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1200 < 500
