"""`mooring backups`: what is in a repository."""

from typing import Any

from mooring.backup import mover
from mooring.domain import backups as domain_backups
from mooring_cli import options, render

_COLUMNS = ("backupId", "pointInTime", "volumeUid", "bytesTotal", "bytesStored", "consistency")


def backups(
    repo: options.Repo,
    key_file: options.KeyFile,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Lists the backups of a repository, oldest first."""
    opened = options.open_repository(repo, key_file)
    rows: list[dict[str, Any]] = []
    damaged = opened.damaged()
    for backup_id, found in opened.catalogue():
        if isinstance(found, domain_backups.BackupManifest):
            described = mover.describe(found)
            lost = "something of it is lost" if backup_id in damaged else ""
            suspect = f"Suspect: {described['suspect']['message']}" if described["suspect"] else ""
            problem = "; ".join(filter(None, (lost, suspect)))
            rows.append(described | ({"problem": problem} if problem else {}))
        else:
            rows.append({"backupId": backup_id, "pointInTime": "", "problem": str(found)})
    rows.sort(key=lambda row: (row["pointInTime"], row["backupId"]))
    columns = (*_COLUMNS, "problem") if any("problem" in row for row in rows) else _COLUMNS
    render.show_table(rows, columns, output)
