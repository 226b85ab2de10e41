"""`mooring mount`: a volume's backup as a folder to look around in."""

from pathlib import Path
from typing import Annotated

import typer

from mooring_cli import compose, extract, options, render, stopping


def mount(
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the backup.")],
    mountpoint: Annotated[Path, typer.Argument(help="Existing, empty folder.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    scratch: extract.Scratch = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Mounts a backup of a filesystem read-only, until Ctrl-C or `umount MOUNTPOINT`.

    Only what is read is fetched. It needs root.
    """
    image, manifest = extract.open_image(name, repo, key_file, scratch)
    told = {"shown": False, "busy": False}

    def stopped(busy: bool) -> bool:
        if not told["shown"]:
            told["shown"] = True
            render.show(
                {
                    "backupId": manifest.backup_id,
                    "mountpoint": str(mountpoint),
                    "filesystem": manifest.volume.filesystem,
                    "note": f"read-only; Ctrl-C or `umount {mountpoint}` ends it",
                },
                output,
            )
        if busy and not told["busy"]:
            told["busy"] = True
            typer.echo(f"{mountpoint} is in use: it ends when nobody uses it", err=True)
        return asked.is_set()

    with image, stopping.asked_only() as asked:
        compose.image_views().show(image, manifest.volume.filesystem or "", mountpoint, stopped)
