"""Manifests and sessions as JSON, and the checks that keep a forged number from doing harm."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from mooring.backup.format import config, layout
from mooring.domain import backups, errors

T = TypeVar("T")
_STRETCHED_PLACE = 1000


def encode_manifest(manifest: backups.BackupManifest) -> bytes:
    """Writes a manifest."""
    volume = manifest.volume
    stats = manifest.stats
    return _encode(
        {
            "format": layout.FORMAT_NUMBER,
            "requires": [],
            "backup": manifest.backup_id,
            "volume": {
                "uid": volume.uid,
                "size": volume.size_bytes,
                "sectorSize": volume.sector_size_bytes,
                "filesystem": volume.filesystem,
                "filesystemUuid": volume.filesystem_uuid,
            },
            "chunkSize": manifest.chunk_size_bytes,
            "root": manifest.root.hex(),
            "consistency": manifest.consistency,
            "pointInTime": manifest.point_in_time.isoformat(),
            "finishedAt": manifest.finished_at.isoformat(),
            "parent": manifest.parent,
            "session": manifest.session,
            "origins": list(manifest.origins),
            "documents": dict(manifest.documents),
            "tool": manifest.tool_version,
            "stats": {
                "bytesRead": stats.bytes_read,
                "bytesSent": stats.bytes_sent,
                "bytesStored": stats.bytes_stored,
                "chunksSent": stats.chunks_sent,
                "durationSeconds": round(stats.duration_seconds, 3),
            },
            "scrub": _encode_scrub(manifest.scrub),
        }
    )


def _encode_scrub(scrub: backups.ScrubRecord) -> dict[str, Any]:
    return {
        "next": scrub.next_chunk,
        "bytesRead": scrub.bytes_read,
        "doubted": scrub.doubted,
        "whole": scrub.whole,
        "suspect": [
            {
                "offset": place.offset_bytes,
                "length": place.length_bytes,
                "good": place.good,
                "goodAt": place.good_at.isoformat(),
                "coarse": place.coarse,
            }
            for place in scrub.suspect
        ],
    }


def decode_manifest(content: bytes, key: str) -> backups.BackupManifest:
    """Reads a manifest.

    Args:
        content: The decrypted object.
        key: Its name, for messages.

    Raises:
        Unsupported: It requires what this build does not know.
        DataCorrupt: A value is missing or impossible.
    """
    return _decode(content, key, _manifest)


def encode_session(session: backups.BackupSession) -> bytes:
    """Writes a session."""
    return _encode(
        {
            "format": layout.FORMAT_NUMBER,
            "requires": [],
            "session": session.session_id,
            "backup": session.backup_id,
            "volumeUid": session.volume_uid,
            "chunkSize": session.chunk_size_bytes,
            "startedAt": session.started_at.isoformat(),
            "parents": [
                {"backup": pin.backup_id, "root": pin.root.hex(), "size": pin.size_bytes}
                for pin in session.parents
            ],
            "sessions": list(session.sessions),
            "tool": session.tool_version,
        }
    )


def decode_session(content: bytes, key: str) -> backups.BackupSession:
    """Reads a session; arguments and errors as for `decode_manifest`."""
    return _decode(content, key, _session)


def _encode(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), sort_keys=True).encode()


def _decode(content: bytes, key: str, build: Callable[[dict[str, Any]], T]) -> T:
    try:
        values = json.loads(content)
        config.check_readable(values["format"], values["requires"], f"object {key}")
        return build(values)
    except (KeyError, TypeError, ValueError, RecursionError, errors.InvalidInput) as error:
        raise errors.DataCorrupt(
            f"object {key} of the repository says what cannot be: {error}"
        ) from error


def _manifest(values: dict[str, Any]) -> backups.BackupManifest:
    parent = values["parent"]
    return backups.BackupManifest(
        backup_id=backups.parse_backup_id(values["backup"]),
        volume=_volume(values["volume"]),
        chunk_size_bytes=backups.check_chunk_size(_integer(values, "chunkSize")),
        consistency=_text(values, "consistency"),
        point_in_time=_time(values, "pointInTime"),
        finished_at=_time(values, "finishedAt"),
        parent=None if parent is None else backups.parse_backup_id(parent),
        session=backups.parse_session_id(values["session"]),
        root=_ident(values, "root"),
        origins=tuple(backups.parse_session_id(text) for text in values["origins"]),
        documents=dict(values["documents"]),
        tool_version=_text(values, "tool"),
        stats=_stats(values["stats"]),
        scrub=_scrub(values) if "scrub" in values else backups.ScrubRecord(),
    )


def _volume(values: dict[str, Any]) -> backups.VolumeFacts:
    size_bytes = _integer(values, "size")
    sector_size_bytes = _integer(values, "sectorSize")
    if not 0 < size_bytes <= backups.MAXIMUM_VOLUME_SIZE_BYTES or sector_size_bytes <= 0:
        raise ValueError("size out of range")
    return backups.VolumeFacts(
        uid=_text(values, "uid"),
        size_bytes=size_bytes,
        sector_size_bytes=sector_size_bytes,
        filesystem=_optional_text(values, "filesystem"),
        filesystem_uuid=_optional_text(values, "filesystemUuid"),
    )


def _stats(values: dict[str, Any]) -> backups.BackupStats:
    return backups.BackupStats(
        bytes_read=_integer(values, "bytesRead"),
        bytes_sent=_integer(values, "bytesSent"),
        bytes_stored=_integer(values, "bytesStored"),
        chunks_sent=_integer(values, "chunksSent"),
        duration_seconds=float(values["durationSeconds"]),
    )


def _scrub(manifest: dict[str, Any]) -> backups.ScrubRecord:
    values = manifest["scrub"]
    return backups.ScrubRecord(
        next_chunk=_integer(values, "next"),
        bytes_read=_integer(values, "bytesRead"),
        doubted=_flag(values, "doubted"),
        whole=_flag(values, "whole"),
        suspect=tuple(
            _place(place, number, manifest["volume"]["size"])
            for number, place in enumerate(values["suspect"], start=1)
        ),
    )


def _place(values: dict[str, Any], number: int, size_bytes: int) -> backups.SuspectPlace:
    # Writers that did not say so stretched the last of so many places, and one over all.
    stretched = number == _STRETCHED_PLACE or values["length"] == size_bytes
    return backups.SuspectPlace(
        offset_bytes=_integer(values, "offset"),
        length_bytes=_integer(values, "length"),
        good=backups.parse_backup_id(values["good"]),
        good_at=_time(values, "goodAt"),
        coarse=_flag(values, "coarse") if "coarse" in values else stretched,
    )


def _session(values: dict[str, Any]) -> backups.BackupSession:
    return backups.BackupSession(
        session_id=backups.parse_session_id(values["session"]),
        backup_id=backups.parse_backup_id(values["backup"]),
        volume_uid=_text(values, "volumeUid"),
        chunk_size_bytes=backups.check_chunk_size(_integer(values, "chunkSize")),
        started_at=_time(values, "startedAt"),
        parents=tuple(_pin(pin) for pin in values["parents"]),
        sessions=tuple(backups.parse_session_id(text) for text in values["sessions"]),
        tool_version=_text(values, "tool"),
    )


def _pin(values: dict[str, Any]) -> backups.SessionPin:
    return backups.SessionPin(
        backup_id=backups.parse_backup_id(values["backup"]),
        root=_ident(values, "root"),
        size_bytes=_integer(values, "size"),
    )


def _integer(values: dict[str, Any], name: str) -> int:
    value = values[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is no whole number")
    return value


def _flag(values: dict[str, Any], name: str) -> bool:
    if not isinstance(values[name], bool):
        raise TypeError(f"{name} is neither true nor false")
    return bool(values[name])


def _text(values: dict[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _optional_text(values: dict[str, Any], name: str) -> str | None:
    return None if values[name] is None else _text(values, name)


def _time(values: dict[str, Any], name: str) -> datetime:
    moment = datetime.fromisoformat(_text(values, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return moment


def _ident(values: dict[str, Any], name: str) -> bytes:
    ident = bytes.fromhex(_text(values, name))
    if len(ident) != layout.ID_BYTES:
        raise ValueError(f"{name} is no id")
    return ident
