"""Suspect Backups: their status and condition, and which other Backups they hold. Pure.

What is suspect comes from a mover's result or out of a repository, so it is read as anybody's
input is; what cannot be read is suspect all the same.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pydantic

from mooring.api.v1alpha1 import backups as models
from mooring.planning import verdicts
from mooring.planning.backup_history import State
from mooring.ports import cluster
from mooring_operator import schedule_statuses, statuses

CONDITION = "Suspect"
_REASON = "ContentLost"
_UNREADABLE: dict[str, Any] = {"message": "what is suspect cannot be read", "placeCount": 1}
_ADVICE = (
    "The backups in status.suspect.holds have the content of before, and are kept as long as this "
    "one is. See docs/explanation/bit-rot.md; to take the volume as it is make a Backup with "
    "spec.acceptSuspect: true"
)


def field(found: Any) -> dict[str, Any] | None:
    """Returns `status.suspect` of what a mover says; None when it says nothing."""
    if found is None:
        return None
    try:
        return models.Suspicion.model_validate(found).to_object()
    except pydantic.ValidationError:
        return dict(_UNREADABLE)


def conditions(obj: cluster.Object, status: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """Returns the condition that says so; none for a Backup that is not Suspect."""
    suspect = status.get("suspect")
    if not suspect:
        # Kept also where an older kind, not updated yet, has no room for the field.
        present = statuses.condition(obj, CONDITION)
        return [present] if present else []
    words = statuses.Words("True", _REASON, _message(suspect))
    return [statuses.entry(obj, CONDITION, words, now)]


def verdict(suspect: dict[str, Any]) -> verdicts.Verdict:
    """Returns what an Event says of a Backup that is found to be Suspect."""
    return verdicts.stuck(CONDITION, _message(suspect))


def _message(suspect: dict[str, Any]) -> str:
    return f"{suspect['message']}. {_ADVICE}"


def warning(name: str, status: dict[str, Any]) -> str:
    """Returns what whoever restores from a Backup has to know; empty for one not Suspect."""
    suspect = status.get("suspect")
    if not suspect:
        return ""
    return f"Backup {name} is Suspect, and is restored as it is: {suspect['message']}"


def warning_of(result: Mapping[str, Any], known: str) -> str:
    """Returns what a mover that restored has to say of its backup, unless that is known already.

    A point in time without a Backup object is known to be Suspect only by who has read it.
    """
    said = result.get("suspect")
    if not said or known:
        return ""
    return f"backup {result.get('backupId')} is Suspect, and was restored as it is: {said}"


def held(backups: Iterable[cluster.Object]) -> set[str]:
    """Returns the ids, in their repository, of what Suspect Backups are to be mended from."""
    return {name for backup in backups for name in _holds(backup)}


def holders(obj: cluster.Object, backups: Iterable[cluster.Object]) -> tuple[str, ...]:
    """Returns the names of the Suspect Backups that are to be mended from a Backup."""
    status = obj.get("status", {})
    return tuple(
        str(backup["metadata"]["name"])
        for backup in backups
        if status.get("backupId") in _holds(backup)
        and backup["status"].get("repositoryId") == status.get("repositoryId")
    )


def _holds(backup: cluster.Object) -> list[str]:
    """What a Suspect Backup holds; one that is on its way out holds nothing."""
    suspect = backup.get("status", {}).get("suspect")
    if not suspect or "deletionTimestamp" in backup["metadata"]:
        return []
    return list(suspect.get("holds") or [])


def in_doubt(status: dict[str, Any], backups: Iterable[cluster.Object]) -> bool:
    """Whether the disk of a volume lost something since all of the volume was last looked at.

    Args:
        status: Of the Backup that begins; names the volume, its node and its pool.
        backups: All that there are, of all namespaces: tenants share a pool's disk.
    """
    findings, proofs = [], []
    begun = statuses.parse_timestamp(status.get("snapshotTime"))
    for backup in backups:
        found = backup.get("status", {})
        at = statuses.parse_timestamp(found.get("snapshotTime"))
        if at is None or any(found.get(name) != status.get(name) for name in ("node", "pool")):
            continue
        if (found.get("suspect") or {}).get("fresh"):
            findings.append(at)
        if begun is not None and at > begun:
            continue  # a clock was wrong; what it proves may be older than any finding
        if found.get("volumeId") == status.get("volumeId") and found.get("readWhole"):
            proofs.append(at)
    return bool(findings) and (not proofs or max(proofs) <= max(findings))


def suspect_claims(backups: Iterable[cluster.Object], now: datetime) -> set[str]:
    """Returns the uids of the claims whose newest backup is Suspect."""
    newest: dict[str, tuple[tuple[bool, datetime], bool]] = {}
    for backup in backups:
        past = schedule_statuses.past(backup)
        if past is None or past.state not in (State.GOOD, State.DOUBTFUL) or past.deleting:
            continue
        doubtful = statuses.condition(backup, CONDITION).get("status") == "True"
        ranked = (schedule_statuses.age_rank(past, now), doubtful)
        newest[past.claim] = max(newest.get(past.claim, ranked), ranked)
    return {claim for claim, (_, doubtful) in newest.items() if doubtful}
