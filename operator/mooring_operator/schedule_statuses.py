"""What a BackupSchedule remembers in its status, and what its last run came to. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from mooring.api import keys
from mooring.domain.backups import Scope
from mooring.planning import backup_history, backup_order
from mooring.planning import backup_schedule_plan as planning
from mooring.planning.backup_history import State
from mooring.ports import cluster
from mooring_operator import statuses

_RUNNING = "Running"
SUCCEEDED = "Succeeded"


def memory(status: dict[str, Any]) -> planning.Memory:
    """Reads what the last look left."""
    waiting = []
    for entry in status.get("waiting", []):
        at = statuses.parse_timestamp(entry["time"])
        if at is not None:
            run = planning.Run(entry["run"], at, asked=bool(entry.get("asked")))
            everything = bool(entry.get("everything"))
            part = planning.Part(entry["claimName"], run, everything)
            waiting.append(planning.Waiting(part, queued=bool(entry.get("queued"))))
    return planning.Memory(
        following=status.get("following"),
        since=statuses.parse_timestamp(status.get("followingSince")),
        last_scheduled=statuses.parse_timestamp(status.get("lastScheduleTime")),
        waiting=tuple(waiting),
        asked=tuple(status.get("askedRuns", [])),
    )


def memory_fields(kept: planning.Memory) -> dict[str, Any]:
    """Returns the status fields of a memory."""
    waiting = [
        {
            "claimName": entry.part.claim,
            "run": entry.part.run.name,
            "time": statuses.timestamp(entry.part.run.at),
            "asked": entry.part.run.asked,
            "queued": entry.queued,
            "everything": entry.part.everything,
        }
        for entry in kept.waiting
    ]
    return {
        "following": kept.following,
        "followingSince": None if kept.since is None else statuses.timestamp(kept.since),
        "lastScheduleTime": None
        if kept.last_scheduled is None
        else statuses.timestamp(kept.last_scheduled),
        "waiting": waiting or None,
        "askedRuns": list(kept.asked) or None,
    }


def state_of(backup: cluster.Object) -> State:
    """Returns how a Backup stands."""
    succeeded = statuses.condition(backup, "Succeeded").get("status")
    if succeeded == "False":
        return State.FAILED
    if succeeded != "True":
        return State.ACTIVE
    doubtful = statuses.condition(backup, "Suspect").get("status") == "True"
    return State.DOUBTFUL if doubtful or not backup["status"].get("backupId") else State.GOOD


def past(backup: cluster.Object, held: Collection[str] = ()) -> backup_history.PastBackup | None:
    """Reads a Backup; None for one whose time cannot be read.

    Args:
        backup: The object.
        held: Ids of backups that Suspect ones are to be mended from.
    """
    metadata, status = backup["metadata"], backup.get("status", {})
    at = statuses.parse_timestamp(status.get("snapshotTime") or metadata.get("creationTimestamp"))
    if at is None:
        return None
    return backup_history.PastBackup(
        name=metadata["name"],
        claim=status.get("claimUid") or _claim_of(backup),
        at=at,
        state=state_of(backup),
        deleting="deletionTimestamp" in metadata,
        retired=(metadata.get("annotations") or {}).get(keys.RETIRED),
        held=status.get("backupId") in held,
        backup_id=status.get("backupId"),
        parent=status.get("parent"),
        written_at=statuses.parse_timestamp(status.get("completionTime")),
    )


def age_rank(past: backup_history.PastBackup, now: datetime) -> tuple[bool, datetime]:
    """Ranks a Backup by its age: the greatest is the newest, and what lies in the future the least.

    The second half is the moment that it stands for, no later than it was complete. The first one
    is false where that is yet to come: a clock was wrong, and nobody knows how old it is.
    """
    at = min(past.at, past.written_at or past.at)
    return at <= now + backup_order.TOLERANCE, at


def active(backups: Sequence[cluster.Object]) -> list[planning.ActiveBackup]:
    """Returns those Backups that have not ended and are not being deleted."""
    return [
        planning.ActiveBackup(
            backup["metadata"]["name"],
            _claim_of(backup),
            run_of(backup),
        )
        for backup in backups
        if state_of(backup) is State.ACTIVE and "deletionTimestamp" not in backup["metadata"]
    ]


def owed(backups: Sequence[cluster.Object]) -> frozenset[str]:
    """Returns the claims whose last Backup to end should have read everything, and failed."""
    ended = [backup for backup in backups if state_of(backup) is not State.ACTIVE]
    ended.sort(key=lambda backup: str(backup["metadata"].get("creationTimestamp", "")))
    last = {_claim_of(backup): backup for backup in ended}
    return frozenset(
        claim
        for claim, backup in last.items()
        if state_of(backup) is State.FAILED and _spec(backup).get("reading") == Scope.EVERYTHING
    )


def begun(run: planning.Run, backups: int) -> dict[str, Any]:
    """Returns `lastRun` of a run that begins."""
    return {
        "name": run.name,
        "time": statuses.timestamp(run.at),
        "outcome": _RUNNING if backups else "Empty",
        "everything": run.everything,
        "backups": backups,
        "succeeded": 0,
    }


def followed(
    last: dict[str, Any], backups: Sequence[cluster.Object], going_on: Collection[str]
) -> dict[str, Any]:
    """Returns `lastRun` as it stands now; once it has ended it stays, whatever is deleted later.

    Args:
        last: As it stood before.
        backups: All Backups of the schedule.
        going_on: Names of runs of which more Backups are being made.
    """
    if last.get("outcome") != _RUNNING:
        return last
    own = [one for one in backups if run_of(one) == last["name"]]
    good = sum(state_of(backup) in (State.GOOD, State.DOUBTFUL) for backup in own)
    result = {**last, "succeeded": good}
    if active(own) or last["name"] in going_on:
        return result
    outcome = SUCCEEDED if good >= last["backups"] else "PartlyFailed" if good else "Failed"
    ends = [str(backup.get("status", {}).get("completionTime", "")) for backup in own]
    return {**result, "outcome": outcome, "completionTime": max(ends, default="") or last["time"]}


def run_of(backup: cluster.Object) -> str:
    """Returns the name of the run that a Backup belongs to."""
    return str(backup["metadata"]["labels"].get(keys.BACKUP_RUN, ""))


def _claim_of(backup: cluster.Object) -> str:
    source = _spec(backup).get("source")
    return str(source.get("persistentVolumeClaimName", "")) if isinstance(source, dict) else ""


def _spec(backup: cluster.Object) -> dict[str, Any]:
    spec = backup.get("spec")
    return spec if isinstance(spec, dict) else {}
