"""Backup: one point in time of one volume, kept in a repository."""

from typing import Annotated, Any

from pydantic import Field

from mooring.api.v1alpha1 import base
from mooring.api.v1alpha1.volume_claims import DeletionPolicy
from mooring.domain.backups import Scope
from mooring.domain.quantities import parse_bytes

MINIMUM_FREEZE_SECONDS = 1
MAXIMUM_FREEZE_SECONDS = 60
Rate = Annotated[
    str,
    Field(max_length=10, pattern=r"^[1-9][0-9]*(k|M|G|Ki|Mi|Gi)?$", examples=["50Mi"]),
]


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
    bytes_per_second: Rate | None = Field(
        default=None,
        description="Most that is read of the volume in a second, such as 50Mi; left out, as much "
        "as node and repository can do.",
    )
    reading: Scope = Field(
        default=Scope.CHANGED,
        description="Changed reads what changed block tracking names, or everything where nothing "
        "is tracked. Everything reads and hashes all of the volume, whatever tracking says, and "
        "sends what differs; what differs although tracking says that nobody wrote it makes the "
        "Backup Suspect.",
    )
    scrub_period_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description=(
            "In so many days all that did not change is read again once, by a part in each backup, "
            "and compared with the backup before. 0 for never."
        ),
    )
    volume_snapshot_class_name: base.ObjectName | None = Field(
        default=None,
        description="For a claim of another CSI driver: the VolumeSnapshotClass of its snapshot. "
        "Left out, it is the driver's default one.",
    )

    def limit(self) -> int | None:
        """Returns the most bytes to read in a second."""
        return None if self.bytes_per_second is None else parse_bytes(self.bytes_per_second)


class BackupSpec(BackupOptions):
    """What the user asks for."""

    source: BackupSource = Field(description="The volume.")
    repository_name: base.ObjectName = Field(description="A BackupRepository of this namespace.")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="Delete also removes this point in time from the repository.",
    )
    accept_suspect: bool = Field(
        default=False,
        description=(
            "Somebody looked at what is suspect since earlier Backups, and takes it as it is now."
        ),
    )


class Progress(base.Model):
    """How far the mover is."""

    percent: int | None = Field(default=None, ge=0, le=100, description="Of the volume's bytes.")
    bytes_total: int | None = Field(default=None, description="Size of the volume.")
    bytes_read: int | None = Field(default=None, description="Read from the volume.")
    bytes_sent: int | None = Field(default=None, description="Sent to the repository, or written.")
    bytes_stored: int | None = Field(default=None, description="Added to the repository.")
    bytes_scrubbed: int | None = Field(
        default=None, description="Read although it had not changed, and compared."
    )
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


class SuspectPlace(base.Model):
    """Bytes that are not what they were, although nobody is known to have written them."""

    offset_bytes: int = Field(ge=0, description="The first of them, in the volume.")
    length_bytes: int = Field(ge=0, description="How many, from there to the last.")
    good: str = Field(max_length=63, description="Id of a backup with the content of before.")
    good_at: str = Field(max_length=40, description="The point in time that it stands for.")


class Suspicion(base.Model):
    """What the disk of a volume has lost, or tracking has missed."""

    message: str = Field(max_length=2000, description="In words.")
    place_count: int = Field(ge=1, description="In how many places.")
    fresh: bool = Field(default=False, description="Whether this backup found one of them.")
    places: list[SuspectPlace] | None = Field(
        default=None, max_length=8, description="The first of them."
    )
    holds: list[str] | None = Field(
        default=None,
        max_length=8,
        description="Ids of the backups with the content of before; they are kept.",
    )


class BackupStatus(RunStatus):
    """What became of it."""

    backup_id: str | None = Field(default=None, description="Names it in the repository.")
    parent: str | None = Field(
        default=None, description="`backupId` of the backup that it was compared with."
    )
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
    reading: str | None = Field(
        default=None,
        description="Changed: only what changed block tracking named was read. Everything: all of "
        "it was read and hashed, asked for or not. Absent where an earlier attempt had made the "
        "backup.",
    )
    reading_reason: str | None = Field(default=None, description="Why everything was read.")
    imported: bool | None = Field(
        default=None, description="Whether it was found in the repository, not made here."
    )
    manifests: dict[str, Any] | None = Field(
        default=None,
        description="Of an imported one: the claim and StorageClass as they were, by role.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    pool: str | None = Field(default=None, description="The pool of the volume.")
    read_whole: bool | None = Field(
        default=None, description="Whether all of the volume was looked at, changed or not."
    )
    suspect: Suspicion | None = Field(
        default=None, description="Why it is Suspect; see its condition of that name."
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
        base.Column("Suspect", '.status.conditions[?(@.type=="Suspect")].status', priority=1),
        base.Column("Node", ".status.node", priority=1),
        base.Column("Reading", ".status.reading", priority=1),
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
