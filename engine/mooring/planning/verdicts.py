"""What a plan says of an object: done, under way, or stuck, with a reason and advice.

Every planner ends in one of these, and one place turns them into conditions and Events, so that
all kinds speak alike.
"""

import enum
from dataclasses import dataclass

from mooring.domain import errors


class Outcome(enum.Enum):
    """How an object stands."""

    DONE = "Done"
    WORKING = "Working"  # goes on by itself, or as soon as what it waits for is there
    STUCK = "Stuck"  # nothing happens until somebody acts
    FAILED = "Failed"  # over: this object will never be done


@dataclass(frozen=True)
class Verdict:
    """How an object stands and why.

    Attributes:
        outcome: See `Outcome`.
        reason: One CamelCase word.
        message: What is so, and what to do about it.
    """

    outcome: Outcome
    reason: str
    message: str


def done(reason: str, message: str) -> Verdict:
    """The object is what its spec asks for."""
    return Verdict(Outcome.DONE, reason, message)


def working(reason: str, message: str) -> Verdict:
    """It is on its way."""
    return Verdict(Outcome.WORKING, reason, message)


def stuck(reason: str, message: str) -> Verdict:
    """Somebody has to act."""
    return Verdict(Outcome.STUCK, reason, message)


def failed(reason: str, message: str) -> Verdict:
    """It is over."""
    return Verdict(Outcome.FAILED, reason, message)


def of_error(error: errors.MooringError) -> Verdict:
    """What an error means for an object that a later try may still bring forward."""
    if isinstance(error, errors.Busy | errors.Unreachable | errors.SpaceExhausted):
        return working(error.reason, str(error))
    return stuck(error.reason, str(error))


def is_transient(error: errors.MooringError) -> bool:
    """Whether the same call may succeed later without anybody changing anything."""
    return isinstance(error, errors.Busy | errors.Unreachable)
