"""Freezes: how long one may last, and which ones the second watcher has to end."""

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_SECONDS = 60.0
"""No freeze is granted for longer at once. Who needs more extends it while it is alive."""

OVERDUE_GRACE_SECONDS = 2.0
"""A guard that is alive and has not thawed by then is stuck."""


@dataclass(frozen=True)
class Freeze:
    """A freeze as its guard recorded it before it began.

    Attributes:
        mountpoint: Where the filesystem was mounted.
        device: Device number of its root folder.
        deadline_seconds: When it ends at the latest, on the kernel's monotonic clock.
    """

    mountpoint: str
    device: int
    deadline_seconds: float


def is_grantable(timeout_seconds: float) -> bool:
    """Whether a freeze, or the extension of one, may last so long."""
    return 0 < timeout_seconds <= LONGEST_SECONDS


def to_thaw(
    freezes: Mapping[str, Freeze], *, guard_is_alive: bool, now_seconds: float
) -> dict[str, Freeze]:
    """Returns the freezes that their guard does not end any more."""
    return {
        key: freeze
        for key, freeze in freezes.items()
        if not guard_is_alive or now_seconds > freeze.deadline_seconds + OVERDUE_GRACE_SECONDS
    }


def standby_may_end(
    freezes: Mapping[str, Freeze], *, told_seconds_ago: float | None, patience_seconds: float
) -> bool:
    """Whether the second watcher, once told to end, is not needed any more.

    Args:
        freezes: What is recorded as frozen.
        told_seconds_ago: Since when it shall end; None while it shall not.
        patience_seconds: How long it waits for the guard to end its own freezes.
    """
    if told_seconds_ago is None:
        return False
    return not freezes or told_seconds_ago >= patience_seconds
