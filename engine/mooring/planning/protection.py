"""Whether a claim is backed up as recently as somebody asked for. Pure."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mooring.domain import errors, quantities

NOT_WANTED = "none"


class Standing(enum.Enum):
    """How a claim stands."""

    PROTECTED = "True"
    UNPROTECTED = "False"
    NOT_DUE = "Unknown"  # younger than the age that a backup may have
    NOT_WANTED = "NotWanted"


@dataclass(frozen=True)
class Protection:
    """How a claim stands and why.

    Attributes:
        standing: See there.
        reason: One CamelCase word.
        message: Why, and what to do.
        expected: Whether somebody said how old its newest backup may be.
    """

    standing: Standing
    reason: str
    message: str
    expected: bool


def judge(
    wish: str | None, created_at: datetime, newest: datetime | None, now: datetime
) -> Protection:
    """Judges one claim.

    Args:
        wish: How old its newest backup may be, such as `24h`, or `none` for a claim that needs
            no backup; None when nobody said so.
        created_at: When the claim was made.
        newest: The point in time of its newest good backup.
        now: The time.
    """
    if wish == NOT_WANTED:
        text = "it was said that it needs no backup"
        return Protection(Standing.NOT_WANTED, "NotWanted", text, expected=False)
    if wish is None:
        return _unspecified(newest)
    try:
        longest = quantities.parse_duration(wish)
        if not longest:
            raise errors.InvalidInput(f"{wish!r} is no time at all")
    except errors.InvalidInput as error:
        text = f"annotation mooring.dev/rpo cannot be read: {error}, or '{NOT_WANTED}'"
        return Protection(Standing.UNPROTECTED, "InvalidRpo", text, expected=True)
    return _specified(wish, longest, created_at, newest, now)


def _unspecified(newest: datetime | None) -> Protection:
    if newest is None:
        text = (
            "there is no good backup of it: make a BackupSchedule that selects it, or annotate it "
            f"with mooring.dev/rpo={NOT_WANTED}"
        )
        return Protection(Standing.UNPROTECTED, "NoBackup", text, expected=False)
    text = f"its newest good backup is of {_show(newest)}; nobody said how old it may be"
    return Protection(Standing.PROTECTED, "HasBackup", text, expected=False)


def _specified(
    wish: str, longest: timedelta, created_at: datetime, newest: datetime | None, now: datetime
) -> Protection:
    if newest is not None and now - newest <= longest:
        text = f"its newest good backup is of {_show(newest)}, and may be {wish} old"
        return Protection(Standing.PROTECTED, "BackupFresh", text, expected=True)
    if newest is None and now - created_at <= longest:
        text = f"it was made at {_show(created_at)}, and has to have a backup after {wish}"
        return Protection(Standing.NOT_DUE, "NotDue", text, expected=True)
    advice = "see the newest Backups of it, and the BackupSchedule that makes them"
    if newest is None:
        text = f"it has no good backup, and was to have one after {wish}: {advice}"
        return Protection(Standing.UNPROTECTED, "NoBackup", text, expected=True)
    text = f"its newest good backup is of {_show(newest)}, and may be {wish} old: {advice}"
    return Protection(Standing.UNPROTECTED, "BackupTooOld", text, expected=True)


def _show(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
