"""`mooring restore`: a backup into an image file or block device."""

from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import devices
from mooring.backup import restore as restores
from mooring.domain import backups
from mooring_cli import options, render


def restore(  # noqa: PLR0913, PLR0917 - parameters are the command line
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the backup.")],
    target: Annotated[Path, typer.Argument(help="New image file, or a block device.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything back and compare.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Restores a backup; the target is whole and durable when this returns."""
    opened = options.open_repository(repo, key_file)
    backup_id = backups.parse_backup_id(name)

    def open_target(manifest: backups.BackupManifest) -> devices.VolumeTarget:
        return devices.VolumeTarget(target, manifest.volume.size_bytes, replace=force)

    with render.watching("restoring") as watch:
        outcome = restores.restore(opened, backup_id, open_target, watch, verify=verify)
    render.show(
        {
            "backupId": backup_id,
            "target": str(target),
            "bytesTotal": outcome.manifest.volume.size_bytes,
            "bytesRead": outcome.bytes_read,
            "bytesWritten": outcome.bytes_written,
            "verified": outcome.verified,
        },
        output,
    )
