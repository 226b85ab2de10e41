"""`mooring repair-block`: what the disk lost of a volume, put back from a repository."""

from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import block_repair, block_targets
from mooring.domain import backups, errors
from mooring_cli import compose, options, render

_COLUMNS = ("offsetBytes", "lengthBytes", "good", "state")
Offset = Annotated[
    int | None, typer.Option(min=0, help="Only the suspect place with this byte of the volume.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only look, and say what can be mended.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite-changed",
        help="Write the suspect bytes also where the volume was written to since they were sound.",
    ),
]


def repair_block(  # noqa: PLR0913, PLR0917 - parameters are the command line
    name: Annotated[str, typer.Argument(metavar="BACKUP", help="Id of the Suspect backup.")],
    target: Annotated[Path, typer.Argument(help="The volume: image file or block device.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    offset: Offset = None,
    dry_run: DryRun = False,
    overwrite_changed: Overwrite = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Puts the suspect places of a backup back into its volume, from the backup held for them.

    Nobody may use the volume: what is mounted or attached is refused. Take the newest Suspect
    backup. What was written is read back from the disk; the next backup finds the volume sound.
    """
    opened = options.open_repository(repo, key_file)
    manifest = opened.manifest(backups.parse_backup_id(name))
    request = block_repair.BlockRequest(offset, dry_run, overwrite_changed)
    with (
        render.watching("mending", measured=False) as watch,
        block_targets.BlockTarget(target, compose.carriers_of) as opened_target,
    ):
        repaired = list(block_repair.repair_blocks(opened, manifest, opened_target, request, watch))
    rows = [
        {
            "offsetBytes": one.offset_bytes,
            "lengthBytes": one.length_bytes,
            "good": ", ".join(one.good),
            "state": str(one.state),
        }
        for one in repaired
    ]
    render.show_table(rows, _COLUMNS, output)
    left = sum(one.state is block_repair.BlockState.CHANGED for one in repaired)
    if left:
        raise errors.PreconditionFailed(
            f"{left} chunks were left alone: they have been written to since they were sound, or "
            f"since backup {name}. Make a new backup and mend from that one, or look at what they "
            "hold and write the suspect bytes all the same with --overwrite-changed"
        )
