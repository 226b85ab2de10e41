"""CSI volume handles: what the volumeHandle of a PersistentVolume says to the node plugin.

| handle | written by | what is published |
|---|---|---|
| `vol-…` | CSI controller, populator | a user's volume |
| `snapshot/snap-…` | operator, for a Backup | one snapshot, a read-only block device |
| `changes/snap-…` | operator, for a Backup | a folder with the list of what changed in a snapshot |
| `populate/vol-…` | operator, for a restore | one Filling volume, a block device |
| `folder/<entry>/<namespace>/<repository>` | operator | that sub-folder of the entry |

PersistentVolumes are cluster-wide objects that only administrators and Mooring can make, but a
handle is still parsed against its grammar before anything is looked up.
"""

import re
from dataclasses import dataclass

from mooring.domain import errors, ids

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_FOLDER_SEGMENTS = 4


@dataclass(frozen=True)
class UserVolume:
    """A volume that pods mount or attach."""

    volume_id: ids.VolumeId


@dataclass(frozen=True)
class SnapshotReader:
    """One snapshot, read-only, for the mover of a backup."""

    snapshot_id: ids.SnapshotId


@dataclass(frozen=True)
class ChangeList:
    """What changed in a snapshot since the last backup, for the mover of a backup."""

    snapshot_id: ids.SnapshotId


@dataclass(frozen=True)
class PopulateWriter:
    """One Filling volume, writable, for the mover of a restore."""

    volume_id: ids.VolumeId


@dataclass(frozen=True)
class RepositoryFolder:
    """A repository's own sub-folder of an entry of the administrator's list.

    Attributes:
        entry: The entry's name; its path is only in the node plugin's settings.
        namespace: The repository's namespace, the first sub-folder.
        repository: The repository's name, the second.
    """

    entry: str
    namespace: str
    repository: str


Handle = UserVolume | SnapshotReader | ChangeList | PopulateWriter | RepositoryFolder


def render(handle: Handle) -> str:
    """Writes a handle as a PersistentVolume carries it."""
    match handle:
        case UserVolume(volume_id):
            return volume_id
        case SnapshotReader(snapshot_id):
            return f"snapshot/{snapshot_id}"
        case ChangeList(snapshot_id):
            return f"changes/{snapshot_id}"
        case PopulateWriter(volume_id):
            return f"populate/{volume_id}"
        case RepositoryFolder(entry, namespace, repository):
            return f"folder/{entry}/{namespace}/{repository}"


def parse(text: str) -> Handle:
    """Reads a handle.

    Raises:
        NotFound: It has not the grammar of any handle, so nothing of ours can have it.
    """
    head, _, rest = text.partition("/")
    if not rest:
        return UserVolume(ids.parse_volume_id(text))
    if head == "snapshot":
        return SnapshotReader(ids.parse_snapshot_id(rest))
    if head == "changes":
        return ChangeList(ids.parse_snapshot_id(rest))
    if head == "populate":
        return PopulateWriter(ids.parse_volume_id(rest))
    segments = text.split("/")
    if head == "folder" and len(segments) == _FOLDER_SEGMENTS:
        _, entry, namespace, repository = segments
        if all(_NAME.match(part) and ".." not in part for part in segments[1:]):
            return RepositoryFolder(entry, namespace, repository)
    raise errors.NotFound(f"there is no volume {text[:96]!r}")
