"""`mooring repo repair`: makes the most of what is left, and says what is lost."""

from typing import Annotated

import typer

from mooring.backup import repair as repairs
from mooring.domain import errors
from mooring_cli import options, render

Full = Annotated[bool, typer.Option("--full", help="Read every pack that is needed.")]
Drop = Annotated[
    bool, typer.Option("--drop-damaged", help="Drop the backups of which something is lost.")
]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="I make sure that no prune of it is running.")
]


def repair(
    repo: options.Repo,
    key_file: options.KeyFile,
    full: Full = False,
    drop_damaged: Drop = False,
    exclusive: Exclusive = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Rebuilds the index, saves what can be read, and marks what is lost; exit code 8 if any is.

    Put back objects that you have elsewhere first. No backup is dropped without --drop-damaged.
    """
    opened = options.open_repository(repo, key_file)
    request = repairs.RepairRequest(full=full, drop_damaged=drop_damaged, exclusive=exclusive)
    with render.watching("repairing") as watch:
        report = repairs.repair(opened, request, watch)
    damaged = [f"{backup_id}: {why}" for backup_id, why in report.damaged.items()]
    render.show(
        {
            "packsIndexed": report.packs_indexed,
            "segmentsRemoved": report.segments_removed,
            "packsGivenUp": report.packs_given_up,
            "chunksSaved": report.chunks_saved,
            "chunksLost": report.chunks_lost,
            "damagedBackups": damaged,
            "droppedBackups": list(report.dropped),
            "problems": report.problems,
        },
        output,
    )
    if len(report.damaged) > len(report.dropped):
        raise errors.DataCorrupt(
            f"something of {len(damaged)} backups is lost; what is left of them can be restored "
            "only in part, and the next backup sends again what the volume still has"
        )
