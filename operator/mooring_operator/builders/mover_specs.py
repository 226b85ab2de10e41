"""What a mover is told: the JSON document of `mooring mover --spec`. Pure, and without secrets.

Its form is `mooring.backup.mover_spec`; a test reads each document with the mover's own models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mooring.api import keys


@dataclass(frozen=True)
class BackedUpVolume:
    """The volume of a backup.

    Attributes:
        uid: Backups of the same one build on each other.
        size_bytes: Size of the snapshot.
        sector_size_bytes: Logical sector size.
        filesystem: None for raw block.
        foreign_mode: Of a volume of another driver, its mode; the mover finds out the rest.
    """

    uid: str
    size_bytes: int | None = None
    sector_size_bytes: int | None = None
    filesystem: str | None = None
    foreign_mode: str | None = None


@dataclass(frozen=True)
class BackupTask:
    """One backup.

    Attributes:
        backup_id: Its name in the repository; the same in every retry.
        volume: What is read.
        consistency: Filesystem or Crash.
        point_in_time: RFC 3339.
        documents: Kubernetes objects to keep with it, by role.
        tracked: Whether the mover finds a list of what changed.
        bytes_per_second: Most that is read in a second; None for no limit.
        scrub_period_seconds: In which what did not change is read again; 0 for never.
        doubt_tracking: Whether all is read, since the disk is in doubt.
        read_everything: Whether all is read, since the user asks for it.
        accept_suspect: Whether what is suspect is taken as it is.
    """

    backup_id: str
    volume: BackedUpVolume
    consistency: str
    point_in_time: str
    documents: dict[str, Any]
    tracked: bool = False
    bytes_per_second: int | None = None
    scrub_period_seconds: int = 0
    doubt_tracking: bool = False
    read_everything: bool = False
    accept_suspect: bool = False


def _repository(*, initialize: bool = False) -> dict[str, Any]:
    """Where it is, and its key, is added with what the mover gets to see: `RepositoryMount`."""
    return {"initialize": initialize}


def probe(recovery_keys: Sequence[str] = ()) -> dict[str, Any]:
    """Opens the repository; makes it when its folder is empty, and adds what recovers it."""
    return {"repository": _repository(initialize=True), "recoveryKeys": list(recovery_keys)}


def backup(task: BackupTask) -> dict[str, Any]:
    """Reads the device into the repository."""
    return {
        "repository": _repository(),
        "device": keys.DEVICE_PATH,
        "backupId": task.backup_id,
        "volume": _volume(task.volume),
        "consistency": task.consistency,
        "pointInTime": task.point_in_time,
        "documents": task.documents,
        "bytesPerSecond": task.bytes_per_second,
        "scrubPeriodSeconds": task.scrub_period_seconds,
        "doubtTracking": task.doubt_tracking,
        "readEverything": task.read_everything,
        "acceptSuspect": task.accept_suspect,
        **({"changes": keys.CHANGES_PATH} if task.tracked else {}),
    }


def _volume(volume: BackedUpVolume) -> dict[str, Any]:
    if volume.foreign_mode is not None:
        return {"uid": volume.uid, "foreignMode": volume.foreign_mode}
    return {
        "uid": volume.uid,
        "sizeBytes": volume.size_bytes,
        "sectorSizeBytes": volume.sector_size_bytes,
        "filesystem": volume.filesystem,
    }


def restore(backup_id: str) -> dict[str, Any]:
    """Fills the device from the repository, syncs it, reads it back and compares."""
    return {
        "repository": _repository(),
        "device": keys.DEVICE_PATH,
        "backupId": backup_id,
        "verify": True,
    }


def listing(namespace: str, after: str | None) -> dict[str, Any]:
    """Reads one page of a namespace's backups."""
    return {"repository": _repository(), "namespace": namespace, "after": after}


def forget(backup_id: str) -> dict[str, Any]:
    """Takes a point in time out of the repository."""
    return {"repository": _repository(), "backupId": backup_id}


def prune(maximum_duration_seconds: int) -> dict[str, Any]:
    """Frees what no backup needs, for so long."""
    return {
        "repository": _repository(),
        "maximumDurationSeconds": maximum_duration_seconds,
    }


def check(parts: int | None) -> dict[str, Any]:
    """Checks structure, and reads one part of so many."""
    return {"repository": _repository(), "parts": parts}
