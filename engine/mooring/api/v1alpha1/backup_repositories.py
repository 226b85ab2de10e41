"""BackupRepository: where backups go, and the key that seals them."""

import enum
from typing import Annotated

from pydantic import Field

from mooring.api.v1alpha1 import base
from mooring.domain.store_locations import BucketLocation, Service

BucketName = Annotated[
    str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$")
]
Prefix = Annotated[
    str, Field(max_length=512, pattern=r"^([A-Za-z0-9._=+@-]+(/[A-Za-z0-9._=+@-]+)*)?$")
]
Endpoint = Annotated[str, Field(max_length=512, pattern=r"^https?://[^ ?#@]+$")]
Word = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
CaBundle = Annotated[str, Field(max_length=65536, pattern=r"^\s*-----BEGIN CERTIFICATE-----")]


def _stays(place: str, *names: str) -> base.Rule:
    """Returns the rule that a bucket is the same for ever; how it is reached may change."""
    same = " && ".join(f"self.{place}.{name} == oldSelf.{place}.{name}" for name in names)
    present = f"has(self.{place}) == has(oldSelf.{place})"
    return base.Rule(
        f"{present} && (!has(self.{place}) || ({same}))",
        f"spec.{place}: {', '.join(names)} cannot be changed; make a new object instead",
    )


class Directory(base.Model):
    """A folder that movers can mount."""

    claim_name: base.ObjectName | None = Field(
        default=None,
        description="A PersistentVolumeClaim of this namespace to keep it in. The nodes of the "
        "volumes that go there have to be able to mount it.",
    )
    folder: base.ObjectName | None = Field(
        default=None,
        description="A name from the administrator's list of folders; never a path.",
    )


class Bucket(base.Model):
    """What every service's bucket has."""

    prefix: Prefix = Field(
        default="",
        description="The part of it that holds the repository, such as `team-a/volumes`.",
    )
    endpoint: Endpoint | None = Field(
        default=None, description="URL of the server; left out for the service's own."
    )
    credentials_secret_name: base.ObjectName = Field(
        description="A Secret of this namespace with the credentials; movers mount it, and read it "
        "again when it changes."
    )
    ca_bundle: CaBundle | None = Field(
        default=None,
        description="Certificates in PEM that the server's is signed by, besides the public ones.",
    )


class S3(Bucket):
    """A bucket of S3, or of a server that speaks it.

    The Secret has `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`.
    """

    bucket: BucketName = Field(description="Name of the bucket.")
    region: Word | None = Field(default=None, description="Its region; left out for us-east-1.")
    virtual_hosted: bool = Field(
        default=False, description="Whether the bucket is a part of the host's name."
    )

    def location(self) -> BucketLocation:
        """Returns where it is."""
        return BucketLocation(
            Service.S3, self.bucket, self.prefix, self.endpoint, self.region, self.virtual_hosted
        )


class Azure(Bucket):
    """A container of Azure Blob Storage.

    The Secret has `AZURE_STORAGE_ACCOUNT_KEY`, or `AZURE_STORAGE_SAS_TOKEN`, or `AZURE_CLIENT_ID`,
    `AZURE_CLIENT_SECRET` and `AZURE_TENANT_ID`.
    """

    container: BucketName = Field(description="Name of the container.")
    account: Word = Field(description="The storage account.")

    def location(self) -> BucketLocation:
        """Returns where it is."""
        return BucketLocation(
            Service.AZURE, self.container, self.prefix, self.endpoint, account=self.account
        )


class Gcs(Bucket):
    """A bucket of Google Cloud Storage.

    The Secret has `GOOGLE_SERVICE_ACCOUNT_KEY`, the JSON of a service account's key.
    """

    bucket: BucketName = Field(description="Name of the bucket.")

    def location(self) -> BucketLocation:
        """Returns where it is."""
        return BucketLocation(Service.GCS, self.bucket, self.prefix, self.endpoint)


class Recovery(enum.StrEnum):
    """Whether something outside the cluster has to open the repository."""

    REQUIRED = "Required"
    NONE = "None"


RecoveryKey = Annotated[
    str, Field(min_length=75, max_length=75, pattern=r"^mooring-recovery-[a-z2-7]{58}$")
]


class Encryption(base.Model):
    """The key, and what opens the repository when the cluster is lost."""

    key_secret_name: base.ObjectName = Field(
        description="A Secret of this namespace; its entry `key` is 32 random bytes."
    )
    recovery_keys: list[RecoveryKey] = Field(
        default_factory=list,
        max_length=16,
        description="Public recovery keys, as `mooring keygen` prints them; the cluster adds a key "
        "slot for each that has none. Taking one out of the list removes no slot.",
    )
    recovery: Recovery = Field(
        default=Recovery.REQUIRED,
        description="Required: not Ready until the repository has a key slot for recovery, of a "
        "recovery key or a passphrase. None waives that.",
    )


class Upkeep(base.Model):
    """When something is done about a repository."""

    schedule: str = Field(
        min_length=1, max_length=100, description="When, as a BackupSchedule writes it."
    )
    time_zone: str = Field(
        default="Etc/UTC",
        min_length=1,
        max_length=64,
        description="A name of the time zone database, such as Europe/Berlin.",
    )


class Prune(Upkeep):
    """When what no backup needs is freed."""

    maximum_duration_seconds: int = Field(
        default=7200, ge=60, le=604800, description="After it nothing new is begun."
    )


class Check(Upkeep):
    """When backups are checked."""

    parts: int | None = Field(
        default=None,
        ge=1,
        le=10000,
        description="Reads and re-hashes one part of so many of what is held, another one each "
        "day. Left out, only structure and sizes are looked at.",
    )


class BackupRepositorySpec(base.Model):
    """What the user asks for."""

    directory: Directory | None = Field(
        default=None, description="A folder that holds the repository."
    )
    s3: S3 | None = Field(
        default=None,
        description="A bucket of S3, or of a server that speaks it. The Secret has "
        "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`.",
    )
    azure: Azure | None = Field(
        default=None,
        description="A container of Azure Blob Storage. The Secret has "
        "`AZURE_STORAGE_ACCOUNT_KEY`, or `AZURE_STORAGE_SAS_TOKEN`, or `AZURE_CLIENT_ID`, "
        "`AZURE_CLIENT_SECRET` and `AZURE_TENANT_ID`.",
    )
    gcs: Gcs | None = Field(
        default=None,
        description="A bucket of Google Cloud Storage. The Secret has "
        "`GOOGLE_SERVICE_ACCOUNT_KEY`, the JSON of a service account's key.",
    )
    encryption: Encryption = Field(description="The key that seals it; without it nothing opens.")

    prune: Prune | None = Field(
        default=None,
        description="Frees what no backup needs: marked by one run, deleted by one at least 24 "
        "hours later. Without it nothing is freed.",
    )
    check: Check | None = Field(default=None, description="Checks that backups are whole.")

    def bucket(self) -> S3 | Azure | Gcs | None:
        """Returns the bucket that is named; None when it is in a folder."""
        return self.s3 or self.azure or self.gcs


class Listing(base.Model):
    """How far the Backups that it holds are shown as objects."""

    done: bool = Field(default=False, description="Whether all pages were read.")
    after: str | None = Field(default=None, description="The last backup of the last page.")
    imported: int | None = Field(default=None, description="Backup objects made.")
    skipped: int | None = Field(
        default=None, description="Of no claim, of another namespace, or not readable."
    )
    request: str | None = Field(
        default=None, description="The annotation mooring.dev/list that it answers."
    )
    last_try_time: str | None = Field(
        default=None,
        description="When a page was last asked for in vain.",
        json_schema_extra={"format": "date-time"},
    )
    message: str | None = Field(default=None, description="Why it is not done.")


class UpkeepRun(base.Model):
    """The last run of an upkeep."""

    time: str = Field(description="When it was due.", json_schema_extra={"format": "date-time"})
    outcome: str = Field(description="Running, Succeeded or Failed.")
    completion_time: str | None = Field(
        default=None, description="When it ended.", json_schema_extra={"format": "date-time"}
    )
    reason: str | None = Field(default=None, description="Why it failed, in one word.")
    message: str | None = Field(default=None, description="What it did, or why it failed.")


class UpkeepStatus(base.Model):
    """How an upkeep stands."""

    next_schedule_time: str | None = Field(
        default=None, description="The next run.", json_schema_extra={"format": "date-time"}
    )
    last_schedule_time: str | None = Field(
        default=None,
        description="The last scheduled time that was run.",
        json_schema_extra={"format": "date-time"},
    )
    last_successful_time: str | None = Field(
        default=None,
        description="When it last went well.",
        json_schema_extra={"format": "date-time"},
    )
    last_run: UpkeepRun | None = Field(default=None, description="The newest run.")
    following: str | None = Field(default=None, description="The schedule that is followed.")
    following_since: str | None = Field(
        default=None,
        description="Times up to then are never caught up.",
        json_schema_extra={"format": "date-time"},
    )
    message: str | None = Field(default=None, description="Why its schedule is not followed.")


class BackupRepositoryStatus(base.Status):
    """What the last look at it found."""

    prune: UpkeepStatus | None = Field(default=None, description="How its pruning stands.")
    check: UpkeepStatus | None = Field(default=None, description="How its checks stand.")
    size: str | None = Field(
        default=None, description="What it held after it was last pruned, for people."
    )
    size_bytes: int | None = Field(default=None, description="The same in bytes.")

    listing: Listing | None = Field(
        default=None, description="Backups made elsewhere, shown here as objects."
    )

    repository_id: str | None = Field(default=None, description="Made with the repository.")
    recovery_slots: list[str] | None = Field(
        default=None,
        description="Key slots for recovery, as `type:fingerprint`; `mooring repo keys list` shows "
        "the same fingerprints.",
    )
    first_ready_time: str | None = Field(
        default=None,
        description="When it was Ready for the first time.",
        json_schema_extra={"format": "date-time"},
    )
    last_check_time: str | None = Field(
        default=None,
        description="When it was last opened.",
        json_schema_extra={"format": "date-time"},
    )
    probed: str | None = Field(
        default=None, description="The generation and key that were last tried."
    )


KIND = base.Kind(
    kind="BackupRepository",
    plural="backuprepositories",
    short_name="bkr",
    namespaced=True,
    spec=BackupRepositorySpec,
    status=BackupRepositoryStatus,
    description=(
        "A BackupRepository is a place that backups of this namespace go to. Deleting it removes "
        "no bytes of the repository."
    ),
    columns=(
        *base.condition_columns("Ready"),
        base.Column("Repository", ".status.repositoryId", priority=1),
        base.Column("Checked", ".status.lastCheckTime", type="date"),
        base.Column("Size", ".status.size", description="When it was last pruned."),
        base.Column("Pruned", ".status.prune.lastSuccessfulTime", type="date"),
        base.Column("Verified", ".status.check.lastSuccessfulTime", type="date"),
        base.message_column("Ready"),
    ),
    rules=(
        base.exactly_one("directory", "s3", "azure", "gcs"),
        base.exactly_one("claimName", "folder", within="directory", optional=True),
        base.immutable("directory", optional=True),
        _stays("s3", "bucket", "prefix"),
        _stays("azure", "account", "container", "prefix"),
        _stays("gcs", "bucket", "prefix"),
    ),
    example={
        "directory": {"folder": "backups"},
        "encryption": {
            "keySecretName": "backup-key",
            "recoveryKeys": [
                "mooring-recovery-thisisnokeyputheretheonethatmooringkeygenprintedaaaaaaaaaa"
            ],
        },
    },
)
