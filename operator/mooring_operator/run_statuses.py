"""Status fields of runs: backups and restores. Pure."""

from typing import Any

from mooring.domain import backups as backup_nouns
from mooring.domain import quantities, volumes
from mooring.planning import movers, verdicts
from mooring.ports import cluster
from mooring_operator import statuses, suspect_backups

_NUMBERS = (
    "percent",
    "bytesTotal",
    "bytesRead",
    "bytesSent",
    "bytesStored",
    "bytesReused",
    "bytesScrubbed",
)


def present(obj: cluster.Object) -> verdicts.Verdict:
    """Returns what the object's condition says now, for when nothing changed."""
    main = statuses.condition(obj, "Succeeded")
    if not main:
        return verdicts.working("Pending", "it was just made")
    reason, message = str(main["reason"]), str(main["message"])
    if main["status"] == "True":
        return verdicts.done(reason, message)
    if main["status"] == "False":
        return verdicts.failed(reason, message)
    if statuses.condition(obj, "Stalled").get("status") == "True":
        return verdicts.stuck(reason, message)
    return verdicts.working(reason, message)


def snapshot_status(record: volumes.SnapshotRecord, milliseconds: int) -> dict[str, Any]:
    """Returns what a Backup keeps of its snapshot."""
    block = record.mode is volumes.VolumeMode.BLOCK
    consistency = backup_nouns.Consistency.CRASH if block else backup_nouns.Consistency.FILESYSTEM
    return {
        "pool": record.pool,
        "snapshotTime": statuses.timestamp(record.created_at),
        "sizeBytes": record.size_bytes,
        "size": quantities.format_bytes(record.size_bytes),
        "volumeMode": record.mode.value,
        "filesystem": None if record.filesystem is None else record.filesystem.value,
        "sectorSizeBytes": record.sector_size_bytes,
        "consistency": consistency.value,
        "snapshotMilliseconds": milliseconds,
    }


def progress_fields(progress: Any, attempts: int) -> dict[str, Any]:
    """Returns the status fields of a mover's progress line."""
    fields: dict[str, Any] = {}
    numbers = {
        name: int(progress[name])
        for name in _NUMBERS
        if isinstance(progress.get(name), int | float)
    }
    if numbers:
        fields["progress"] = numbers
    if attempts:
        fields["attempts"] = attempts
    return fields


def result_fields(mover: movers.Mover, finished_at: str) -> dict[str, Any]:
    """Returns the status fields of a mover that succeeded."""
    result = mover.result
    fields = progress_fields({**result, "percent": 100}, mover.attempts)
    fields["completionTime"] = finished_at
    if result.get("repositoryId"):
        fields["repositoryId"] = str(result["repositoryId"])
    if result.get("parent"):
        fields["parent"] = str(result["parent"])
    fields["readWhole"] = True if result.get("readWhole") is True else None
    fields["suspect"] = suspect_backups.field(result.get("suspect"))
    return fields


def reading_fields(mover: movers.Mover, wanted: backup_nouns.Scope) -> dict[str, Any]:
    """Returns how much a backup read, and why; nothing where an earlier attempt had made it."""
    reading = mover.result.get("reading")
    if not isinstance(reading, str):
        return {}
    reason = str(mover.result.get("readingReason") or "")
    if wanted is backup_nouns.Scope.EVERYTHING:
        reason = "spec.reading asks for it"
    return {"reading": reading, "readingReason": reason or None}


def portable(obj: cluster.Object) -> cluster.Object:
    """Returns a manifest without what belongs to this cluster alone."""
    metadata = obj["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    body = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    return {**body, "metadata": kept}
