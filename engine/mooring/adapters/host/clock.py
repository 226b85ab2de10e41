"""The system's wall clock."""

from datetime import UTC, datetime


class SystemClock:
    """Wall-clock time of this machine."""

    def now(self) -> datetime:
        """Returns the present, timezone-aware UTC."""
        return datetime.now(UTC)
