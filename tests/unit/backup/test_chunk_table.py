"""The flat table against a dictionary, in memory, mapped from a file, and read from a file."""

import random

import pytest

from mooring.backup import chunk_table
from mooring.backup.format import segments
from mooring.domain import errors


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("small_bytes", [0, 1 << 30])
def test_it_is_a_dictionary_with_marks(
    monkeypatch: pytest.MonkeyPatch, mapped: bool, small_bytes: int
) -> None:
    monkeypatch.setattr(chunk_table, "_SMALL_BYTES", small_bytes)
    dice = random.Random(1)
    table = chunk_table.ChunkTable(3000, mapped=mapped)
    model: dict[bytes, bytes] = {}
    for _ in range(6000):
        ident = dice.choice(list(model)) if model and dice.random() < 0.5 else dice.randbytes(32)
        if ident not in model and len(model) == 3000:
            continue
        record = segments.ENTRY.pack(ident, *(dice.randrange(1 << 32) for _ in range(4)))
        table.put(table.find(ident), record)
        model[ident] = record
    for ident, record in model.items():
        assert table.get(table.find(ident)) == record
    assert table.get(table.find(b"\x01" * 32)) == bytes(segments.ENTRY.size)
    marked = set(dice.sample(sorted(model), 500))
    for ident in marked:
        assert not table.is_marked(table.find(ident))
        assert table.mark(table.find(ident))
        assert not table.mark(table.find(ident))
    assert table.marked_count() == 500
    assert {record[:32] for record in table.marked()} == marked


def test_more_than_was_expected_is_an_error() -> None:
    table = chunk_table.ChunkTable(1)
    table.put(table.find(b"\x01" * 32), b"\x01" * 48)
    with pytest.raises(errors.DataCorrupt, match="longer than"):
        table.put(table.find(b"\x02" * 32), b"\x02" * 48)
