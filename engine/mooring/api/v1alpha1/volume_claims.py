"""VolumeClaim: what a user asks for, in one object that outlives pods and explains itself."""

import enum

from pydantic import Field

from mooring.api import keys
from mooring.api.v1alpha1 import base
from mooring.planning import claim_plan


class DeletionPolicy(enum.StrEnum):
    """What happens to the data when the object that asked for it is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class VolumeMode(enum.StrEnum):
    """How a pod sees the volume."""

    FILESYSTEM = "Filesystem"
    BLOCK = "Block"


class AccessMode(enum.StrEnum):
    """Who may use the volume at the same time; all are on one node."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"


class ClaimSource(base.Model):
    """What the volume's first content is copied from."""

    snapshot_name: base.ObjectName | None = Field(
        default=None,
        description="A VolumeSnapshot of this namespace; the copy is made on its node.",
    )
    volume_claim_name: base.ObjectName | None = Field(
        default=None,
        description="A PersistentVolumeClaim of this namespace; its clone is made on its node.",
    )
    backup_name: base.ObjectName | None = Field(
        default=None, description="A Backup of this namespace, to restore."
    )


class VolumeClaimSpec(base.Model):
    """What the user asks for."""

    size: base.Size = Field(description="Size of the volume. It may grow and never shrinks.")
    storage_class_name: base.ObjectName = Field(
        default=keys.DEFAULT_STORAGE_CLASS, description="A StorageClass of Mooring's driver."
    )
    volume_mode: VolumeMode = Field(
        default=VolumeMode.FILESYSTEM, description="Filesystem, or Block for a raw device."
    )
    access_mode: AccessMode = Field(
        default=AccessMode.READ_WRITE_ONCE,
        description="ReadWriteOnce: pods of one node. ReadWriteOncePod: one pod.",
    )
    source: ClaimSource | None = Field(
        default=None, description="First content; left out, the volume is empty."
    )
    placement: base.Placement | None = Field(
        default=None,
        description="Where the data shall be; left out, the first pod's node decides.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description=(
            "Retain keeps the PersistentVolumeClaim and its data when this is deleted, and the "
            "data when the claim or its namespace is."
        ),
    )


class LastBackup(base.Model):
    """The newest backup that succeeded."""

    name: str = Field(description="Name of the Backup.")
    repository_name: str = Field(description="The BackupRepository that holds it.")
    time: str = Field(
        description="The point in time that it stands for.",
        json_schema_extra={"format": "date-time"},
    )


class VolumeClaimStatus(base.Status):
    """What became of it."""

    claim_name: str | None = Field(
        default=None, description="The PersistentVolumeClaim that pods refer to."
    )
    persistent_volume_name: str | None = Field(default=None, description="The bound volume.")
    volume_id: str | None = Field(default=None, description="Mooring's id of the volume.")
    capacity: str | None = Field(default=None, description="Size that the volume has now.")
    used_bytes: int | None = Field(default=None, description="Bytes that it takes in its pool.")
    node: str | None = Field(default=None, description="The node that holds the data.")
    placement_reason: str | None = Field(default=None, description="Why the data is there.")
    last_backup: LastBackup | None = Field(default=None, description="The newest good backup.")


KIND = base.Kind(
    kind="VolumeClaim",
    plural="volumeclaims",
    short_name="vcl",
    namespaced=True,
    spec=VolumeClaimSpec,
    status=VolumeClaimStatus,
    description=(
        "A VolumeClaim asks for a volume and makes the PersistentVolumeClaim of its own name, to "
        "which pods refer as they always do. It shows where the data is and why."
    ),
    columns=(
        *base.condition_columns("Ready"),
        base.Column("Capacity", ".status.capacity"),
        base.Column("Node", ".status.node"),
        base.Column("Last Backup", ".status.lastBackup.time", type="date"),
        base.Column(
            "Protected",
            '.status.conditions[?(@.type=="Protected")].status',
            priority=1,
            description="Whether its newest good backup is as recent as was asked for.",
        ),
        base.Column("Why", ".status.placementReason", priority=1),
        base.message_column("Ready"),
    ),
    rules=(
        base.Rule("quantity(self.size).isGreaterThan(quantity('0'))", "spec.size must not be 0"),
        base.Rule(
            "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
            "spec.size cannot shrink: a volume's size only grows",
        ),
        base.immutable("storageClassName"),
        base.immutable("volumeMode"),
        base.immutable("accessMode"),
        base.immutable("source", optional=True),
        base.immutable("placement", optional=True),
        base.Rule(
            "!has(self.source) || ((has(self.source.snapshotName) ? 1 : 0) + "
            "(has(self.source.volumeClaimName) ? 1 : 0) + "
            "(has(self.source.backupName) ? 1 : 0)) == 1",
            "set exactly one of spec.source: snapshotName, volumeClaimName, backupName",
        ),
        base.at_most_one("node", "nodeSelector", within="placement"),
    ),
    longest_name=claim_plan.LONGEST_NAME,
    example={"size": "10Gi"},
)
