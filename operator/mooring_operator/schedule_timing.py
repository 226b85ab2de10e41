"""Reads a schedule and its time zone, whose names come from the package tzdata, as in any image."""

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, tzinfo

from mooring.domain import errors
from mooring.planning import timetables


@dataclass(frozen=True)
class Timing:
    """What a schedule's times are, or why there are none.

    Attributes:
        table: None when it cannot be read, or there is none.
        zone: Its time zone; UTC when there is none of that name.
        fault: Why it cannot be read.
    """

    table: timetables.Timetable | None
    zone: tzinfo
    fault: errors.InvalidInput | None = None


def read(schedule: str | None, time_zone: str) -> Timing:
    """Reads both; without a schedule it has no times."""
    try:
        zone = zoneinfo.ZoneInfo(time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        text = f"there is no time zone {time_zone!r}: write for example Europe/Berlin"
        return Timing(None, UTC, errors.InvalidInput(text))
    if schedule is None:
        return Timing(None, zone)
    try:
        return Timing(timetables.parse(schedule, zone), zone)
    except errors.InvalidInput as error:
        return Timing(None, zone, error)
