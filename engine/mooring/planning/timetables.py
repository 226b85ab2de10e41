"""Times of a cron expression in a time zone, as instants, with cron's rules where clocks change.

An expression with fixed minutes and hours that falls into the hour that is left out in spring is
due right after it, and once in the hour that comes twice in autumn. One that begins with a star in
its minutes or hours goes by elapsed time. The library follows Debian's cron in both.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import cronsim

from mooring.domain import errors

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_CONFUSED = (AssertionError, TypeError, ValueError)
"""What the library's parser raises for mixtures such as `1L/2`, besides its own error."""
_ADVICE = "write five fields (minute hour day month weekday), for example '0 3 * * *', or @daily"


@dataclass(frozen=True)
class Timetable:
    """When something is due.

    Attributes:
        expression: Five fields, as `parse` made them.
        zone: Where its hours and days are.
    """

    expression: str
    zone: tzinfo

    def next_after(self, moment: datetime) -> datetime | None:
        """Returns the first time after a moment, in UTC; None when there is none in 50 years."""
        for found in cronsim.CronSim(self.expression, moment.astimezone(self.zone)):
            instant = found.astimezone(UTC)
            # Where a local hour comes twice the library may answer with the first of the two.
            if instant > moment:
                return instant
        return None

    def latest_in(self, after: datetime, until: datetime) -> datetime | None:
        """Returns the last time that is after one moment and not after another; None without one.

        Its cost grows with the number of times in between.
        """
        latest = None
        upcoming = self.next_after(after)
        while upcoming is not None and upcoming <= until:
            latest = upcoming
            upcoming = self.next_after(upcoming)
        return latest


def parse(text: str, zone: tzinfo) -> Timetable:
    """Reads a cron expression.

    Args:
        text: Five fields, or a word such as `@daily`.
        zone: Its time zone.

    Raises:
        InvalidInput: It is none, or is never due.
    """
    # To CronJob a question mark is a star.
    expression = _WORDS.get(text.strip().lower(), text.strip()).replace("?", "*")
    if len(expression.split()) != _FIELDS:
        raise errors.InvalidInput(f"{text[:80]!r} is no schedule: {_ADVICE}")
    try:
        table = Timetable(expression, zone)
        upcoming = table.next_after(_ANY_DAY)
    except (cronsim.CronSimError, *_CONFUSED) as error:
        why = str(error).lower() or "a field cannot be read"
        raise errors.InvalidInput(f"{text[:80]!r} is no schedule ({why}): {_ADVICE}") from error
    if upcoming is None:
        raise errors.InvalidInput(f"{text[:80]!r} is never due: there is no such day")
    return table


_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
