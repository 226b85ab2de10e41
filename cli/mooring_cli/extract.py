"""`mooring extract`: single files and folders out of a volume's backup."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import lazy_image, progress
from mooring.domain import backups
from mooring.planning import scrubbing
from mooring_cli import compose, options, render, silence

Scratch = Annotated[
    Path | None,
    typer.Option(
        help="Folder for what the replay of the filesystem's journal writes, at most as much as "
        "the journal; gone at the end. The system's temporary folder by default."
    ),
]


def open_image(
    name: str,
    repo: str,
    key_file: Path,
    scratch: Path | None,
    told: silence.Told = silence.tell_and_wait,
) -> tuple[lazy_image.LazyImage, backups.BackupManifest]:
    """Opens a backup as an image; `told` is told when its folder is silent."""
    opened = options.open_repository(repo, key_file, told)
    manifest = opened.manifest(backups.parse_backup_id(name))
    folder = scratch or Path(tempfile.gettempdir())
    return lazy_image.LazyImage(opened, manifest, folder), manifest


def extract(  # noqa: PLR0913, PLR0917 - parameters are the command line
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the backup.")],
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Files or folders in the volume.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Existing folder that gets the copies.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    scratch: Scratch = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Copies files and folders out of a backup of a filesystem, without restoring it whole.

    Only what is read is fetched. Owners, modes, times, links, holes and attributes of users are
    kept; set-user-id bits, device nodes and sockets are left out, and said. It needs root.
    """
    image, manifest = open_image(name, repo, key_file, scratch, silence.tell_people)
    with image, render.watching("extracting", measured=False) as watch:

        def stopped(copied: int) -> bool:
            watch.report(progress.Progress(0, done=copied))
            return watch.cancelled()

        extracted = compose.image_views().extract(
            image, manifest.volume.filesystem or "", paths, to, stopped
        )
    render.show(
        {
            "backupId": manifest.backup_id,
            "target": str(to),
            "files": extracted.files,
            "bytesCopied": extracted.bytes,
            "bytesRead": image.bytes_read,
            "notes": [*extracted.notes, *filter(None, [scrubbing.words(manifest)])],
        },
        output,
    )
