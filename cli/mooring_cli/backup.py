"""`mooring backup`: an image file or block device into a repository."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import mooring
from mooring.backup import capture, devices, mover
from mooring.domain import backups
from mooring.planning import backup_parents
from mooring_cli import options, render

NO_PARENT = "none"


def backup(  # noqa: PLR0913, PLR0917 - parameters are the command line
    source: Annotated[Path, typer.Argument(help="Image file or block device.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    name: Annotated[str | None, typer.Option("--id", help="Id of the backup.")] = None,
    parent: Annotated[
        str, typer.Option(help="Compare with this backup, the `latest`, or `none`.")
    ] = backup_parents.LATEST,
    volume: Annotated[
        str | None, typer.Option(help="Identity of the volume; its path by default.")
    ] = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Backs up an image file or block device; nobody may write to it meanwhile."""
    opened = options.open_repository(repo, key_file)
    now = datetime.now(UTC)
    with devices.VolumeSource(source) as reading:
        found = mover.identify(reading) or (None, None)
        request = capture.BackupRequest(
            backup_id=backups.parse_backup_id(
                name or f"{now:%Y%m%dt%H%M%Sz}-{secrets.token_hex(4)}"
            ),
            volume=backups.VolumeFacts(
                uid=_identity(source) if volume is None else backups.check_volume_uid(volume),
                size_bytes=reading.size_bytes,
                filesystem=found[0],
                filesystem_uuid=found[1],
            ),
            point_in_time=now,
            parent=None if parent == NO_PARENT else parent,
            tool_version=mooring.__version__,
        )
        with render.watching("backing up") as watch:
            outcome = capture.back_up(opened, reading, request, watch)
    described = mover.describe(outcome.manifest)
    render.show({**described, "existed": outcome.existed, "notes": list(outcome.notes)}, output)


def _identity(source: Path) -> str:
    """Returns what stands for a source when nobody named its volume: its path."""
    path = str(source.resolve())
    readable = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"file:{readable}"
