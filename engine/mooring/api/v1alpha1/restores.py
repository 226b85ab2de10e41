"""Restore: a point in time, brought back as a new claim."""

from pydantic import Field

from mooring.api import keys
from mooring.api.v1alpha1 import base
from mooring.api.v1alpha1.backups import RunStatus
from mooring.api.v1alpha1.volume_claims import AccessMode, VolumeMode


class BackupPoint(base.Model):
    """A point in time by what the repository calls it, for a Backup object that is gone."""

    repository_name: base.ObjectName = Field(description="A BackupRepository of this namespace.")
    backup_id: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="The id, as a Backup's status.backupId had it.",
    )


class RestoreTarget(base.Model):
    """The new claim."""

    claim_name: base.ObjectName = Field(
        description="Name of the PersistentVolumeClaim to make; one that exists is never touched."
    )
    storage_class_name: base.ObjectName = Field(
        default=keys.DEFAULT_STORAGE_CLASS, description="A StorageClass of Mooring's driver."
    )
    size: base.Size | None = Field(
        default=None, description="Left out, the backup's own size; never smaller than that."
    )
    volume_mode: VolumeMode | None = Field(
        default=None, description="Left out, as it was; another mode is refused."
    )
    access_mode: AccessMode = Field(
        default=AccessMode.READ_WRITE_ONCE, description="As in a PersistentVolumeClaim."
    )


class RestoreSpec(base.Model):
    """What the user asks for."""

    backup_name: base.ObjectName | None = Field(
        default=None, description="A Backup of this namespace that succeeded."
    )
    point: BackupPoint | None = Field(
        default=None, description="A point in time whose Backup object is gone."
    )
    target: RestoreTarget = Field(description="The claim to make.")
    placement: base.Placement | None = Field(
        default=None,
        description="Where the data shall be; left out, the first pod's node decides.",
    )
    active_deadline_seconds: int = Field(
        default=86400,
        ge=60,
        le=604800,
        description="How long the transfer may take, retries included.",
    )


class RestoreStatus(RunStatus):
    """What became of it."""

    claim_name: str | None = Field(default=None, description="The claim that was made.")
    claim_uid: str | None = Field(default=None, description="Its uid.")
    persistent_volume_name: str | None = Field(default=None, description="The volume made for it.")
    backup_id: str | None = Field(default=None, description="The point in time.")
    size: str | None = Field(default=None, description="Size of the new volume, for people.")


KIND = base.Kind(
    kind="Restore",
    plural="restores",
    short_name="rst",
    namespaced=True,
    spec=RestoreSpec,
    status=RestoreStatus,
    description=(
        "A Restore brings a point in time back as a new PersistentVolumeClaim, which is bound "
        "only after every byte was verified and synced."
    ),
    columns=(
        *base.condition_columns("Succeeded"),
        base.Column("Progress", ".status.progress.percent", type="integer"),
        base.Column("Backup", ".spec.backupName"),
        base.Column("Claim", ".spec.target.claimName"),
        base.Column("Node", ".status.node"),
        base.message_column("Succeeded"),
    ),
    rules=(
        base.exactly_one("backupName", "point"),
        base.immutable("backupName", optional=True),
        base.immutable("point", optional=True),
        base.immutable("target"),
        base.immutable("placement", optional=True),
        base.at_most_one("node", "nodeSelector", within="placement"),
        base.Rule(
            "!has(self.point) || has(self.target.size)",
            "spec.target.size is needed when the point in time is named by its id",
        ),
    ),
    example={
        "backupName": "data-1",
        "target": {"claimName": "data-restored"},
        "placement": {"node": "node-2"},
    },
)
