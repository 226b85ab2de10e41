"""Records in one piece of memory, in order."""

from hypothesis import given
from hypothesis import strategies as st

from mooring.domain.records import joined_in_order

records = st.lists(st.binary(min_size=3, max_size=3), max_size=30)


@given(records)
def test_they_are_sorted_whatever_order_they_come_in(found: list[bytes]) -> None:
    assert joined_in_order(found, 3) == b"".join(sorted(found))
    assert joined_in_order(sorted(found), 3) == b"".join(sorted(found))
