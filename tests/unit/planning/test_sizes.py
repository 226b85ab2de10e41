import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, volumes
from mooring.planning import sizes

MIB = 1 << 20
bounds = st.integers(0, 1 << 45)


@given(bounds, bounds, bounds)
def test_a_chosen_size_is_aligned_within_the_range_and_holds_its_source(required, limit, source):
    source = sizes.round_up(source)
    try:
        asked = sizes.SizeRange(required, limit)
        size = sizes.choose(asked, source_size_bytes=source)
    except errors.SizeOutOfRange:
        return
    assert size % volumes.SIZE_ALIGNMENT_BYTES == 0
    assert size >= volumes.MINIMUM_VOLUME_SIZE_BYTES
    assert size >= source
    assert asked.holds(size)


@given(bounds, bounds)
def test_growing_never_shrinks_and_honours_the_limit(required, present):
    present = sizes.round_up(present)
    size = sizes.grow(sizes.SizeRange(required), present)
    assert size >= present
    assert size >= required
    assert size - max(required, present) < volumes.SIZE_ALIGNMENT_BYTES


@pytest.mark.parametrize(
    ("required", "limit", "source", "size"),
    [
        (0, 0, 0, sizes.DEFAULT_VOLUME_SIZE_BYTES),
        (1, 0, 0, MIB),
        (MIB + 1, 0, 0, 2 * MIB),
        (0, 5 * MIB + 7, 0, 5 * MIB),
        (0, 0, 7 * MIB, 7 * MIB),
        (8 * MIB, 0, 7 * MIB, 8 * MIB),
    ],
)
def test_sizes(required, limit, source, size):
    assert sizes.choose(sizes.SizeRange(required, limit), source_size_bytes=source) == size


@pytest.mark.parametrize(
    ("required", "limit", "source"),
    [
        (MIB + 1, MIB + 2, 0),
        (1, 5, 0),
        (6 * MIB, 0, 7 * MIB),
        (0, 6 * MIB, 7 * MIB),
        ((1 << 63) - 5, 0, 0),
    ],
)
def test_what_no_size_satisfies_is_out_of_range(required, limit, source):
    with pytest.raises(errors.SizeOutOfRange):
        sizes.choose(sizes.SizeRange(required, limit), source_size_bytes=source)


@pytest.mark.parametrize(("required", "limit"), [(-1, 0), (0, -1)])
def test_a_negative_bound_is_invalid(required, limit):
    with pytest.raises(errors.InvalidInput, match="negative"):
        sizes.SizeRange(required, limit)
