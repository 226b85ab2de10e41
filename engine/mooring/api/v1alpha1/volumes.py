"""Volume: Mooring's own record of one volume and of where its bytes are."""

from pydantic import Field

from mooring.api.v1alpha1 import base

WRITES_WAIT = "WritesWait"
"""The health of a volume that is frozen, because a write could find no room."""


class VolumeSourceSpec(base.Model):
    """What the first content was copied from."""

    volume_id: str | None = Field(default=None, description="Id of the cloned volume.")
    snapshot_id: str | None = Field(default=None, description="Id of the snapshot.")
    node: base.ObjectName | None = Field(
        default=None, description="The node that holds it; absent for the volume's own."
    )


class VolumeObjectSpec(base.Model):
    """The intent, written by the controller before a node is asked."""

    csi_name: str = Field(max_length=1024, description="The name that CSI gave; only shown.")
    node: base.ObjectName = Field(description="The node chosen for the volume.")
    pool: str = Field(max_length=63, description="The pool on that node.")
    size_bytes: int = Field(ge=1, description="Size of the image in bytes.")
    mode: str = Field(
        description="Filesystem or Block.",
        json_schema_extra={"enum": ["Filesystem", "Block"]},
    )
    filesystem: str | None = Field(
        default=None, max_length=16, description="ext4, xfs or btrfs; absent for Block."
    )
    preallocated: bool = Field(default=False, description="Whether all blocks are reserved.")
    sector_size_bytes: int = Field(default=4096, description="Logical sector size, for life.")
    source: VolumeSourceSpec | None = Field(default=None, description="Absent for an empty volume.")
    filling: bool = Field(
        default=False, description="Made for a restore, which writes the first content."
    )
    deletion_requested: bool = Field(
        default=False, description="The node deletes the volume as soon as it can be reached."
    )
    undelete_requested: bool = Field(
        default=False, description="The node brings the volume back from the trash."
    )
    forgotten: bool = Field(
        default=False,
        description="Its node is gone for good: a deletion waits for nothing. Taken back when the "
        "node returns with it.",
    )
    snapshot_deletions: list[str] = Field(
        default_factory=list,
        max_length=1024,
        description="Snapshots that the node deletes as soon as it can be reached.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    labels: dict[str, base.LabelValue] = Field(
        default_factory=dict, description="Names for people: namespace, claim."
    )


class SnapshotEntry(base.Model):
    """One snapshot of the volume, as its node last reported it."""

    snapshot_id: str = Field(description="Mooring's id.")
    name: str = Field(description="The CSI name.")
    pool: str = Field(description="The pool that holds it.")
    size_bytes: int = Field(description="The volume's size when it was taken.")
    mode: str = Field(description="Filesystem or Block.")
    filesystem: str | None = Field(default=None, description="Absent for Block.")
    sector_size_bytes: int = Field(description="Logical sector size.")
    preallocated: bool = Field(default=False, description="Whether the volume was preallocated.")
    state: str = Field(description="Creating, Ready or Deleting.")
    created_at: str = Field(
        description="The point in time that it stands for.",
        json_schema_extra={"format": "date-time"},
    )
    base_of: str | None = Field(
        default=None,
        description="The backup with the same content, of a snapshot that is kept so that the next "
        "backup reads only what changed; it goes by itself when its room is needed.",
    )
    base_repository_id: str | None = Field(
        default=None, description="The repository that this backup is in."
    )


class VolumeObjectStatus(base.Status):
    """What the volume's node last reported."""

    state: str | None = Field(
        default=None,
        description="Creating, Filling, Ready, Deleting or Trashed, in the node's record.",
    )
    formatted: bool | None = Field(default=None, description="Whether it holds content.")
    created_at: str | None = Field(
        default=None,
        description="When the node recorded it.",
        json_schema_extra={"format": "date-time"},
    )
    size_bytes: int | None = Field(default=None, description="Size of the image now.")
    size: str | None = Field(default=None, description="The same for people.")
    used_bytes: int | None = Field(default=None, description="Bytes taken in the pool.")
    used: str | None = Field(default=None, description="The same for people.")
    extents: int | None = Field(
        default=None,
        description="In how many pieces the image lies on its pool's disk; above 1,000 in whole "
        "thousands. The more, the longer a snapshot takes. Absent where the disk cannot tell.",
    )
    published: bool | None = Field(default=None, description="Whether a pod has it now.")
    health: str | None = Field(
        default=None,
        description="Healthy, Abnormal, WritesWait while it is frozen because a write could find "
        "no room, or Lost when its node was removed from the cluster.",
    )
    message: str | None = Field(default=None, description="What is wrong.")
    trashed_from: str | None = Field(
        default=None, description="Of one in the trash: the id that it had for its users."
    )
    deleted_at: str | None = Field(
        default=None,
        description="Of one in the trash: when it was deleted.",
        json_schema_extra={"format": "date-time"},
    )
    expires_at: str | None = Field(
        default=None,
        description="Of one in the trash: when it is freed, or earlier when space is short.",
        json_schema_extra={"format": "date-time"},
    )
    snapshots: list[SnapshotEntry] = Field(
        default_factory=list,
        max_length=1024,
        description="Snapshots of the volume.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["snapshotId"],
        },
    )


KIND = base.Kind(
    kind="Volume",
    plural="volumes",
    short_name="vol",
    namespaced=False,
    spec=VolumeObjectSpec,
    status=VolumeObjectStatus,
    description=(
        "A Volume is Mooring's own record of one volume: the intent in spec, what its node "
        "reported in status. Deleting it removes no data; the node's records decide."
    ),
    columns=(
        base.Column("State", ".status.state"),
        base.Column("Node", ".spec.node"),
        base.Column("Pool", ".spec.pool"),
        base.Column("Size", ".status.size"),
        base.Column("Used", ".status.used"),
        base.Column("Health", ".status.health"),
        base.Column("Namespace", ".spec.labels.namespace"),
        base.Column("Claim", ".spec.labels.claim"),
        base.Column("Expires", ".status.expiresAt"),
        base.Column("Message", ".status.message", priority=1),
    ),
)
