"""When a repository's backups are listed, page by page, until each is an object. Pure.

A repository is listed once, when it is opened for the first time by its object, and again when
somebody asks. So a Backup object that was deleted does not come back by itself.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring.planning import movers
from mooring.planning.movers import MoverState

RETRY = timedelta(seconds=60)
OBJECTS_PER_LOOK = 25


class Action(enum.Enum):
    """What to do now."""

    REST = "Rest"
    BEGIN = "Begin"  # from the first page
    START = "Start"  # the mover that reads the next page
    IMPORT = "Import"  # some objects of the page that was read
    NOTE = "Note"  # that the page could not be read
    CLEAR = "Clear"  # delete the mover that is over
    WAIT = "Wait"


@dataclass(frozen=True)
class Observed:
    """A repository that can be read.

    Attributes:
        known: Whether a listing was ever begun.
        done: Whether it is complete.
        answered: The request that it is for.
        asked: The request that is made now; empty for none.
        after: Where its next page begins.
        mover: The mover that is there.
        mover_after: Where that one's page begins.
        last_try_at: When a page last failed.
    """

    known: bool
    done: bool
    answered: str
    asked: str
    after: str
    mover: movers.Mover
    mover_after: str
    last_try_at: datetime | None


def decide(seen: Observed, now: datetime) -> Action:
    """Decides the one next step."""
    state = seen.mover.state
    if state is MoverState.LEAVING:
        return Action.WAIT
    restart = not seen.known or seen.asked not in ("", seen.answered)
    stale = restart or seen.done or seen.mover_after != seen.after
    if state is not MoverState.ABSENT and stale:
        return Action.CLEAR
    if restart:
        return Action.BEGIN
    if seen.done:
        return Action.REST
    if state is MoverState.ABSENT:
        tried = seen.last_try_at is not None and now - seen.last_try_at < RETRY
        return Action.REST if tried else Action.START
    ended = {MoverState.SUCCEEDED: Action.IMPORT, MoverState.FAILED: Action.NOTE}
    return ended.get(state, Action.WAIT)
