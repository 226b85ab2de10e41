"""The mover's four commands, each from a spec to a result; no signals, logs or exit codes here.

Every command may run again: a backup that exists, a repository that is made and a backup that is
forgotten are successes, and a restore starts over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mooring.backup import capture, config_trust, device_facts, devices, progress
from mooring.backup import repository as repositories
from mooring.backup.format import recovery_keys, slots
from mooring.domain import backups, errors
from mooring.planning import scrubbing
from mooring.ports import blobstores

if TYPE_CHECKING:  # the command line needs no specs, and pydantic takes long to load
    from mooring.backup import mover_spec

MAXIMUM_KEY_FILE_BYTES = 4096
_SHOWN_PLACES = 8
_SHOWN_SLOTS = 32  # a termination message has 4096 bytes


def read_key_file(path: Path) -> slots.Unlock:
    """Reads the key, or the recovery key, that a Secret or a person put in a file.

    Raises:
        NotFound: There is no such file.
        PermissionDenied: It may not be read.
        InvalidInput: It holds no key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no key file {path}") from error
    except PermissionError as error:
        raise errors.PermissionDenied(f"the key file {path} may not be read") from error
    except OSError as error:
        raise errors.HostFailure(f"cannot read the key file {path}: {error.strerror}") from error
    return slots.parse_unlock(content)


def open_for(
    spec: mover_spec.MoverSpec,
    store: blobstores.BlobStore,
    surroundings: repositories.Surroundings,
) -> repositories.Repository:
    """Opens the repository of a spec; errors as for `repository.open_repository`.

    Raises:
        AnotherRepository: It is not the one that the spec names.
    """
    key = read_key_file(spec.repository.key_file)
    wanted = spec.repository.repository_id
    try:
        repository = repositories.open_repository(store, key, surroundings)
    except errors.NotFound as error:
        if wanted is None:
            raise
        raise errors.NotFound(
            f"there is no repository in {store.location}, where {wanted} was: put it back. Is a "
            "folder not mounted, or a bucket made anew?"
        ) from error
    config_trust.refuse_other(repository, wanted)
    return repository


def probe(
    spec: mover_spec.ProbeSpec,
    store: blobstores.BlobStore,
    surroundings: repositories.Surroundings,
) -> dict[str, Any]:
    """Opens the repository, making it first if that is wanted, and tries to write.

    Two probes that make the same repository at once end with one repository.

    Returns:
        `repositoryId`, `chunkSizeBytes`, `created`, `conditionalWrites` (see the port of stores),
        `backups`, their number, and what `_key_slots` returns.

    Raises:
        NotFound: There is no repository, and it shall not be made.
        PermissionDenied: The key is wrong, or the store is read-only.
        InvalidInput: A recovery key has a typing error; nothing was made.
        AnotherRepository: It is not the one that the spec names, or `config` is not of it.
    """
    wanted = [recovery_keys.parse_public(text) for text in spec.recovery_keys]
    lost = spec.repository.repository_id is not None  # never made anew where one was
    created = spec.repository.initialize and not lost and _make(spec, store, surroundings)
    repository = open_for(spec, store, surroundings)
    config_trust.refuse_foreign(repository)
    conditional = store.conditional_writes()  # which tries to write
    return {
        "repositoryId": repository.config.repository_id,
        "conditionalWrites": conditional,
        "chunkSizeBytes": repository.config.chunk_size_bytes,
        "created": created,
        "backups": len(repository.backup_ids()),
        **_key_slots(spec, store, surroundings, wanted),
    }


def _key_slots(
    spec: mover_spec.ProbeSpec,
    store: blobstores.BlobStore,
    surroundings: repositories.Surroundings,
    wanted: Sequence[bytes],
) -> dict[str, Any]:
    """Adds slots for recovery keys that have none.

    Returns:
        `recoverySlots`, each as `type:fingerprint`, `openedWith`, the purpose of the slot that
        opened the repository, and `notes`, what was skipped.
    """
    key = read_key_file(spec.repository.key_file)
    ring = repositories.open_key_ring(store, key, surroundings)
    for public in wanted:
        ring.add_recovery_key(public, "named by a BackupRepository")
    found = [f"{slot.type}:{slot.fingerprint}" for slot in ring.recovery_slots()]
    return {
        "recoverySlots": found[:_SHOWN_SLOTS],
        "openedWith": ring.opened_by.purpose,
        "notes": list(ring.notes)[:_SHOWN_SLOTS],
    }


def back_up(
    spec: mover_spec.BackupSpec,
    repository: repositories.Repository,
    watch: progress.Watch,
    tool_version: str,
) -> dict[str, Any]:
    """Makes the backup; errors as for `capture.back_up`.

    Returns:
        What `describe` says of it, with `sectorSizeBytes`, `existed` and `notes`; and unless it
        existed, `reading` and `readingReason`.
    """
    with device_facts.open_source(spec) as source:
        changes, why_not = None, ""
        if spec.changes is not None:
            from mooring.backup import change_files  # noqa: PLC0415 - only a mover has them

            changes, why_not = change_files.read(spec.changes, source.size_bytes)
        request = capture.BackupRequest(
            backup_id=backups.parse_backup_id(spec.backup_id),
            volume=device_facts.read(spec.volume, source),
            point_in_time=spec.moment(repository.surroundings.clock.now()),
            consistency=spec.consistency,
            parent=spec.parent,
            chunk_size_bytes=spec.chunk_size_bytes,
            documents=spec.documents,
            tool_version=tool_version,
            changes=changes,
            scrub=scrubbing.ScrubPolicy(timedelta(seconds=spec.scrub_period_seconds)),
            doubt_tracking=spec.doubt_tracking,
            read_everything=spec.read_everything,
            accept_suspect=spec.accept_suspect,
        )
        outcome = capture.back_up(repository, source, request, watch)
    return {
        **describe(outcome.manifest),
        **_described_reading(outcome.reading, why_not),
        "repositoryId": repository.config.repository_id,
        "sectorSizeBytes": outcome.manifest.volume.sector_size_bytes,
        "existed": outcome.existed,
        "notes": [
            *([f"everything was read, because {why_not}"] if why_not else []),
            *outcome.notes,
        ],
    }


def _described_reading(reading: backups.Reading | None, why_not: str) -> dict[str, Any]:
    if reading is None:
        return {}
    reason = why_not if why_not and reading.reason else reading.reason
    return {"reading": reading.scope, "readingReason": reason}


def restore(
    spec: mover_spec.RestoreSpec, repository: repositories.Repository, watch: progress.Watch
) -> dict[str, Any]:
    """Fills the device; errors as for `restore.restore`.

    Returns:
        `backupId`, `bytesTotal`, `bytesRead`, `bytesWritten`, `bytesReused`, `verified`, what
        is `suspect` about the backup, and `notes`.
    """
    backup_id = backups.parse_backup_id(spec.backup_id)
    if not spec.device.exists():  # a mover fills what it was given, and never makes a file
        raise errors.NotFound(f"there is no device {spec.device} to fill")

    def target(manifest: backups.BackupManifest) -> devices.VolumeTarget:
        size_bytes = manifest.volume.size_bytes
        # A Job that was killed is run again, on the same device.
        reuse = devices.Reuse.BEGINNING
        return devices.VolumeTarget(spec.device, size_bytes, replace=True, reuse=reuse)

    from mooring.backup import restore as restores  # noqa: PLC0415 - not for a backup

    outcome = restores.restore(repository, backup_id, target, watch, verify=spec.verify)
    return {
        "backupId": backup_id,
        "repositoryId": repository.config.repository_id,
        "bytesTotal": outcome.manifest.volume.size_bytes,
        "bytesRead": outcome.bytes_read,
        "bytesWritten": outcome.bytes_written,
        "bytesReused": outcome.bytes_reused,
        "verified": outcome.verified,
        "suspect": scrubbing.words(outcome.manifest) or None,
        "notes": list(outcome.notes),
    }


def forget(spec: mover_spec.ForgetSpec, repository: repositories.Repository) -> dict[str, Any]:
    """Removes the backup from the catalogue; an absent one is no error."""
    backup_id = backups.parse_backup_id(spec.backup_id)
    repository.forget(backup_id)
    return {"backupId": backup_id, "repositoryId": repository.config.repository_id}


def describe(manifest: backups.BackupManifest) -> dict[str, Any]:
    """Returns what people and the operator want to know of a backup, as JSON values."""
    stats = manifest.stats
    return {
        "backupId": manifest.backup_id,
        "volumeUid": manifest.volume.uid,
        "pointInTime": manifest.point_in_time.isoformat(),
        "finishedAt": manifest.finished_at.isoformat(),
        "consistency": str(manifest.consistency),
        "parent": manifest.parent,
        "filesystem": manifest.volume.filesystem,
        "bytesTotal": manifest.volume.size_bytes,
        "bytesRead": stats.bytes_read,
        "bytesSent": stats.bytes_sent,
        "bytesStored": stats.bytes_stored,
        "durationSeconds": stats.duration_seconds,
        "bytesScrubbed": manifest.scrub.bytes_read,
        "readWhole": manifest.scrub.whole,
        "suspect": _suspect(manifest),
    }


def _suspect(manifest: backups.BackupManifest) -> dict[str, Any] | None:
    """Returns what is to be known of a Suspect backup; None for any other."""
    places = manifest.scrub.suspect
    if not places:
        return None
    return {
        "message": scrubbing.words(manifest),
        "placeCount": len(places),
        "fresh": manifest.scrub.doubted,
        "places": [
            {
                "offsetBytes": place.offset_bytes,
                "lengthBytes": place.length_bytes,
                "good": place.good,
                "goodAt": place.good_at.isoformat(),
            }
            for place in places[:_SHOWN_PLACES]
        ],
        "holds": list(manifest.scrub.holds[:_SHOWN_PLACES]),
    }


def _make(
    spec: mover_spec.ProbeSpec,
    store: blobstores.BlobStore,
    surroundings: repositories.Surroundings,
) -> bool:
    key = read_key_file(spec.repository.key_file)
    chunk_size_bytes = spec.repository.chunk_size_bytes or backups.DEFAULT_CHUNK_SIZE_BYTES
    try:
        repositories.initialise(store, [key], surroundings, chunk_size_bytes)
    except errors.AlreadyExists:
        return False
    return True
