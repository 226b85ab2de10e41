"""Exit codes are an interface: these numbers never change, and the page tells the same."""

import re
from collections.abc import Iterator
from pathlib import Path

from mooring.domain import errors
from mooring_cli import exits

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "exit-codes.md"
TABLE = {
    "MooringError": 13,
    "InvalidInput": 2,
    "SizeOutOfRange": 2,
    "NotFound": 3,
    "AlreadyExists": 4,
    "PreconditionFailed": 5,
    "AnotherRepository": 5,
    "InUse": 5,
    "Unsupported": 5,
    "PermissionDenied": 6,
    "WrongKey": 6,
    "ReadOnly": 6,
    "SpaceExhausted": 7,
    "DataCorrupt": 8,
    "Suspect": 8,
    "HostFailure": 9,
    "Busy": 10,
    "Fragmented": 10,
    "Unreachable": 11,
    "NeverReached": 11,
    "Cancelled": 12,
}


def tree(kind: type[errors.MooringError]) -> Iterator[type[errors.MooringError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from tree(inner)


def test_each_error_has_the_number_that_it_always_had() -> None:
    named = (kind for kind in tree(errors.MooringError) if kind.__module__ == errors.__name__)
    assert {kind.__name__: exits.exit_code(kind("x")) for kind in named} == TABLE


def test_a_bug_and_a_wrong_usage_have_numbers_of_their_own() -> None:
    assert (exits.BUG, exits.USAGE) == (1, 2)
    assert exits.BUG not in TABLE.values()


def test_the_page_has_every_number_and_says_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+\| ([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.M)
    assert [int(code) for code, _ in rows] == list(range(14))
    said = {name: int(code) for code, names in rows for name in re.findall(r"`([A-Z]\w+)`", names)}
    assert said == TABLE
