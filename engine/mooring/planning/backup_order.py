"""In which order backups were made, as far as clocks can be believed. Pure.

A clock that jumps is found out by what it contradicts. Nothing stands for a later moment than the
one at which the store says that its manifest was written, nothing lies in the future, and nothing
was made before the backup that it builds on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring.domain import backups

TOLERANCE = timedelta(minutes=1)
"""Stores tell times to the second, and the clocks of their machines differ a little."""


@dataclass(frozen=True)
class Occasion:
    """What is known of when a backup was made.

    Attributes:
        backup_id: Which.
        at: The moment that it says it stands for.
        parent: The backup that it was compared with.
        written_at: When it was complete, by a clock other than the one that told `at`; None where
            nobody knows.
    """

    backup_id: backups.BackupId
    at: datetime
    parent: backups.BackupId | None = None
    written_at: datetime | None = None


@dataclass(frozen=True, order=True)
class Place:
    """Where a backup belongs among the others; the earlier one is the lesser.

    Attributes:
        since: The latest moment that is believed of it and of what it builds on.
        depth: How many backups that it builds on are known, one on the other.
        moment: What it stands for, no later than it was written.
        backup_id: Which; it tells equal moments apart.
        doubt: Why the moment cannot be right; empty when nothing contradicts it.
    """

    since: datetime
    depth: int
    moment: datetime
    backup_id: backups.BackupId
    doubt: str = ""


def places(occasions: Iterable[Occasion], now: datetime | None) -> dict[backups.BackupId, Place]:
    """Tells for each backup of one volume where it belongs.

    Args:
        occasions: All of them, in any order.
        now: The present; None when nobody knows it.
    """
    known = {one.backup_id: one for one in occasions}
    found: dict[backups.BackupId, Place] = {}
    for one in known.values():
        for each in reversed(_unplaced_line(one, known, found)):
            parent = found.get(each.parent) if each.parent is not None else None
            found[each.backup_id] = _place(each, parent, now)
    return found


def _unplaced_line(
    one: Occasion,
    known: Mapping[backups.BackupId, Occasion],
    found: Mapping[backups.BackupId, Place],
) -> list[Occasion]:
    """Returns a backup and what it builds on, the youngest first, as far as not placed yet."""
    line: dict[backups.BackupId, Occasion] = {}  # who forges manifests can make a ring of them
    next_one: Occasion | None = one
    while next_one is not None and next_one.backup_id not in (found.keys() | line.keys()):
        line[next_one.backup_id] = next_one
        next_one = known.get(next_one.parent) if next_one.parent is not None else None
    return list(line.values())


def _place(one: Occasion, parent: Place | None, now: datetime | None) -> Place:
    moment = one.at if one.written_at is None else min(one.at, one.written_at)
    latest = None if now is None else now + TOLERANCE
    depth = 0 if parent is None else parent.depth + 1
    if latest is not None and moment > latest:
        # It is no evidence of anything: what builds on it was made before its own moment.
        since = moment if parent is None else parent.since
        doubt = f"its clock was wrong ({_show(moment)} is yet to come)"
        return Place(since, depth, moment, one.backup_id, doubt)
    if parent is None or parent.since <= moment or (latest is not None and parent.since > latest):
        return Place(moment, depth, moment, one.backup_id)
    doubt = f"its clock was wrong ({_show(moment)} is before what it builds on was made)"
    return Place(parent.since, depth, moment, one.backup_id, doubt)


def _show(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
