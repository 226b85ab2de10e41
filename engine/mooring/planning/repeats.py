"""When a request that a store does not answer is given up."""

from collections.abc import Sequence

LEAST_TRIES = 3


def is_given_up(
    tries_seconds: Sequence[float],
    waited_seconds: float,
    *,
    answer_seconds: float,
    patience_seconds: float,
) -> bool:
    """Tells whether a request has been repeated for long enough.

    What counts is the time without progress, not the time since the first try: a pack on a slow
    line may be broken off after minutes in which it moved, and the store deserves its patience
    from then on. No try counts for more than the pause that is no answer, and each counts for
    something, so their number is bounded too.

    Args:
        tries_seconds: How long each try took, all of them in vain.
        waited_seconds: How long it waited between them.
        answer_seconds: How long a store that is there may say nothing.
        patience_seconds: For how long it may say nothing before it counts as away.
    """
    silent_seconds = waited_seconds + sum(min(took, answer_seconds) for took in tries_seconds)
    return len(tries_seconds) >= LEAST_TRIES and silent_seconds >= patience_seconds
