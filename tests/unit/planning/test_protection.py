"""When a claim counts as unprotected."""

from datetime import UTC, datetime, timedelta

import pytest

from mooring.planning.protection import Standing, judge

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("wish", "age", "newest", "standing", "reason", "expected"),
    [
        ("24h", 900, 24, Standing.PROTECTED, "BackupFresh", True),
        ("24h", 900, 24.1, Standing.UNPROTECTED, "BackupTooOld", True),
        ("24h", 24, None, Standing.NOT_DUE, "NotDue", True),
        ("24h", 24.1, None, Standing.UNPROTECTED, "NoBackup", True),
        ("24h", 1, 900, Standing.UNPROTECTED, "BackupTooOld", True),
        (None, 900, 800, Standing.PROTECTED, "HasBackup", False),
        (None, 0, None, Standing.UNPROTECTED, "NoBackup", False),
        ("none", 900, None, Standing.NOT_WANTED, "NotWanted", False),
        ("often", 1, 1, Standing.UNPROTECTED, "InvalidRpo", True),
        ("0", 1, 1, Standing.UNPROTECTED, "InvalidRpo", True),
        ("7d", 900, 100, Standing.PROTECTED, "BackupFresh", True),
    ],
)
def test_standings(
    wish: str | None,
    age: float,
    newest: float | None,
    standing: Standing,
    reason: str,
    expected: bool,
) -> None:
    found = judge(wish, ago(age), None if newest is None else ago(newest), NOW)
    assert (found.standing, found.reason, found.expected) == (standing, reason, expected)
    assert found.message
