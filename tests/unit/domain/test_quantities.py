"""Quantities as Kubernetes reads them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, quantities


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("10Gi", 10 << 30), ("500M", 500_000_000), ("1.5Gi", 3 << 29), ("1e3", 1000), ("0", 0),
     ("0.1", 1), ("1E", 10**18), ("7Ei", 7 << 60), (" 1Ki ", 1024)],
)  # fmt: skip
def test_sizes(text: str, size_bytes: int) -> None:
    assert quantities.parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "Gi", "-1", "-1Gi", "8Ei", "1e99", "10GiB", "10 Gi", "1,5Gi", "NaN", "Inf", "0x10",
     "1\n2", "9" * 400],
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        quantities.parse_bytes(text)


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_what_is_written_is_read_back(size_bytes: int) -> None:
    assert quantities.parse_bytes(quantities.format_bytes(size_bytes)) == size_bytes
    assert quantities.parse_bytes(str(size_bytes)) == size_bytes


@given(st.text(max_size=60))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with contextlib.suppress(errors.InvalidInput):
        assert 0 <= quantities.parse_bytes(text) < 1 << 63
