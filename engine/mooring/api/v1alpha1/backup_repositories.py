"""BackupRepository: where backups go, and the key that seals them."""

import enum
from typing import Annotated

from pydantic import Field

from mooring.api.v1alpha1 import base


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


class BackupRepositorySpec(base.Model):
    """What the user asks for."""

    directory: Directory = Field(description="The folder that holds the repository.")
    encryption: Encryption = Field(description="The key that seals it; without it nothing opens.")


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


class BackupRepositoryStatus(base.Status):
    """What the last look at it found."""

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
        base.message_column("Ready"),
    ),
    rules=(
        base.exactly_one("claimName", "folder", within="directory"),
        base.immutable("directory"),
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
