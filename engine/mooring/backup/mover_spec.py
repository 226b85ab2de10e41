"""What the operator tells a mover Job: one document per command, mounted as a file.

Fields are camelCase in the file. Unknown fields are refused, so that an older mover never ignores
what a newer operator meant.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import yaml
from pydantic.alias_generators import to_camel

from mooring.domain import backups, errors, store_locations
from mooring.planning import backup_parents, scrubbing

MAXIMUM_SPEC_BYTES = 8 << 20
MAXIMUM_RECOVERY_KEYS = 16
_SCRUB_PERIOD_SECONDS = int(scrubbing.DEFAULT_PERIOD.total_seconds())
_Size = Annotated[int, pydantic.Field(gt=0, le=backups.MAXIMUM_VOLUME_SIZE_BYTES)]


class _Document(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class RepositorySpec(_Document):
    """Where the repository is and what opens it.

    Attributes:
        type: Kind of store.
        path: `directory`: the folder, as the mover's container sees it.
        url: `bucket`: see `store_locations`.
        credentials: `bucket`: the folder with files of credentials.
        ca_bundle: `bucket`: a file with further certificates to trust.
        key_file: File with the key; see `slots.parse_key_file`.
        repository_id: The repository that has to be there; None for any.
        initialize: `probe` only: make the repository when there is none.
        chunk_size_bytes: For a repository that is made; None for the default.
    """

    type: Literal["directory", "bucket"] = "directory"
    path: Path | None = None
    url: str | None = None
    credentials: Path | None = None
    ca_bundle: Path | None = None
    key_file: Path
    repository_id: backups.RepositoryId | None = None
    initialize: bool = False
    chunk_size_bytes: int | None = None

    def location(self) -> store_locations.StoreLocation:
        """Returns where the repository is.

        Raises:
            InvalidInput: It says nothing of that kind, or no location.
        """
        if self.type == "directory" and self.path is not None:
            return store_locations.FolderLocation(str(self.path))
        if self.type == "bucket" and self.url is not None:
            return store_locations.parse(self.url)
        needed = "path" if self.type == "directory" else "url"
        raise errors.InvalidInput(f"repository.{needed} is missing in the mover's spec")


class MoverSpec(_Document):
    """What every command needs.

    Attributes:
        repository: See `RepositorySpec`.
        progress_interval_seconds: Least time between two lines of progress.
        termination_message_path: Where the kubelet reads the result; None to write none.
        bytes_per_second: Most bytes that a backup reads a second; None for as quickly as it can.
    """

    repository: RepositorySpec
    progress_interval_seconds: Annotated[float, pydantic.Field(ge=0, le=3600)] = 1.0
    termination_message_path: Path | None = Path("/dev/termination-log")
    bytes_per_second: Annotated[int, pydantic.Field(gt=0)] | None = None


class ProbeSpec(MoverSpec):
    """`mooring mover probe`: can the repository be opened, read and written?

    Attributes:
        recovery_keys: Public halves of recovery keys; slots for them are added where missing.
    """

    recovery_keys: Annotated[list[str], pydantic.Field(max_length=MAXIMUM_RECOVERY_KEYS)] = (
        pydantic.Field(default_factory=list)
    )


class VolumeSpec(_Document):
    """Facts of the volume; see `domain.backups.VolumeFacts`.

    What is left out is read from the device: its size, and filesystem and UUID from the superblock.

    Attributes:
        foreign_mode: Of a volume of another driver: what kind it is. All the rest is read from the
            device, and one of mode Filesystem has to hold a whole filesystem.
    """

    uid: Annotated[str, pydantic.Field(min_length=1, max_length=backups.MAXIMUM_VOLUME_UID_LENGTH)]
    size_bytes: _Size | None = None
    sector_size_bytes: Annotated[int, pydantic.Field(gt=0, le=1 << 20)] = 4096
    filesystem: str | None = None
    filesystem_uuid: str | None = None
    foreign_mode: Literal["Filesystem", "Block"] | None = None


class BackupSpec(MoverSpec):
    """`mooring mover backup`.

    Attributes:
        device: What to read; a block device or a file.
        backup_id: Chosen by the operator. When this backup exists, that is success.
        volume: Facts of the volume.
        parent: A backup's id, `latest`, or null to compare with nothing.
        point_in_time: When the snapshot was taken; None for now.
        consistency: `Crash`, `Filesystem` or `Application`.
        chunk_size_bytes: None for the parent's, or the repository's default.
        documents: Kubernetes objects to keep with the backup, by role.
        changes: File that lists what changed in the device since a backup; None for none.
        scrub_period_seconds: In which all that did not change is read again once; 0 for never.
        doubt_tracking: Whether everything is read and compared, whatever tracking says, because
            the disk lost something elsewhere.
        read_everything: The same, because the user asks for it.
        accept_suspect: Whether what is suspect since earlier backups is taken as it is now.
    """

    device: Path = Path("/dev/mooring-volume")
    backup_id: str
    volume: VolumeSpec
    parent: str | None = backup_parents.LATEST
    point_in_time: pydantic.AwareDatetime | None = None
    consistency: backups.Consistency = backups.Consistency.CRASH
    chunk_size_bytes: int | None = None
    documents: dict[str, Any] = pydantic.Field(default_factory=dict)
    changes: Path | None = None
    scrub_period_seconds: Annotated[int, pydantic.Field(ge=0)] = _SCRUB_PERIOD_SECONDS
    doubt_tracking: bool = False
    read_everything: bool = False
    accept_suspect: bool = False

    def moment(self, now: datetime) -> datetime:
        """Returns the moment that the content stands for."""
        return self.point_in_time or now


class RestoreSpec(MoverSpec):
    """`mooring mover restore`.

    Attributes:
        device: What to fill.
        backup_id: From which backup.
        verify: Whether to read everything back and compare after the sync.
    """

    device: Path = Path("/dev/mooring-volume")
    backup_id: str
    verify: bool = False


class ForgetSpec(MoverSpec):
    """`mooring mover forget`: removes a backup from the catalogue; absent is success."""

    backup_id: str


class ListSpec(MoverSpec):
    """`mooring mover list`: one page of what the repository holds of a namespace.

    Attributes:
        namespace: Backups of claims of another one are left out.
        after: The page begins behind this backup; None for the first.
        limit: Most backups that one page looks at.
    """

    namespace: Annotated[str, pydantic.Field(min_length=1, max_length=63)]
    after: str | None = None
    limit: Annotated[int, pydantic.Field(gt=0, le=1000)] = 100


class PruneSpec(MoverSpec):
    """`mooring mover prune`: frees what no backup needs.

    Attributes:
        maximum_duration_seconds: After it nothing new is begun; None for no limit.
    """

    maximum_duration_seconds: Annotated[int, pydantic.Field(gt=0)] | None = None


class CheckSpec(MoverSpec):
    """`mooring mover check`: are the backups whole?

    Attributes:
        parts: Reads one part of so many, another one each day; None reads structure alone.
    """

    parts: Annotated[int, pydantic.Field(ge=1, le=10_000)] | None = None


S = TypeVar("S", bound=MoverSpec)


def read_spec(path: Path, model: type[S]) -> S:
    """Reads a spec file, JSON or YAML.

    Raises:
        InvalidInput: It is missing, or does not say what the command needs.
    """
    try:
        if path.stat().st_size > MAXIMUM_SPEC_BYTES:
            raise errors.InvalidInput(f"{path} is larger than {MAXIMUM_SPEC_BYTES} bytes")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model.model_validate_json(_as_json(values))
    except OSError as error:
        raise errors.InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise errors.InvalidInput(f"{path} is neither JSON nor YAML") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise errors.InvalidInput(f"{path}: {where}: {first['msg']}") from error


def _as_json(values: object) -> bytes:
    return pydantic.TypeAdapter(Any).dump_json(values)
