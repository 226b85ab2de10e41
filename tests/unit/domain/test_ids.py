"""Ids are Mooring's own, whatever names they are made from."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, ids


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_name_gives_an_id_that_is_a_plain_file_name(name: str, other: str) -> None:
    try:
        volume_id = ids.volume_id_for(name)
    except UnicodeEncodeError:
        return  # a lone surrogate cannot come over any wire
    assert ids.parse_volume_id(volume_id) == volume_id
    assert set(volume_id) <= set("vol-0123456789abcdef")
    snapshot_id = ids.snapshot_id_for(name, volume_id)
    assert ids.parse_snapshot_id(snapshot_id) == snapshot_id
    assert ids.source_volume_id(snapshot_id) == volume_id
    if name != other:
        try:
            assert ids.volume_id_for(other) != volume_id
        except UnicodeEncodeError:
            return


@pytest.mark.parametrize(
    "text",
    ["", "vol-", "vol-../../etc/passwd", "vol-" + "0" * 31, "vol-" + "0" * 33, "vol-" + "G" * 32,
     "vol-" + "0" * 32 + "\n", "VOL-" + "0" * 32, "/vol-" + "0" * 32],
)  # fmt: skip
def test_what_is_no_volume_id_is_not_found(text: str) -> None:
    with pytest.raises(errors.NotFound):
        ids.parse_volume_id(text)
    with pytest.raises(errors.NotFound):
        ids.parse_snapshot_id(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a/b", "..", "a" * 64, "a\n", "a.b"])
def test_what_is_no_pool_name(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        ids.parse_pool_name(text)


@given(st.text(max_size=300))
def test_any_text_is_a_node_name_or_refused(text: str) -> None:
    with contextlib.suppress(errors.InvalidInput):
        assert "/" not in ids.parse_node_name(text)
