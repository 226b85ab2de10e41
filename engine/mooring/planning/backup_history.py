"""Which Backups of a schedule have had their day. Pure.

Each claim is judged by itself, and a claim that was made anew under the same name is another one:
backups of an emptied successor never push out those of the data that was lost.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from mooring.domain import backups
from mooring.planning import retention


class State(enum.Enum):
    """How a Backup stands."""

    GOOD = "Good"
    DOUBTFUL = "Doubtful"  # kept by the repository, but not known to be restorable
    FAILED = "Failed"
    ACTIVE = "Active"


@dataclass(frozen=True)
class PastBackup:
    """A Backup of one schedule.

    Attributes:
        name: Its name.
        claim: Which claim, so that one made anew is another; its name where that is all there is.
        at: The moment that it stands for, or when it was made.
        state: See there.
        deleting: Whether its deletion was asked for.
        retired: Why it was to be deleted at an earlier look; None when it was not.
        held: Whether a Suspect backup is to be mended from it.
        backup_id: Its id in the repository.
        parent: The id there of the one that it builds on.
        written_at: When it was seen to be complete.
    """

    name: str
    claim: str
    at: datetime
    state: State
    deleting: bool = False
    retired: str | None = None
    held: bool = False
    backup_id: str | None = None
    parent: str | None = None
    written_at: datetime | None = None


@dataclass(frozen=True)
class Limits:
    """What is kept.

    Attributes:
        rules: None keeps every good backup.
        failed: How many failed Backups of each claim are kept, to be looked at.
        zone: Where days and months begin.
        at_a_time: How many may be on their way out of the repository together.
        now: The present; None when nobody knows it.
    """

    rules: retention.KeepRules | None
    failed: int
    zone: tzinfo = UTC
    at_a_time: int = 3
    now: datetime | None = None


@dataclass(frozen=True)
class Verdicts:
    """What becomes of the Backups.

    Attributes:
        retire: Names of those that go with their point in time, and why; oldest first.
        drop: Names of failed ones to delete; the repository holds nothing of them.
        reprieve: Names of those that were to go and are kept after all.
    """

    retire: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    reprieve: tuple[str, ...] = ()


def decide(past: Iterable[PastBackup], limits: Limits) -> Verdicts:
    """Decides which Backups go.

    What is being deleted already counts for nothing: nothing older goes because of it. The newest
    good backup of each claim stays, whatever the rules say, and so does every doubtful one, and
    what a doubtful one is to be mended from.
    """
    everything = list(past)
    present = [backup for backup in everything if not backup.deleting]
    retire: list[tuple[PastBackup, str]] = []
    drop: list[PastBackup] = []
    for claim in sorted({backup.claim for backup in present}):
        own = [backup for backup in present if backup.claim == claim]
        retire += _outdated(own, limits)
        failed = [backup for backup in own if backup.state is State.FAILED]
        drop += sorted(failed, key=_age, reverse=True)[limits.failed :]
    going = {backup.name for backup, _ in retire}
    leaving = sum(backup.deleting and backup.state is State.GOOD for backup in everything)
    room = max(limits.at_a_time - leaving, 0)
    retire.sort(key=lambda item: _age(item[0]))
    return Verdicts(
        tuple((backup.name, why) for backup, why in retire[:room]),
        tuple(backup.name for backup in drop),
        tuple(
            backup.name
            for backup in present
            if backup.retired is not None and backup.name not in going
        ),
    )


def _outdated(own: Sequence[PastBackup], limits: Limits) -> list[tuple[PastBackup, str]]:
    if limits.rules is None:
        return []
    by_name = {backups.BackupId(backup.name): backup for backup in own}
    names = {backup.backup_id: name for name, backup in by_name.items() if backup.backup_id}
    points = [
        retention.PointInTime(
            backup_id=name,
            at=backup.at,
            good=backup.state is State.GOOD,
            parent=names.get(backup.parent) if backup.parent else None,
            written_at=backup.written_at,
        )
        for name, backup in by_name.items()
        if backup.state in (State.GOOD, State.DOUBTFUL)
    ]
    verdicts = retention.decide_retention(points, limits.rules, limits.zone, now=limits.now)
    return [
        (by_name[verdict.point.backup_id], "; ".join(verdict.reasons))
        for verdict in verdicts
        if not verdict.keep and not by_name[verdict.point.backup_id].held
    ]


def _age(backup: PastBackup) -> tuple[datetime, str]:
    return backup.at, backup.name
