"""What a volume and a snapshot are, on the node that holds their bytes."""

import enum
from dataclasses import dataclass, field
from datetime import datetime

from mooring.domain import ids

DEFAULT_SECTOR_SIZE_BYTES = 4096
"""Recorded per volume and set at every attach; see docs/explanation/design.md, 'Sector size'."""

MINIMUM_VOLUME_SIZE_BYTES = 1 << 20
SIZE_ALIGNMENT_BYTES = 1 << 20
"""Sizes are rounded up to whole MiB, a multiple of every sector and chunk size."""


class FilesystemType(enum.StrEnum):
    """What is inside a volume of filesystem mode."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


class VolumeMode(enum.StrEnum):
    """How a pod sees the volume; the values are Kubernetes' `volumeMode`."""

    FILESYSTEM = "Filesystem"
    BLOCK = "Block"


class VolumeState(enum.StrEnum):
    """Where a volume is in its life, written before the act that leads out of it."""

    CREATING = "Creating"  # intent is recorded, the image may be missing or half made
    FILLING = "Filling"  # a restore writes into it; never staged for users
    READY = "Ready"
    DELETING = "Deleting"  # intent to delete is recorded; only a deletion may follow
    TRASHED = "Trashed"  # deleted for its users, under an id of its own; can be brought back


class SnapshotState(enum.StrEnum):
    """Where a snapshot is in its life."""

    CREATING = "Creating"
    READY = "Ready"
    DELETING = "Deleting"


@dataclass(frozen=True)
class Source:
    """What a volume's first content is copied from: exactly one of the two ids is set.

    Attributes:
        volume_id: The volume that is cloned.
        snapshot_id: The snapshot that is restored.
        node: The node that holds it; None for the node of the new volume itself.
    """

    volume_id: ids.VolumeId | None = None
    snapshot_id: ids.SnapshotId | None = None
    node: ids.NodeName | None = None


@dataclass(frozen=True)
class VolumeSpec:
    """What the creator of a volume asks a node for.

    Attributes:
        volume_id: Mooring's id, derived from `name`.
        name: The CSI name; only compared and shown, never used as a path.
        pool: The node's pool that shall hold the image.
        size_bytes: Exact size of the image, a multiple of `SIZE_ALIGNMENT_BYTES`.
        mode: Filesystem or Block.
        filesystem: The type to make at first stage; None for Block.
        preallocated: Whether the image's blocks are reserved at creation.
        sector_size_bytes: Logical sector size of the loop device, for the volume's whole life.
        source: Volume or snapshot to copy; None for an empty volume.
        filling: True makes the volume Filling, for a restore, instead of Ready.
        labels: Names for people (`namespace`, `claim`); shown, never decided on.
    """

    volume_id: ids.VolumeId
    name: str
    pool: ids.PoolName
    size_bytes: int
    mode: VolumeMode = VolumeMode.FILESYSTEM
    filesystem: FilesystemType | None = FilesystemType.EXT4
    preallocated: bool = False
    sector_size_bytes: int = DEFAULT_SECTOR_SIZE_BYTES
    source: Source | None = None
    filling: bool = False
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PullProgress:
    """How far the content of a volume has come from another node.

    Attributes:
        taken_at: The point in time of what is copied: another one has other content.
        source_size_bytes: Size of what is copied.
        done_bytes: Everything below this offset is on this node's disk.
        chain: The chain of checksums up to there, in hexadecimal; see `domain.transfers`.
    """

    taken_at: datetime
    source_size_bytes: int
    done_bytes: int = 0
    chain: str = ""


@dataclass(frozen=True)
class Trashing:
    """A deletion that keeps the bytes for a while.

    Attributes:
        volume_id: The id that the volume had for its users.
        deleted_at: When it was deleted, UTC.
        expires_at: When its bytes are freed at the latest, UTC.
    """

    volume_id: ids.VolumeId
    deleted_at: datetime
    expires_at: datetime

    @property
    def trashed_id(self) -> ids.VolumeId:
        """The id that it has from then on, so that its old one is free for a new volume."""
        return ids.trashed_volume_id(self.volume_id, self.deleted_at.isoformat())


@dataclass(frozen=True)
class VolumeRecord:
    """A node's own record of one volume. It decides; the catalogue is projected from it.

    Attributes:
        spec: What was asked for; `spec.size_bytes` follows expansions.
        state: See `VolumeState`.
        formatted: True once the volume holds content that must never be formatted again: set
            before mkfs' result is used, and from birth for a restore or a formatted source.
        created_at: When the intent was recorded, UTC.
        formatting: True from before mkfs until after it: what a kill left half made is ours.
        growing_to_bytes: The size that an expansion under way will reach; None otherwise.
        pull: How far the copy from another node has come; None when there is none under way.
        trashing: Of a volume that is in the trash or on its way there; None of any other.
    """

    spec: VolumeSpec
    state: VolumeState
    formatted: bool
    created_at: datetime
    formatting: bool = False
    growing_to_bytes: int | None = None
    pull: PullProgress | None = None
    trashing: Trashing | None = None


@dataclass(frozen=True)
class BackupBase:
    """Which backup has the content of a snapshot that is kept for the next backup.

    Attributes:
        repository_id: The repository.
        backup_id: The backup in it.
    """

    repository_id: str
    backup_id: str


@dataclass(frozen=True)
class SnapshotRecord:
    """A node's own record of one read-only snapshot.

    Attributes:
        snapshot_id: Mooring's id; holds the source volume's id.
        name: The CSI name.
        pool: The pool that holds the image.
        size_bytes: The source's size when it was taken.
        mode: The source's mode.
        filesystem: The source's filesystem; None for Block.
        sector_size_bytes: The source's sector size; what is made from the snapshot keeps it.
        preallocated: Whether the source was preallocated.
        state: See `SnapshotState`.
        created_at: The point in time that the content stands for, UTC.
        formatted: Whether the source held a filesystem; what is made from the snapshot inherits it.
        base: Of a snapshot that is kept so that the next backup reads only what changed; None of
            any other.
    """

    snapshot_id: ids.SnapshotId
    name: str
    pool: ids.PoolName
    size_bytes: int
    mode: VolumeMode
    filesystem: FilesystemType | None
    sector_size_bytes: int
    preallocated: bool
    state: SnapshotState
    created_at: datetime
    formatted: bool = True
    base: BackupBase | None = None

    @property
    def source_volume_id(self) -> ids.VolumeId:
        """The volume that it was taken of, which may be gone."""
        return ids.source_volume_id(self.snapshot_id)


@dataclass(frozen=True)
class VolumeCondition:
    """Health of a volume as CSI's VolumeCondition wants it, and one cause that claims name.

    Attributes:
        abnormal: Whether something is wrong.
        message: What, and what to do about it.
        writes_wait: Whether it is frozen, because a write could find no room in its pool.
    """

    abnormal: bool
    message: str
    writes_wait: bool = False


@dataclass(frozen=True)
class VolumeStatus:
    """A volume as its node sees it now.

    Attributes:
        record: The node's record.
        used_bytes: Bytes that the image takes in the pool.
        published: Whether any pod has it mounted or attached on the node.
        condition: Health.
        extents: In how many pieces the image lies, as last counted; None if nothing counted them.
    """

    record: VolumeRecord
    used_bytes: int
    published: bool
    condition: VolumeCondition
    extents: int | None = None
