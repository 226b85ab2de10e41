"""Backup: one point in time of one volume, kept in a repository."""

from typing import Any

from pydantic import Field

from mooring.api.v1alpha1 import base
from mooring.api.v1alpha1.volume_claims import DeletionPolicy

MINIMUM_FREEZE_SECONDS = 1
MAXIMUM_FREEZE_SECONDS = 60


class BackupSource(base.Model):
    """What is backed up."""

    volume_claim_name: base.ObjectName | None = Field(
        default=None, description="A VolumeClaim of this namespace."
    )
    persistent_volume_claim_name: base.ObjectName | None = Field(
        default=None,
        description="A PersistentVolumeClaim: on a Mooring volume, or on one of another CSI driver "
        "that takes snapshots.",
    )


class BackupOptions(base.Model):
    """How a backup is made."""

    freeze_timeout_seconds: int = Field(
        default=10,
        ge=MINIMUM_FREEZE_SECONDS,
        le=MAXIMUM_FREEZE_SECONDS,
        description="Longest time that writes may wait while the snapshot is taken.",
    )
    starting_deadline_seconds: int = Field(
        default=600,
        ge=1,
        le=86400,
        description="How long to wait for the claim, the repository and the snapshot.",
    )
    active_deadline_seconds: int = Field(
        default=86400,
        ge=60,
        le=604800,
        description="How long the transfer may take, retries included.",
    )
    volume_snapshot_class_name: base.ObjectName | None = Field(
        default=None,
        description="For a claim of another CSI driver: the VolumeSnapshotClass of its snapshot. "
        "Left out, it is the driver's default one.",
    )


class BackupSpec(BackupOptions):
    """What the user asks for."""

    source: BackupSource = Field(description="The volume.")
    repository_name: base.ObjectName = Field(description="A BackupRepository of this namespace.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="Delete also removes this point in time from the repository.",
    )


class Progress(base.Model):
    """How far the mover is."""

    percent: int | None = Field(default=None, ge=0, le=100, description="Of the volume's bytes.")
    bytes_total: int | None = Field(default=None, description="Size of the volume.")
    bytes_read: int | None = Field(default=None, description="Read from the volume.")
    bytes_sent: int | None = Field(default=None, description="Sent to the repository, or written.")
    bytes_stored: int | None = Field(default=None, description="Added to the repository.")
    bytes_reused: int | None = Field(
        default=None, description="Of a restore: what its node had already, proven by its hash."
    )


class RunStatus(base.Status):
    """What a run by a mover has: backups and restores."""

    start_time: str | None = Field(
        default=None, description="When it began.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(
        default=None, description="When it ended.", json_schema_extra={"format": "date-time"}
    )
    node: str | None = Field(default=None, description="The node that the mover runs on.")
    volume_id: str | None = Field(
        default=None,
        description="Mooring's id of the volume; of one of another driver, that of its "
        "PersistentVolume.",
    )
    progress: Progress | None = Field(default=None, description="How far it is.")
    attempts: int | None = Field(default=None, description="Movers that failed so far.")
    released: bool | None = Field(
        default=None, description="Whether everything made for the run is put away."
    )


class BackupStatus(RunStatus):
    """What became of it."""

    backup_id: str | None = Field(default=None, description="Names it in the repository.")
    repository_id: str | None = Field(default=None, description="The repository that holds it.")
    snapshot_id: str | None = Field(default=None, description="The snapshot that was read.")
    driver: str | None = Field(
        default=None, description="The CSI driver of the volume; absent for Mooring's own."
    )
    volume_snapshot_name: str | None = Field(
        default=None,
        description="The VolumeSnapshot that was read, of a volume of another driver.",
    )
    snapshot_time: str | None = Field(
        default=None,
        description="The point in time that it stands for.",
        json_schema_extra={"format": "date-time"},
    )
    claim_name: str | None = Field(default=None, description="The claim that was read.")
    claim_uid: str | None = Field(default=None, description="Its uid.")
    storage_class_name: str | None = Field(default=None, description="Its StorageClass.")
    size_bytes: int | None = Field(default=None, description="Size of the volume.")
    size: str | None = Field(default=None, description="The same for people.")
    volume_mode: str | None = Field(default=None, description="Filesystem or Block.")
    filesystem: str | None = Field(default=None, description="Absent for Block.")
    sector_size_bytes: int | None = Field(default=None, description="Logical sector size.")
    consistency: str | None = Field(
        default=None,
        description="Filesystem: frozen or not mounted. Crash: as a power cut would leave it.",
    )
    imported: bool | None = Field(
        default=None, description="Whether it was found in the repository, not made here."
    )
    manifests: dict[str, Any] | None = Field(
        default=None,
        description="Of an imported one: the claim and StorageClass as they were, by role.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    snapshot_milliseconds: int | None = Field(
        default=None,
        description="How long the snapshot took; writes waited for no longer than this.",
    )


KIND = base.Kind(
    kind="Backup",
    plural="backups",
    short_name="bk",
    namespaced=True,
    spec=BackupSpec,
    status=BackupStatus,
    description=(
        "A Backup is one point in time of one volume, in a BackupRepository. Deleting it keeps "
        "the repository's bytes unless spec.deletionPolicy is Delete."
    ),
    columns=(
        *base.condition_columns("Succeeded"),
        base.Column("Progress", ".status.progress.percent", type="integer"),
        base.Column("Claim", ".status.claimName"),
        base.Column("Size", ".status.size"),
        base.Column("Repository", ".spec.repositoryName"),
        base.Column("Node", ".status.node", priority=1),
        base.Column("Backup ID", ".status.backupId", priority=1),
        base.message_column("Succeeded"),
    ),
    rules=(
        base.exactly_one("volumeClaimName", "persistentVolumeClaimName", within="source"),
        base.immutable("source"),
        base.immutable("repositoryName"),
        base.immutable("freezeTimeoutSeconds"),
    ),
    example={
        "source": {"volumeClaimName": "data"},
        "repositoryName": "main",
    },
)
