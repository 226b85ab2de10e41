"""BackupSchedule: backups of some claims at certain times, and how many of them are kept."""

from typing import Literal

from pydantic import Field

from mooring.api.v1alpha1 import base
from mooring.api.v1alpha1.backups import BackupOptions
from mooring.planning.backup_schedule_plan import Concurrency

_LONGEST_LABEL = 63
_MOST_KEPT = 10000


class ClaimSelection(base.Model):
    """Which PersistentVolumeClaims are backed up; asked anew for each run."""

    names: list[base.ObjectName] | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Names of PersistentVolumeClaims; that of a VolumeClaim is its own. They may "
        "be of another CSI driver that takes snapshots.",
    )
    match_labels: dict[str, base.LabelValue] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="All claims with these labels, on them or on their VolumeClaim; also those of "
        "other CSI drivers that take snapshots.",
    )
    all: Literal[True] | None = Field(
        default=None, description="All claims of this namespace that are on Mooring's volumes."
    )


class Retention(base.Model):
    """How many backups of each claim are kept; one that any of these keeps stays."""

    last: int = Field(default=0, ge=0, le=_MOST_KEPT, description="The newest ones.")
    hourly: int = Field(
        default=0, ge=0, le=_MOST_KEPT, description="The newest of each of so many hours."
    )
    daily: int = Field(default=0, ge=0, le=_MOST_KEPT, description="The same of days.")
    weekly: int = Field(
        default=0, ge=0, le=_MOST_KEPT, description="Of weeks, which begin on Monday."
    )
    monthly: int = Field(default=0, ge=0, le=_MOST_KEPT, description="Of months.")
    yearly: int = Field(default=0, ge=0, le=_MOST_KEPT, description="Of years.")


class BackupScheduleSpec(base.Model):
    """What the user asks for."""

    schedule: str = Field(
        min_length=1,
        max_length=100,
        description="When, as cron writes it: minute, hour, day, month, weekday; or @daily.",
    )
    time_zone: str = Field(
        default="Etc/UTC",
        min_length=1,
        max_length=64,
        description="A name of the time zone database, such as Europe/Berlin.",
    )
    read_everything_schedule: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="When changed block tracking is not trusted, such as @weekly: the first run at "
        "or after each such time reads and hashes everything. A claim whose Backup of it fails has "
        "that made up for by its next one.",
    )
    claims: ClaimSelection = Field(description="What is backed up.")
    repository_name: base.ObjectName = Field(description="A BackupRepository of this namespace.")
    concurrency_policy: Concurrency = Field(
        default=Concurrency.FORBID,
        description="For a claim whose last backup still runs. Forbid: the next one waits for it "
        "until the deadline. Replace: it is ended. Allow: both run.",
    )
    parallelism: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="How many of its Backups run together; the others of a run wait for their "
        "turn, until the next run.",
    )
    starting_deadline_seconds: int = Field(
        default=3600,
        ge=10,
        le=86400,
        description="How late a run may begin; the last one that was missed is caught up.",
    )
    suspend: bool = Field(
        default=False, description="No runs; those that pass meanwhile are not caught up."
    )
    retention: Retention | None = Field(
        default=None,
        description="Which backups are kept; others are deleted with what the repository has of "
        "them, but never the newest good one of a claim. Left out, all are kept.",
    )
    failed_backups_history_limit: int = Field(
        default=3, ge=0, le=100, description="How many failed Backups of each claim are kept."
    )
    backup: BackupOptions | None = Field(default=None, description="How its Backups are made.")


class LeftOut(base.Model):
    """A claim that is selected and cannot be backed up."""

    name: str = Field(description="Name of the claim.")
    reason: str = Field(description="Why.")


class WaitingBackup(base.Model):
    """A backup that waits for others to end."""

    claim_name: str = Field(description="Of which claim.")
    run: str = Field(description="Of which run.")
    time: str = Field(description="When it was due.", json_schema_extra={"format": "date-time"})
    asked: bool = Field(description="Whether a person asked for the run.")
    queued: bool = Field(
        default=False, description="Whether it waits for its turn, and not for its claim."
    )
    everything: bool = Field(default=False, description="Whether it shall read everything.")


class LastRun(base.Model):
    """The newest run."""

    name: str = Field(description="The value of label mooring.dev/run of its Backups.")
    time: str = Field(
        description="When it was due or asked for.", json_schema_extra={"format": "date-time"}
    )
    outcome: str = Field(description="Running, Succeeded, PartlyFailed, Failed or Empty.")
    everything: bool = Field(default=False, description="Whether all of it reads everything.")
    backups: int = Field(description="How many Backups it has.")
    succeeded: int = Field(description="How many of them went well.")
    completion_time: str | None = Field(
        default=None,
        description="When the last of them ended.",
        json_schema_extra={"format": "date-time"},
    )


class BackupScheduleStatus(base.Status):
    """What became of it."""

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
        description="When the last run ended whose Backups all went well.",
        json_schema_extra={"format": "date-time"},
    )
    last_run: LastRun | None = Field(default=None, description="The newest run.")
    active: list[str] | None = Field(default=None, description="Backups that run now.")
    waiting: list[WaitingBackup] | None = Field(
        default=None, description="Backups that wait for others to end."
    )
    selected_claims: int | None = Field(
        default=None, description="How many claims would be backed up now."
    )
    selected: list[str] | None = Field(default=None, description="The first 50 of them, by name.")
    left_out: list[LeftOut] | None = Field(
        default=None, description="Claims that are selected and cannot be backed up."
    )
    good_backups: int | None = Field(
        default=None, description="How many good backups there are by this schedule."
    )
    following: str | None = Field(
        default=None, description="The schedule that is followed; empty while suspended."
    )
    following_since: str | None = Field(
        default=None,
        description="Times up to then are never caught up.",
        json_schema_extra={"format": "date-time"},
    )
    asked_runs: list[str] | None = Field(
        default=None, description="Names of the last runs that people asked for."
    )


KIND = base.Kind(
    kind="BackupSchedule",
    plural="backupschedules",
    short_name="bks",
    namespaced=True,
    spec=BackupScheduleSpec,
    status=BackupScheduleStatus,
    description=(
        "A BackupSchedule makes Backups of claims of its namespace at certain times, and deletes "
        "those that its retention does not keep. Deleting it deletes no Backup and no bytes. "
        "The annotation mooring.dev/run-now asks for a run of that name at once."
    ),
    columns=(
        *base.condition_columns("Ready"),
        base.Column("Schedule", ".spec.schedule"),
        base.Column("Zone", ".spec.timeZone", priority=1),
        base.Column("Claims", ".status.selectedClaims", type="integer"),
        base.Column("Last Run", ".status.lastRun.time", type="date"),
        base.Column("Outcome", ".status.lastRun.outcome"),
        # A date of kubectl is an age, which a time to come has none of.
        base.Column("Next Run", ".status.nextScheduleTime"),
        base.Column("Kept", ".status.goodBackups", type="integer", priority=1),
        base.message_column("Ready"),
    ),
    rules=(
        base.exactly_one("names", "matchLabels", "all", within="claims"),
        base.immutable("repositoryName"),
        base.Rule(
            "!has(self.retention) || self.retention.last + self.retention.hourly + "
            "self.retention.daily + self.retention.weekly + self.retention.monthly + "
            "self.retention.yearly > 0",
            "spec.retention keeps nothing: set at least one number, or leave it out to keep all",
        ),
    ),
    longest_name=_LONGEST_LABEL,
    example={
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
        "claims": {"matchLabels": {"app": "shop"}},
        "repositoryName": "main",
        "retention": {"last": 3, "daily": 7, "weekly": 4},
    },
)
