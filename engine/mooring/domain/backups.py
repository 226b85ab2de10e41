"""What a backup is, whatever store it lies in and whatever bytes describe it there."""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NewType

from mooring.domain import errors, extents

BackupId = NewType("BackupId", str)
SessionId = NewType("SessionId", str)
RepositoryId = NewType("RepositoryId", str)

REPAIR = BackupId("repair")
"""Sessions of this backup hold what a repair saved, until the next backups build on it."""
COLLECTOR = BackupId("collector")
"""Index segments of its sessions are those that a collection joined."""

DEFAULT_CHUNK_SIZE_BYTES = 64 << 10
MINIMUM_CHUNK_SIZE_BYTES = 512
MAXIMUM_CHUNK_SIZE_BYTES = 4 << 20
MAXIMUM_VOLUME_SIZE_BYTES = 1 << 60
"""Larger than any volume; what bounds the numbers in a manifest that somebody forged."""
MAXIMUM_VOLUME_UID_LENGTH = 512

_BACKUP_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_SESSION_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.[0-9a-f]{16}\Z")


class Consistency(enum.StrEnum):
    """What the content of a backup is as good as."""

    CRASH = "Crash"  # what a power cut would have left
    FILESYSTEM = "Filesystem"  # the filesystem was frozen: mounted again without a replay
    APPLICATION = "Application"  # the application's hook had it quiet


@dataclass(frozen=True)
class VolumeFacts:
    """What is remembered of the volume, so that its restore is the same kind of volume.

    Attributes:
        uid: Identity of the volume; backups with the same one build on each other.
        size_bytes: Size of the content.
        sector_size_bytes: Logical sector size that the filesystem was made with.
        filesystem: For example ext4; None for a raw block volume or an unknown one.
        filesystem_uuid: Of its superblock; None when there is none.
    """

    uid: str
    size_bytes: int
    sector_size_bytes: int = 4096
    filesystem: str | None = None
    filesystem_uuid: str | None = None


@dataclass(frozen=True)
class Changes:
    """What is known to have changed in a volume since one of its backups.

    Attributes:
        since: The backup.
        repository_id: The repository that it is in.
        size_bytes: Size of the volume at the time of that backup.
        ranges: Everything that may differ from it, in order; can be gone through more than once.
    """

    since: BackupId
    repository_id: RepositoryId
    size_bytes: int
    ranges: Iterable[extents.Range]


class Scope(enum.StrEnum):
    """How much of a volume a backup reads."""

    CHANGED = "Changed"  # what changed block tracking names, where that can tell
    EVERYTHING = "Everything"  # all of it, and hashes it; no more is sent than differs


@dataclass(frozen=True)
class Reading:
    """How much a backup did read.

    Attributes:
        scope: How much.
        reason: Why it was everything; empty when it was not.
    """

    scope: Scope
    reason: str = ""


@dataclass(frozen=True)
class BackupStats:
    """What a backup cost.

    Attributes:
        bytes_read: Bytes of the volume that were looked at.
        bytes_sent: Bytes of chunks that the repository did not have, before compression.
        bytes_stored: Bytes added to the repository, everything included but the manifest.
        chunks_sent: Number of such chunks.
        duration_seconds: From opening the session to the manifest.
    """

    bytes_read: int = 0
    bytes_sent: int = 0
    bytes_stored: int = 0
    chunks_sent: int = 0
    duration_seconds: float = 0.0


@dataclass(frozen=True)
class SuspectPlace:
    """Bytes of a volume that are not what they were, although nobody is known to have written them.

    Attributes:
        offset_bytes: The first of them.
        length_bytes: From there to the last.
        good: The newest backup that has what was there before. It is held as long as a backup
            names it here.
        good_at: The moment that it stands for, UTC.
        coarse: Whether only some of them are known not to be what they were, because more is
            suspect than is listed, or because it was not looked at since somebody may have written.
    """

    offset_bytes: int
    length_bytes: int
    good: BackupId
    good_at: datetime
    coarse: bool = False

    @property
    def end_bytes(self) -> int:
        """Where it ends."""
        return self.offset_bytes + self.length_bytes


@dataclass(frozen=True)
class ScrubRecord:
    """What a backup found when it read again what is said not to have changed.

    Attributes:
        next_chunk: Where the next backup's turn begins.
        bytes_read: How much was read again.
        doubted: Whether something was found, so that the next backup trusts no tracking.
        whole: Whether the backup looked at all of the volume, changed or not.
        suspect: What was found and is not mended yet, by offset; with any, a backup is Suspect.
    """

    next_chunk: int = 0
    bytes_read: int = 0
    doubted: bool = False
    whole: bool = False
    suspect: tuple[SuspectPlace, ...] = ()

    @property
    def holds(self) -> tuple[BackupId, ...]:
        """The backups that have what was there before, each once."""
        return tuple(dict.fromkeys(place.good for place in self.suspect))


@dataclass(frozen=True)
class BackupManifest:
    """One backup of one volume, as its manifest says.

    Attributes:
        backup_id: Its name in the repository.
        volume: What was backed up.
        chunk_size_bytes: Size of its chunks; the same in all backups that build on each other.
        consistency: One of `Consistency`, or a word of a newer Mooring.
        point_in_time: The moment that the content stands for, UTC.
        finished_at: When the manifest was written, UTC.
        parent: The backup that it was compared with, or None; also None where that stands for a
            later moment, because this one came late. It may be gone: each backup is whole by
            itself.
        session: The session that wrote it.
        root: Id of the root of the content tree, 32 bytes; zeros when all content is zero.
        origins: Sessions in which its chunks were written, as far as known; a hint for readers.
        documents: Kubernetes objects by role (`persistentVolumeClaim`, `storageClass`).
        tool_version: The Mooring that wrote it.
        stats: What it cost.
        scrub: What came of reading again what had not changed.
    """

    backup_id: BackupId
    volume: VolumeFacts
    chunk_size_bytes: int
    consistency: str
    point_in_time: datetime
    finished_at: datetime
    parent: BackupId | None
    session: SessionId
    root: bytes
    origins: tuple[SessionId, ...] = ()
    documents: Mapping[str, Any] = field(default_factory=dict)
    tool_version: str = ""
    stats: BackupStats = field(default_factory=BackupStats)
    scrub: ScrubRecord = field(default_factory=ScrubRecord)

    @property
    def chunk_count(self) -> int:
        """Number of chunks of the volume, zero ones included."""
        return -(-self.volume.size_bytes // self.chunk_size_bytes)


@dataclass(frozen=True)
class SessionPin:
    """A backup that a session builds on.

    The root is remembered, so that its chunks can be held even after its manifest was forgotten.
    """

    backup_id: BackupId
    root: bytes
    size_bytes: int


@dataclass(frozen=True)
class BackupSession:
    """A writer's announcement, made before it writes or reuses anything.

    Attributes:
        session_id: `<backup id>.<16 hexadecimal digits>`.
        backup_id: The backup that it wants to make.
        volume_uid: Of which volume.
        chunk_size_bytes: Size of its chunks.
        started_at: UTC.
        parents: Backups whose chunks it reuses.
        sessions: Unfinished sessions whose chunks it reuses.
        tool_version: The Mooring that writes.
    """

    session_id: SessionId
    backup_id: BackupId
    volume_uid: str
    chunk_size_bytes: int
    started_at: datetime
    parents: tuple[SessionPin, ...] = ()
    sessions: tuple[SessionId, ...] = ()
    tool_version: str = ""


def parse_backup_id(text: str) -> BackupId:
    """Checks that a backup id is a DNS label, which is safe as part of an object's name.

    Raises:
        InvalidInput: It is not.
    """
    if not _BACKUP_ID.match(text):
        raise errors.InvalidInput(
            f"backup id {text[:80]!r} is not a DNS label: use lower-case letters, digits and '-'"
        )
    return BackupId(text)


def check_new_backup_id(backup_id: BackupId) -> None:
    """Refuses for a new backup an id that stands for something else.

    Raises:
        InvalidInput: It does.
    """
    if backup_id in (REPAIR, COLLECTOR):
        raise errors.InvalidInput(
            f"backup id {backup_id!r} is kept for what a repair or a garbage collection writes: "
            "choose another id"
        )


def parse_session_id(text: str) -> SessionId:
    """Checks the grammar of a session id.

    Raises:
        InvalidInput: It is none.
    """
    if not _SESSION_ID.match(text):
        raise errors.InvalidInput(f"{text[:96]!r} is no session id")
    return SessionId(text)


def check_volume_uid(text: str) -> str:
    """Checks that a volume's identity is there, short and printable.

    Raises:
        InvalidInput: It is not.
    """
    if not 0 < len(text) <= MAXIMUM_VOLUME_UID_LENGTH or not text.isprintable():
        raise errors.InvalidInput(
            f"a volume's identity has 1 to {MAXIMUM_VOLUME_UID_LENGTH} printable characters, "
            f"not {text[:40]!r}"
        )
    return text


def check_chunk_size(chunk_size_bytes: int) -> int:
    """Checks that a chunk size is a power of two in the legal range.

    Raises:
        InvalidInput: It is not.
    """
    legal = MINIMUM_CHUNK_SIZE_BYTES <= chunk_size_bytes <= MAXIMUM_CHUNK_SIZE_BYTES
    if not legal or chunk_size_bytes & (chunk_size_bytes - 1):
        raise errors.InvalidInput(
            f"chunk size {chunk_size_bytes} is not a power of two between "
            f"{MINIMUM_CHUNK_SIZE_BYTES} and {MAXIMUM_CHUNK_SIZE_BYTES} bytes"
        )
    return chunk_size_bytes
