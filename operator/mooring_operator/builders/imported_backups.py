"""Backup objects of what a repository holds and nobody made here. Pure.

An entry comes out of the repository by way of a log, so it is read as anybody's input is.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import pydantic

from mooring.api import keys
from mooring.api.v1alpha1 import base
from mooring.domain import backups, errors, quantities
from mooring.ports import cluster
from mooring_operator import statuses
from mooring_operator.builders import owners

_LONGEST_NAME = 253


class Entry(base.Model):
    """One backup, as `mooring mover list` writes it."""

    backup_id: str
    volume_uid: str = pydantic.Field(max_length=backups.MAXIMUM_VOLUME_UID_LENGTH)
    claim_name: base.ObjectName
    namespace: base.ObjectName
    volume_mode: Literal["Filesystem", "Block"]
    storage_class_name: base.ObjectName | None = None
    filesystem: Annotated[str, pydantic.Field(max_length=40)] | None = None
    sector_size_bytes: int = pydantic.Field(gt=0, le=1 << 20)
    consistency: str = pydantic.Field(max_length=40)
    point_in_time: datetime
    finished_at: datetime
    bytes_total: int = pydantic.Field(gt=0, le=backups.MAXIMUM_VOLUME_SIZE_BYTES)
    bytes_read: int = pydantic.Field(ge=0)
    bytes_sent: int = pydantic.Field(ge=0)
    bytes_stored: int = pydantic.Field(ge=0)
    suspect: Any = None
    manifests: dict[str, Any] = pydantic.Field(default_factory=dict)


def parse(entry: Any) -> Entry | None:
    """Reads an entry; None when it is not one."""
    try:
        read = Entry.model_validate(entry)
        backups.parse_backup_id(read.backup_id)
    except (pydantic.ValidationError, errors.InvalidInput):
        return None
    return read


def names(entry: Entry) -> tuple[str, ...]:
    """Returns the names to try, the one that it had first."""
    had = entry.manifests.get("backup")
    metadata = had.get("metadata") if isinstance(had, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    usable = isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME
    return (str(name), entry.backup_id) if usable else (entry.backup_id,)


def backup(entry: Entry, name: str, owner: owners.Owner) -> cluster.Object:
    """Returns the object, without its status; the mark keeps it from being run."""
    by_volume_claim = "volumeClaim" in entry.manifests
    source = "volumeClaimName" if by_volume_claim else "persistentVolumeClaimName"
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "Backup",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "annotations": {keys.IMPORTED: entry.backup_id},
        },
        "spec": {
            "source": {source: entry.claim_name},
            "repositoryName": owner.name,
            "deletionPolicy": "Retain",
        },
    }


def status(entry: Entry, repository_id: str) -> cluster.Object:
    """Returns its status but for conditions."""
    fields: cluster.Object = {
        "imported": True,
        "released": True,
        "backupId": entry.backup_id,
        "repositoryId": repository_id or None,
        "volumeId": entry.volume_uid,
        "claimName": entry.claim_name,
        "storageClassName": entry.storage_class_name,
        "snapshotTime": statuses.timestamp(entry.point_in_time),
        "completionTime": statuses.timestamp(entry.finished_at),
        "sizeBytes": entry.bytes_total,
        "size": quantities.format_bytes(entry.bytes_total),
        "volumeMode": entry.volume_mode,
        "filesystem": entry.filesystem,
        "sectorSizeBytes": entry.sector_size_bytes,
        "consistency": entry.consistency,
        "progress": {
            "percent": 100,
            "bytesTotal": entry.bytes_total,
            "bytesRead": entry.bytes_read,
            "bytesSent": entry.bytes_sent,
            "bytesStored": entry.bytes_stored,
        },
        "manifests": entry.manifests or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
