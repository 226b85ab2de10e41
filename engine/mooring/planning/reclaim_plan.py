"""Whether a volume outlives its claim: the reclaim policy of its PersistentVolume. Pure."""

from dataclasses import dataclass

RETAIN = "Retain"
DELETE = "Delete"


@dataclass(frozen=True)
class Reclaim:
    """What becomes of a PersistentVolume's data when its claim is gone.

    Attributes:
        policy: Its reclaim policy.
        former: The policy that it had before Mooring kept it; None unless Mooring did.
    """

    policy: str
    former: str | None = None


def wanted(present: Reclaim, *, keep: bool) -> Reclaim:
    """Returns what it shall be: the same as it is when there is nothing to do.

    Only what Mooring tightened is loosened again, to what it was.
    """
    if keep:
        return present if present.policy == RETAIN else Reclaim(RETAIN, present.policy)
    if present.policy == RETAIN and present.former == DELETE:
        return Reclaim(DELETE)
    return Reclaim(present.policy)
