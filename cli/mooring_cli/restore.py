"""`mooring restore`: a backup into an image file or block device."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from mooring.backup import devices
from mooring.backup import restore as restores
from mooring.domain import backups, errors, quantities
from mooring.planning import scrubbing
from mooring_cli import options, render

Using = Annotated[
    Path | None,
    typer.Option(
        help="An image or device with similar content, such as an older state of the volume, "
        "or the device that is restored itself: only what it does not have is fetched."
    ),
]
Size = Annotated[str | None, typer.Option(help="Size of a new file, for example 20Gi, if larger.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read everything back and compare.")]


def restore(  # noqa: PLR0913, PLR0917 - parameters are the command line
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the backup.")],
    target: Annotated[Path, typer.Argument(help="New image file, or a block device.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    using: Using = None,
    size: Size = None,
    verify: Verify = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Restores a backup; the target is whole and durable when this returns.

    A file gets its name at the end. Stopped or killed before, the same command goes on from there.
    """
    opened = options.open_repository(repo, key_file)
    backup_id = backups.parse_backup_id(name)
    size_bytes = None if size is None else quantities.parse_bytes(size)
    with contextlib.ExitStack() as stack:
        nearby = None if using is None else stack.enter_context(devices.VolumeSource(using))
        in_place = nearby is not None and nearby.is_device(target)
        model = None if in_place else nearby

        def open_target(manifest: backups.BackupManifest) -> devices.VolumeTarget:
            return devices.VolumeTarget(
                target,
                _size(manifest, size_bytes),
                replace=force,
                reuse=devices.Reuse.ALL if in_place else devices.Reuse.NOTHING,
                model=model,
            )

        watch = stack.enter_context(render.watching("restoring"))
        outcome = restores.restore(
            opened, backup_id, open_target, watch, verify=verify, nearby=model
        )
    render.show(
        {"backupId": backup_id, "target": str(target), **_described(outcome)},
        output,
    )


def _described(outcome: restores.RestoreOutcome) -> dict[str, Any]:
    return {
        "bytesTotal": outcome.manifest.volume.size_bytes,
        "bytesRead": outcome.bytes_read,
        "bytesWritten": outcome.bytes_written,
        "bytesReused": outcome.bytes_reused,
        "verified": outcome.verified,
        "suspect": scrubbing.words(outcome.manifest) or None,
        "notes": list(outcome.notes),
    }


def _size(manifest: backups.BackupManifest, wanted: int | None) -> int:
    needed = manifest.volume.size_bytes
    if wanted is not None and wanted < needed:
        raise errors.SizeOutOfRange(
            f"--size {wanted} is smaller than the backup, which needs {needed} bytes: leave it "
            "out, or say a larger one; nothing was written"
        )
    return max(needed, wanted or 0)
