"""Reads of a claim what says how it is protected: the wish, and its newest good backup."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mooring.api import keys
from mooring.planning import protection
from mooring.planning.backup_history import State
from mooring.ports import cluster
from mooring_operator import schedule_statuses, statuses

CONDITION = "Protected"


def newest_good(backups: Iterable[cluster.Object], now: datetime) -> dict[str, datetime]:
    """Returns the point in time of the newest good backup by its claim's uid.

    One of the future is left out: a clock was wrong, and nobody knows how old it is.
    """
    newest: dict[str, datetime] = {}
    for backup in backups:
        past = schedule_statuses.past(backup)
        if past is None or past.state is not State.GOOD or past.deleting:
            continue
        known, at = schedule_statuses.age_rank(past, now)
        if known:
            newest[past.claim] = max(at, newest.get(past.claim, at))
    return newest


def counts(claim: cluster.Object) -> bool:
    """Whether a claim holds data of somebody's, so that it can be without protection."""
    metadata = claim["metadata"]
    bound = claim.get("status", {}).get("phase") == "Bound"
    leaving = "deletionTimestamp" in metadata
    return bound and not leaving and keys.ROLE not in (metadata.get("labels") or {})


def judge(
    claim: cluster.Object,
    owner: cluster.Object | None,
    storage_class: cluster.Object | None,
    newest: datetime | None,
    now: datetime,
) -> protection.Protection:
    """Judges a claim of Mooring's.

    Args:
        claim: The PersistentVolumeClaim.
        owner: The VolumeClaim that made it.
        storage_class: Its class, which may speak for all of its claims.
        newest: The point in time of its newest good backup.
        now: The time.
    """
    wishes = (_wish(claim), _wish(owner), _wish(storage_class))
    made = statuses.parse_timestamp(claim["metadata"].get("creationTimestamp"))
    wish = next((wish for wish in wishes if wish is not None), None)
    return protection.judge(wish, made or now, newest, now)


def _wish(obj: cluster.Object | None) -> str | None:
    found = ((obj or {}).get("metadata", {}).get("annotations") or {}).get(keys.RPO)
    return None if found is None else str(found)


def condition(
    found: protection.Protection, obj: cluster.Object, now: datetime
) -> list[dict[str, Any]]:
    """Returns the condition that says so on a VolumeClaim; none for one that needs no backup."""
    if found.standing is protection.Standing.NOT_WANTED:
        return []
    words = statuses.Words(found.standing.value, found.reason, found.message)
    return [statuses.entry(obj, CONDITION, words, now)]
