"""Names of a repository's objects, and the limits that a reader puts on their sizes.

An object's name is derived from random or checked parts only, so no input ever becomes a path.
"""

import enum
import re

from mooring.domain import backups, errors

FORMAT_NUMBER = 1

CONFIG = "config"
PACKS = "packs/"
INDEX = "index/"
SESSIONS = "sessions/"
MANIFESTS = "manifests/"
TOMBSTONES = "tombstones/"
CLOSED = "closed/"
KEYS = "keys/"
PROBES = "probes/"
LEASE = "lease"
DAMAGED = "damaged/"

ID_BYTES = 32
TAG_BYTES = 16
PACK_NAME_BYTES = 16
SALT_BYTES = 32
KEY_BYTES = 32
ZERO_ID = bytes(ID_BYTES)

MAXIMUM_CONFIG_BYTES = 1 << 20
MAXIMUM_LEASE_BYTES = 1 << 16
MAXIMUM_MANIFEST_BYTES = 8 << 20
MAXIMUM_SESSION_BYTES = 8 << 20
MAXIMUM_SEGMENT_BYTES = 64 << 20
MAXIMUM_PACK_BYTES = 64 << 20

_PACK_KEY = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})\Z")
_TOMBSTONE_KEY = re.compile(r"tombstones/([0-9a-f]{32})\Z")
_SEGMENT_KEY = re.compile(r"index/([^/]+)/([dt])([0-9]{8})\Z")


class BlobKind(enum.IntEnum):
    """What an encrypted piece of a pack is; part of what authenticates it."""

    DATA = 1
    NODE = 2
    FOOTER = 255

    @property
    def letter(self) -> str:
        """The first letter of the names of index segments of this kind."""
        return "d" if self is BlobKind.DATA else "t"


def pack_key(name: bytes) -> str:
    """Returns the key of the pack with a name of 16 random bytes."""
    text = name.hex()
    return f"{PACKS}{text[:2]}/{text}"


def pack_name(key: str) -> bytes | None:
    """Returns the name of the pack with this key, or None if it is no pack's key."""
    match = _PACK_KEY.match(key)
    return bytes.fromhex(match.group(2)) if match else None


def tombstone_key(name: bytes) -> str:
    """Returns the key of the mark that dooms a pack."""
    return TOMBSTONES + name.hex()


def tombstone_name(key: str) -> bytes | None:
    """Returns the name of the pack that a key dooms, or None if it is no such key."""
    match = _TOMBSTONE_KEY.match(key)
    return bytes.fromhex(match.group(1)) if match else None


def session_key(session: backups.SessionId) -> str:
    """Returns the key of a session's announcement."""
    return SESSIONS + session


def sessions_of(backup_id: backups.BackupId) -> str:
    """Returns what the keys of all sessions of one backup begin with."""
    return f"{SESSIONS}{backup_id}."


def closed_key(session: backups.SessionId) -> str:
    """Returns the key of the mark that ends a session."""
    return CLOSED + session


def manifest_key(backup_id: backups.BackupId) -> str:
    """Returns the key of a backup's manifest."""
    return MANIFESTS + backup_id


def damaged_key(backup_id: backups.BackupId) -> str:
    """Returns the key of the mark that says that something of a backup is lost."""
    return DAMAGED + backup_id


def segment_key(session: backups.SessionId, kind: BlobKind, number: int) -> str:
    """Returns the key of a session's index segment; numbers count from 0 per kind."""
    return f"{INDEX}{session}/{kind.letter}{number:08d}"


def segment_parts(key: str) -> tuple[backups.SessionId, BlobKind] | None:
    """Returns session and kind of an index segment's key, or None if it is no such key."""
    match = _SEGMENT_KEY.match(key)
    if not match:
        return None
    try:
        session = backups.parse_session_id(match.group(1))
    except errors.InvalidInput:
        return None
    return session, BlobKind.DATA if match.group(2) == "d" else BlobKind.NODE
