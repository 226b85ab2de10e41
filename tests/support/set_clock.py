"""A clock that a test sets."""

from datetime import UTC, datetime, timedelta


class SetClock:
    """`ports.clock.Clock` that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
