"""Decides which backups of a volume are kept: the last ones, and one an hour, a day and so on.

A period counts only when a good backup lies in it, so a week without backups costs nothing, and
its newest good backup stands for it. What is not good stands for nothing, and is never dropped
here: what is left of it may be wanted, and dropping it takes a word of its own. As long as a
Suspect backup is kept, so is the one that has what it is not sure of.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo

from mooring.domain import backups, errors

MAXIMUM_COUNT = 1_000_000


@dataclass(frozen=True)
class KeepRules:
    """How many backups to keep, by each rule for itself; several rules may keep the same one.

    Attributes:
        last: The newest ones, whenever they were made.
        hourly: The newest of each of so many hours that have one.
        daily: The same of days.
        weekly: Of ISO weeks, which begin on Monday.
        monthly: Of months.
        yearly: Of years.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def __post_init__(self) -> None:
        counts = [getattr(self, field.name) for field in fields(self)]
        if any(not 0 <= count <= MAXIMUM_COUNT for count in counts) or not any(counts):
            raise errors.InvalidInput(
                f"retention needs at least one number above 0, and none above {MAXIMUM_COUNT} or "
                "negative: say for example to keep the last 3 and 7 daily ones"
            )


@dataclass(frozen=True)
class PointInTime:
    """One backup, as retention sees it.

    Attributes:
        backup_id: Which.
        at: The moment that it stands for.
        good: Whether it can be restored, as far as is known.
        holds: The backups that a Suspect one needs, to be mended from; it is not good.
    """

    backup_id: backups.BackupId
    at: datetime
    good: bool = True
    holds: tuple[backups.BackupId, ...] = ()


@dataclass(frozen=True)
class RetentionVerdict:
    """What becomes of a backup, and why: each rule that keeps it, or that none does."""

    point: PointInTime
    keep: bool
    reasons: tuple[str, ...]


def decide_retention(
    points: Iterable[PointInTime],
    rules: KeepRules,
    zone: tzinfo = UTC,
    *,
    drop_suspect: bool = False,
) -> list[RetentionVerdict]:
    """Decides what to keep of one volume's backups.

    Args:
        points: All its backups, in any order.
        rules: What to keep.
        zone: Where hours, days, weeks, months and years begin.
        drop_suspect: The word of its own: Suspect ones go that a good one has followed.

    Returns:
        A verdict on each, newest first. The newest good one is always kept.
    """
    ordered = sorted(points, key=lambda point: (point.at, point.backup_id), reverse=True)
    reasons: dict[backups.BackupId, list[str]] = {point.backup_id: [] for point in ordered}
    good = [point for point in ordered if point.good]
    if good:
        reasons[good[0].backup_id].append("the newest good one")
    for name, period in _PERIODS.items():
        _keep(good, getattr(rules, name), name, period, reasons=reasons, zone=zone)
    for point in ordered:
        followed = bool(good) and good[0].at > point.at
        if not point.good and not (drop_suspect and point.holds and followed):
            reasons[point.backup_id].append("not good, so it is not counted, and not dropped here")
    for point in ordered:
        for held in point.holds if reasons[point.backup_id] else ():
            if held in reasons:
                reasons[held].append(f"held, to mend Suspect backup {point.backup_id} from")
    return [
        RetentionVerdict(point, bool(why), tuple(why) or ("no rule keeps it",))
        for point in ordered
        for why in [reasons[point.backup_id]]
    ]


def _keep(
    good: list[PointInTime],
    count: int,
    name: str,
    period: Callable[[datetime], str] | None,
    *,
    reasons: dict[backups.BackupId, list[str]],
    zone: tzinfo,
) -> None:
    """Notes which backups one rule keeps: the newest of each of the newest periods."""
    seen: set[str] = set()
    for number, point in enumerate(good):
        label = str(number) if period is None else period(point.at.astimezone(zone))
        if label in seen:
            continue
        if len(seen) == count:
            return
        seen.add(label)
        which = "" if period is None else f" ({label})"
        reasons[point.backup_id].append(f"{name} {len(seen)} of {count}{which}")


def _week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02}"


def _hour(moment: datetime) -> str:
    # With the offset, so that the hour that comes twice in autumn is two hours.
    return f"{moment:%Y-%m-%d %H:00%z}"


_PERIODS: dict[str, Callable[[datetime], str] | None] = {
    "last": None,
    "hourly": _hour,
    "daily": lambda moment: f"{moment:%Y-%m-%d}",
    "weekly": _week,
    "monthly": lambda moment: f"{moment:%Y-%m}",
    "yearly": lambda moment: f"{moment:%Y}",
}
