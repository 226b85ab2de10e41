"""The ends of a device that is filled: empty until all else is durable, superblocks last."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.backup import direct_reads, held_ends
from mooring.domain import errors

PAGE = 4096
HEAD, TAIL = 128 << 10, 32 << 10


@pytest.fixture(autouse=True)
def _small_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_ends, "_HEAD_BYTES", HEAD)
    monkeypatch.setattr(held_ends, "_TAIL_BYTES", TAIL)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def fill(file: int, size: int, seed: int = 1) -> bytes:
    content = random.Random(seed).randbytes(size)
    os.ftruncate(file, 0)
    os.pwrite(file, content, 0)
    return content


sizes = st.sampled_from([512, PAGE, 70 << 10, HEAD - 1, HEAD, HEAD + 1, HEAD + TAIL, 400_000])
writes = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 90_000)), max_size=8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=sizes, places=writes)
def test_it_is_what_was_written_and_the_ends_only_when_released(
    file: int, path: Path, size: int, places: list[tuple[float, int]]
) -> None:
    model = bytearray(fill(file, size))
    ends = held_ends.HeldEnds(file, size)
    assert path.read_bytes() == model, "nothing is changed before the first write"
    for number, (place, length) in enumerate(places):
        offset = int(place * (size - 1))
        data = random.Random(number).randbytes(min(length, size - offset))
        ends.begin()
        if ends.holds(offset, len(data)):
            ends.write(memoryview(data), offset)
        else:
            os.pwrite(file, data, offset)
        model[offset : offset + len(data)] = data
        there = path.read_bytes()
        assert not any(there[:HEAD])
        assert not any(there[max(HEAD, size - TAIL) :])
        seen = bytearray(there)
        ends.overlay(memoryview(seen), 0)
        assert seen == model
    ends.release()
    assert path.read_bytes() == model


def test_a_power_cut_finds_superblocks_only_where_all_else_is_durable(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 600_000
    fill(file, size)
    events: list[tuple[int, int] | None] = []  # places of writes, and None for a sync
    pwrite, fsync = os.pwrite, os.fsync

    def written(descriptor: int, data: memoryview, offset: int) -> int:
        events.append((offset, len(data)))
        return pwrite(descriptor, data, offset)

    def synced(descriptor: int) -> None:
        events.append(None)
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", written)
    monkeypatch.setattr(os, "fsync", synced)
    ends = held_ends.HeldEnds(file, size)
    ends.begin()
    emptied = len(events)
    assert events == [(0, HEAD), (size - TAIL, TAIL), None]
    ends.release()
    order = events[emptied:]
    superblocks = [order.index((64 << 10, PAGE)), order.index((0, PAGE))]
    assert superblocks == [len(order) - 4, len(order) - 2], "each alone, one after the other"
    assert [order[place - 1] for place in superblocks] == [None, None], "all before is durable"
    assert order[-1] is None
    covered = sum(place[1] for place in order if place is not None)
    assert covered == HEAD + TAIL


def test_a_device_that_does_not_keep_its_ends_has_none(
    file: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = fill(file, 600_000)
    ends = held_ends.HeldEnds(file, len(content))
    monkeypatch.setattr(direct_reads, "read_anew", lambda _, __, length: bytes(length))
    with pytest.raises(errors.DataCorrupt, match="did not keep"):
        ends.release()
    there = path.read_bytes()
    assert not any(there[:HEAD])
    assert not any(there[-TAIL:])


def test_a_device_that_fails_while_it_gets_its_ends_has_none(
    file: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = fill(file, 600_000)
    ends = held_ends.HeldEnds(file, len(content))
    ends.begin()
    syncs = 0
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == 3:
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        ends.release()
    assert not any(path.read_bytes()[:HEAD])
