"""When a process that ended is started again, and when its supervisor gives up.

A process that was killed is back within a second. One that keeps failing at its start is left to
Kubernetes, whose back-off and events show it.
"""

from collections.abc import Sequence

SHORT_LIFE_SECONDS = 10.0
"""Who ended sooner may not have got through its start."""

MOST_SHORT_LIVES = 5
_PAUSE_SECONDS = 0.5


def pause_before_restart(lives_seconds: Sequence[float]) -> float | None:
    """Returns how long to wait before the next start, or None to give up.

    Args:
        lives_seconds: How long each life so far lasted, the last one last.
    """
    short = 0
    for life_seconds in reversed(lives_seconds):
        if life_seconds >= SHORT_LIFE_SECONDS:
            break
        short += 1
    if short >= MOST_SHORT_LIVES:
        return None
    return _PAUSE_SECONDS if short > 1 else 0.0
