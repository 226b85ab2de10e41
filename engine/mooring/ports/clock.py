"""The port of time, so that use cases can be tested without waiting."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now(self) -> datetime:
        """Returns the present, timezone-aware UTC."""
