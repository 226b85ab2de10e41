"""Decides which backups of a volume are kept: the last ones, and one an hour, a day and so on.

A period counts only when a good backup lies in it, so a week without backups costs nothing, and
its newest good backup stands for it. What is not good stands for nothing, and is never dropped
here: what is left of it may be wanted, and dropping it takes a word of its own. As long as a
Suspect backup is kept, so is the one that has what it is not sure of. One whose moment cannot be
right, because a clock had jumped, is not counted either, until nothing contradicts it any more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo

from mooring.domain import backups, errors
from mooring.planning import backup_order

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
        parent: The backup that it builds on.
        written_at: When the store says that it was complete; None where nobody knows.
    """

    backup_id: backups.BackupId
    at: datetime
    good: bool = True
    holds: tuple[backups.BackupId, ...] = ()
    parent: backups.BackupId | None = None
    written_at: datetime | None = None


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
    now: datetime | None = None,
    drop_suspect: bool = False,
) -> list[RetentionVerdict]:
    """Decides what to keep of one volume's backups.

    Args:
        points: All its backups, in any order.
        rules: What to keep.
        zone: Where hours, days, weeks, months and years begin.
        now: The present by the store's clock; None when nobody knows it.
        drop_suspect: The word of its own: Suspect ones go that a good one has followed.

    Returns:
        A verdict on each, newest first. The newest good one is always kept, and so is the good one
        that the store wrote last.
    """
    known = {point.backup_id: point for point in points}
    order = _order(known.values(), now)
    ordered = [known[place.backup_id] for place in order]
    doubts = {place.backup_id: place.doubt for place in order if place.doubt}
    counted = [place for place in order if known[place.backup_id].good and not place.doubt]
    reasons: dict[backups.BackupId, list[str]] = {point.backup_id: [] for point in ordered}
    _keep_newest(ordered, counted, reasons)
    for name, period in _PERIODS.items():
        _keep(counted, getattr(rules, name), name, period, reasons=reasons, zone=zone)
    for point in ordered:
        followed = bool(counted) and counted[0].moment > point.at
        if doubt := doubts.get(point.backup_id):
            reasons[point.backup_id].append(f"{doubt}, so it is not counted, and not dropped here")
        elif not point.good and not (drop_suspect and point.holds and followed):
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


def _order(points: Iterable[PointInTime], now: datetime | None) -> list[backup_order.Place]:
    """Returns where the backups belong, the newest first."""
    occasions = (
        backup_order.Occasion(point.backup_id, point.at, point.parent, point.written_at)
        for point in points
    )
    return sorted(backup_order.places(occasions, now).values(), reverse=True)


def _keep_newest(
    ordered: Sequence[PointInTime],
    counted: Sequence[backup_order.Place],
    reasons: Mapping[backups.BackupId, list[str]],
) -> None:
    """Keeps what no rule may drop, whatever clocks said when it was made."""
    if counted:
        reasons[counted[0].backup_id].append("the newest good one")
    written = [
        (point.written_at, point.backup_id)
        for point in ordered
        if point.good and point.written_at is not None
    ]
    if written and not reasons[max(written)[1]]:
        reasons[max(written)[1]].append("the good one that was written last")


def _keep(
    counted: Sequence[backup_order.Place],
    count: int,
    name: str,
    period: Callable[[datetime], str] | None,
    *,
    reasons: Mapping[backups.BackupId, list[str]],
    zone: tzinfo,
) -> None:
    """Notes which backups one rule keeps: the newest of each of the newest periods."""
    seen: set[str] = set()
    for number, place in enumerate(counted):
        label = str(number) if period is None else period(place.moment.astimezone(zone))
        if label in seen:
            continue
        if len(seen) == count:
            return
        seen.add(label)
        which = "" if period is None else f" ({label})"
        reasons[place.backup_id].append(f"{name} {len(seen)} of {count}{which}")


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
