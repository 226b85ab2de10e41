"""The comparison of two maps against a disk of bytes: nothing that changed is ever missed."""

import itertools
from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from mooring.domain.extents import Placed, Placement, Range
from mooring.planning import changed_ranges

BLOCK = 4
DISK_BLOCKS = 12

# One block of an image: where it lies (None is a hole) and what the filesystem says of it.
blocks = st.one_of(
    st.just((0, Placement.ZEROS, False)),
    st.tuples(
        st.integers(0, DISK_BLOCKS - 1),
        st.sampled_from([Placement.DATA, Placement.DATA, Placement.ZEROS, Placement.UNCLEAR]),
        st.just(True),
    ),
)
images = st.lists(blocks, max_size=10)
disks = st.lists(st.binary(min_size=BLOCK, max_size=BLOCK), min_size=12, max_size=12)


def mapped(image: list[tuple[int, Placement, bool]], joined: bool) -> list[Placed]:
    """The map of an image: one piece a block, or pieces as long as they can be."""
    found: list[Placed] = []
    for number, (physical, placement, mentioned) in enumerate(image):
        if not mentioned:
            continue
        piece = Placed(number * BLOCK, BLOCK, physical * BLOCK, placement)
        last = found[-1] if found else None
        if (
            joined
            and last is not None
            and last.end_bytes == piece.offset_bytes
            and last.placement is piece.placement
            and last.physical_bytes + last.length_bytes == piece.physical_bytes
        ):
            found[-1] = last._replace(length_bytes=last.length_bytes + BLOCK)
        else:
            found.append(piece)
    return found


def content(image: list[tuple[int, Placement, bool]], disk: list[bytes], salt: int) -> bytes:
    """What an image reads as; bytes at an unclear place may be anything."""
    read = b""
    for number, (physical, placement, _) in enumerate(image):
        if placement is Placement.DATA:
            read += disk[physical]
        elif placement is Placement.ZEROS:
            read += bytes(BLOCK)
        else:
            read += bytes([1 + (number + salt) % 250]) * BLOCK
    return read


def marked(ranges: Iterable[Range], size_bytes: int) -> list[bool]:
    marks = [False] * size_bytes
    for one in ranges:
        marks[one.offset_bytes : one.end_bytes] = [True] * one.length_bytes
    assert len(marks) == size_bytes
    return marks


def in_order(ranges: list[Range]) -> None:
    assert all(one.length_bytes > 0 for one in ranges)
    assert all(one.end_bytes < other.offset_bytes for one, other in itertools.pairwise(ranges))


@given(images, images, disks, st.integers(0, 3), st.booleans(), st.booleans())
def test_what_is_not_named_is_the_same_bytes(
    base: list[tuple[int, Placement, bool]],
    new: list[tuple[int, Placement, bool]],
    disk: list[bytes],
    cut: int,
    base_joined: bool,
    new_joined: bool,
) -> None:
    base_size = max(0, len(base) * BLOCK - cut)
    new_size = max(0, len(new) * BLOCK - cut)
    found = list(
        changed_ranges.changed(
            mapped(base, base_joined), mapped(new, new_joined), base_size, new_size
        )
    )
    in_order(found)
    marks = marked(found, new_size)
    old, fresh = content(base, disk, 0)[:base_size], content(new, disk, 1)[:new_size]
    for offset in range(new_size):
        if not marks[offset]:
            assert offset < base_size
            assert old[offset] == fresh[offset]


@given(images, st.integers(0, 3), st.booleans())
def test_an_image_does_not_differ_from_itself_but_where_it_is_unclear(
    image: list[tuple[int, Placement, bool]], cut: int, joined: bool
) -> None:
    size = max(0, len(image) * BLOCK - cut)
    found = changed_ranges.changed(mapped(image, True), mapped(image, joined), size, size)
    marks = marked(found, size)
    for offset in range(size):
        assert marks[offset] == (image[offset // BLOCK][1] is Placement.UNCLEAR)


def test_data_that_became_a_hole_is_a_change_and_so_is_everything_beyond_the_end() -> None:
    data = [Placed(0, 8, 100, Placement.DATA)]
    assert list(changed_ranges.changed(data, [], 8, 8)) == [Range(0, 8)]
    assert list(changed_ranges.changed([], data, 8, 8)) == [Range(0, 8)]
    assert list(changed_ranges.changed(data, data, 8, 20)) == [Range(8, 12)]
    assert list(changed_ranges.changed(data, data, 8, 4)) == []


@given(images, disks, st.integers(0, 3))
def test_what_is_not_allocated_is_zero(
    image: list[tuple[int, Placement, bool]], disk: list[bytes], cut: int
) -> None:
    size = max(0, len(image) * BLOCK - cut)
    found = list(changed_ranges.allocated(mapped(image, True), size))
    in_order(found)
    marks, read = marked(found, size), content(image, disk, 0)
    assert all(marks[offset] or not read[offset] for offset in range(size))


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30))),
    st.sampled_from([1, 4, 16, 64]),
    st.integers(1, 220),
)
def test_alignment_covers_and_joins(parts: list[tuple[int, int]], block: int, size: int) -> None:
    ranges = sorted(Range(*part) for part in parts)
    found = list(changed_ranges.aligned(ranges, block, size))
    in_order(found)
    marks = marked(found, size)
    wanted = [False] * size
    for one in ranges:
        for offset in range(one.offset_bytes, min(one.end_bytes, size)):
            wanted[offset] = True
    for start in range(0, size, block):
        touched = any(wanted[start : start + block])
        assert all(mark == touched for mark in marks[start : start + block])


class Maps:
    """A filesystem that gives another map of the older image at one of the three times."""

    def __init__(self, moved_at: int | None) -> None:
        self.moved_at = moved_at
        self.asked: list[str] = []

    def base(self) -> Iterator[Placed]:
        moved = len([one for one in self.asked if one == "base"]) == self.moved_at
        self.asked.append("base")
        yield Placed(0, 8, 104 if moved else 100, Placement.DATA)
        yield Placed(8, 8, 200, Placement.DATA)

    def new(self) -> Iterator[Placed]:
        self.asked.append("new")
        yield Placed(0, 8, 100, Placement.DATA)
        yield Placed(8, 8, 300, Placement.DATA)


def compared(maps: Maps) -> tuple[bool, list[Range]]:
    kept: list[Range] = []

    def keep(ranges: Iterable[Range]) -> None:
        kept[:] = ranges

    return changed_ranges.compare(maps.base, maps.new, (16, 16), keep), kept


def test_the_older_image_is_looked_at_before_and_after() -> None:
    maps = Maps(None)
    assert compared(maps) == (True, [Range(8, 8)])
    assert maps.asked == ["base", "base", "new", "base"]


def test_an_older_image_that_moved_proves_nothing() -> None:
    for moved_at in range(3):
        assert compared(Maps(moved_at)) == (False, [Range(0, 16)])
