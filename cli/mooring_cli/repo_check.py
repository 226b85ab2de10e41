"""`mooring repo check`: are the backups of a repository whole?"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mooring.backup import inspection, verify
from mooring.domain import backups, errors
from mooring_cli import options, render

Full = Annotated[bool, typer.Option("--full", help="Read and re-hash every byte.")]
Share = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help="Read one part of so many, another one each day."),
]
Part = Annotated[
    int | None, typer.Option(min=0, help="Read this part, from 0, and not that of the day.")
]
Backup = Annotated[str | None, typer.Option(help="Check only this backup.")]


def check(  # noqa: PLR0913, PLR0917 - parameters are the command line
    repo: options.Repo,
    key_file: options.KeyFile,
    full: Full = False,
    share: Share = None,
    part: Part = None,
    backup: Backup = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Checks that backups are whole; exit code 8 when one is damaged."""
    chosen = _share(share, part)
    if backup is not None and chosen is not None:
        raise errors.InvalidInput("--share is of a whole repository: leave --backup out")
    opened = options.open_repository(repo, key_file)
    with render.watching("checking") as watch:
        if backup is None:
            report = inspection.check_repository(opened, watch, full=full, share=chosen)
        else:
            backup_id = backups.parse_backup_id(backup)
            report = verify.check_backup(opened, backup_id, watch, full=full)
    render.show(
        {
            "healthy": report.healthy,
            "backups": report.backups,
            "chunks": report.chunks,
            "bytesRead": report.bytes_read,
            "problems": report.problems,
            "problemCount": report.problem_count,
        },
        output,
    )
    if not report.healthy:
        raise errors.DataCorrupt(
            f"{report.problem_count} problems were found; backups that are damaged cannot be "
            "restored whole. `mooring repo repair` mends what can be mended"
        )


def _share(share: int | None, part: int | None) -> inspection.Share | None:
    if share is None:
        if part is not None:
            raise errors.InvalidInput("--part needs --share: say of how many parts")
        return None
    if part is None:
        return inspection.Share.of_the_day(share, datetime.now(UTC))
    return inspection.Share(share, part)
