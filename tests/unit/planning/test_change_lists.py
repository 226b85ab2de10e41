"""The list of changes that a mover reads: whole, or not taken for a list at all."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.backup import change_files
from mooring.domain import errors, volumes
from mooring.domain.extents import Range
from mooring.planning import change_lists

BASE = volumes.BackupBase("r" * 32, "bk-1")
SIZE = 1 << 40


def listed(gaps: list[tuple[int, int]]) -> list[Range]:
    ranges, end = [], 0
    for gap, length in gaps:
        ranges.append(Range(end + gap, length))
        end += gap + length
    return ranges


@given(
    st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 1 << 20)), max_size=50),
    st.integers(1, 100),
)
def test_what_was_written_is_what_is_read(gaps: list[tuple[int, int]], piece: int) -> None:
    ranges = listed(gaps)
    head = change_lists.Head(SIZE, BASE, 4096)
    content = b"".join(change_lists.encode(head, ranges))
    found, start = change_lists.decode_head(content[: change_lists.MAXIMUM_HEAD_BYTES])
    assert found == head
    pieces = [content[i : i + piece] for i in range(start, len(content), piece)]
    assert list(change_lists.decode_ranges(pieces, SIZE)) == ranges


def test_a_list_that_is_cut_short_anywhere_is_none(tmp_path: Path) -> None:
    ranges = [Range(0, 4096), Range(8192, 4096), Range(1 << 30, 1)]
    content = b"".join(change_lists.encode(change_lists.Head(SIZE, BASE, 4096), ranges))
    path = tmp_path / "changes"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        changes, why = change_files.read(path, SIZE)
        assert changes is None
        assert why
    path.write_bytes(content)
    changes, why = change_files.read(path, SIZE)
    assert changes is not None
    assert (list(changes.ranges), list(changes.ranges), why) == (ranges, ranges, "")
    assert (changes.since, changes.size_bytes) == ("bk-1", 4096)


@pytest.mark.parametrize(
    "ranges",
    [
        [Range(4096, 4096), Range(0, 4096)],
        [Range(0, 4096), Range(4095, 2)],
        [Range(0, 0)],
        [Range(SIZE, 1)],
        [Range((1 << 64) - 1, 1)],
    ],
)
def test_ranges_that_cannot_be_are_refused(ranges: list[Range]) -> None:
    content = b"".join(change_lists.encode(change_lists.Head(SIZE, BASE, 1), ranges))
    _, start = change_lists.decode_head(content)
    with pytest.raises(errors.DataCorrupt):
        list(change_lists.decode_ranges([content[start:]], SIZE))


@given(st.binary(max_size=200))
def test_anything_else_is_no_list(content: bytes) -> None:
    with pytest.raises((errors.DataCorrupt, errors.Unsupported)):
        change_lists.decode_head(content)


def test_what_is_known_of_nothing_or_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    heads = {
        "nothing is kept": change_lists.Head(SIZE),
        "is of 4096 bytes": change_lists.Head(4096, BASE, 4096),
    }
    for said, head in heads.items():
        path.write_bytes(b"".join(change_lists.encode(head, [])))
        changes, why = change_files.read(path, SIZE)
        assert changes is None
        assert said in why
    assert change_files.read(tmp_path / "absent", SIZE)[0] is None
    newer = b'{"format": 2}\n'
    with pytest.raises(errors.Unsupported):
        change_lists.decode_head(newer)
