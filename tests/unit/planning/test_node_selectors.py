"""Which nodes a node selector means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.planning import node_selectors

LABELS = {"zone": "a", "rack": "7", "ssd": ""}


def one(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def selects(*terms: dict[str, Any]) -> bool:
    return node_selectors.selects({"nodeSelectorTerms": list(terms)}, "node-1", LABELS)


@pytest.mark.parametrize(
    ("requirement", "wanted"),
    [
        (one("zone", "In", "a", "b"), True),
        (one("zone", "In", "b"), False),
        (one("absent", "In", "a"), False),
        (one("zone", "NotIn", "b"), True),
        (one("zone", "NotIn", "a"), False),
        (one("absent", "NotIn", "a"), True),
        (one("ssd", "Exists"), True),
        (one("absent", "Exists"), False),
        (one("absent", "DoesNotExist"), True),
        (one("ssd", "DoesNotExist"), False),
        (one("rack", "Gt", "6"), True),
        (one("rack", "Gt", "7"), False),
        (one("rack", "Lt", "8"), True),
        (one("zone", "Lt", "8"), False),
        (one("absent", "Gt", "1"), False),
        (one("rack", "Gt"), False),
        (one("zone", "Unheard", "a"), False),
    ],
)
def test_a_requirement(requirement: dict[str, Any], wanted: bool) -> None:
    assert selects({"matchExpressions": [requirement]}) is wanted


def test_a_name_is_a_field_and_no_label() -> None:
    assert selects({"matchFields": [one("metadata.name", "In", "node-1")]})
    assert not selects({"matchFields": [one("metadata.name", "In", "node-2")]})
    assert not selects({"matchExpressions": [one("metadata.name", "In", "node-1")]})


@given(st.lists(st.lists(st.booleans(), max_size=3), max_size=3))
def test_of_terms_one_has_to_hold_and_of_a_term_all(terms: list[list[bool]]) -> None:
    built = [
        {"matchExpressions": [one("zone", "In", "a" if holds else "b") for holds in term]}
        for term in terms
    ]
    assert selects(*built) is any(term and all(term) for term in terms)
