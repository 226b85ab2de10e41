"""When the volumes of a node that was removed from the cluster are called lost. Pure.

A Node object may be removed by mistake while its machine runs on. So a volume is lost only after
a while in which there was no such Node object and the node's agent said nothing: an agent writes
its own word over what is noted here with its next report, and that begins the while anew.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

SHORTEST_WAIT = timedelta(seconds=60)
"""Two of an agent's reports: one that still runs has said so by then."""


class Standing(enum.Enum):
    """How a volume stands with its node."""

    PRESENT = "NodePresent"
    MISSING = "NodeMissing"
    LOST = "NodeRemoved"


@dataclass(frozen=True)
class Sight:
    """What is seen of one volume's node.

    Attributes:
        node_exists: Whether there is a Node object of its name. One that was made anew counts:
            its agent says what is on its disk.
        agent_answers: Whether its agent does.
        noted: What was noted of it last time.
        since: When that was noted first; None when nothing is noted.
        untouched: Whether the node's agent has written nothing over it since.
    """

    node_exists: bool
    agent_answers: bool
    noted: Standing = Standing.PRESENT
    since: datetime | None = None
    untouched: bool = True


@dataclass(frozen=True)
class Judgement:
    """How it stands now, and since when the node is missing."""

    standing: Standing
    since: datetime


def judge(sight: Sight, now: datetime, lost_after: timedelta) -> Judgement:
    """Decides how a volume stands with its node.

    Args:
        sight: What is seen.
        now: The time.
        lost_after: How long the node has to be missing; at least `SHORTEST_WAIT`.
    """
    if sight.node_exists or sight.agent_answers:
        return Judgement(Standing.PRESENT, now)
    if sight.noted is Standing.PRESENT or sight.since is None or not sight.untouched:
        return Judgement(Standing.MISSING, now)
    if now - sight.since >= max(lost_after, SHORTEST_WAIT):
        return Judgement(Standing.LOST, sight.since)
    return Judgement(Standing.MISSING, sight.since)


def message(node: str, standing: Standing, since: datetime) -> str:
    """Says for people how a volume stands and what they can do."""
    moment = f"{since:%Y-%m-%d %H:%M:%S} UTC"
    if standing is Standing.PRESENT:
        return f"node {node} is back; shown is its last report"
    gone = f"node {node} was removed from the cluster, seen at {moment}"
    if standing is Standing.MISSING:
        return f"{gone}, and its agent says nothing; this volume is not lost yet"
    return (
        f"{gone}. Nothing is deleted: if the machine comes back under this name with its disk, or "
        "its disk comes to another node, so does the volume. If it is gone for good: kubectl "
        f"mooring forget-node {node}"
    )
