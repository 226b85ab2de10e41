"""`mooring repo`: make a repository, look at it, check it."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import mover, repository, verify
from mooring.backup.format import slots
from mooring.domain import backups, errors, quantities
from mooring_cli import compose, options, render

app = typer.Typer(help="Make, show and check repositories.", no_args_is_help=True)
Passphrase = Annotated[
    Path | None, typer.Option(help="File with a passphrase that shall open it as well.")
]
ChunkSize = Annotated[str, typer.Option(help="Size of chunks, a power of two.")]


@app.command()
def init(
    repo: options.Repo,
    key_file: options.KeyFile,
    passphrase_file: Passphrase = None,
    chunk_size: ChunkSize = "64Ki",
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Makes a repository in a folder or bucket; makes the key file when there is none."""
    chunk_size_bytes = backups.check_chunk_size(quantities.parse_bytes(chunk_size))
    unlock_with = []
    if passphrase_file is not None:
        unlock_with.append(_read_passphrase(passphrase_file))
    store = compose.open_store(repo, create=True)
    made_key = _make_key_file(key_file)
    unlock_with.insert(0, mover.read_key_file(key_file))
    conditional = store.conditional_writes()  # which also shows that it can be written
    made = repository.initialise(store, unlock_with, compose.surroundings(), chunk_size_bytes)
    render.show(
        {
            "repositoryId": made.config.repository_id,
            "location": store.location,
            "keyFile": str(key_file),
            "keyFileMade": made_key,
            "conditionalWrites": conditional,
            "note": "keep a copy of the key file elsewhere: without it every backup is lost",
        },
        output,
    )


@app.command()
def info(
    repo: options.Repo,
    key_file: options.KeyFile,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Shows what a repository is and how much is in it."""
    opened = options.open_repository(repo, key_file)
    sizes = [blob.size_bytes for blob in opened.store.list("")]
    render.show(
        {
            "repositoryId": opened.config.repository_id,
            "location": opened.store.location,
            "format": 1,
            "createdAt": opened.config.created_at.isoformat(),
            "chunkSizeBytes": opened.config.chunk_size_bytes,
            "keySlots": [slot.get("type") for slot in opened.config.slots],
            "backups": len(opened.backup_ids()),
            "objects": len(sizes),
            "bytesStored": sum(sizes),
        },
        output,
    )


@app.command()
def check(
    repo: options.Repo,
    key_file: options.KeyFile,
    full: Annotated[bool, typer.Option("--full", help="Read and re-hash every byte.")] = False,
    backup: Annotated[str | None, typer.Option(help="Check only this backup.")] = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Checks that backups are whole; exit code 8 when one is damaged."""
    opened = options.open_repository(repo, key_file)
    with render.watching("checking") as watch:
        if backup is None:
            report = verify.check_repository(opened, watch, full=full)
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
            f"{report.problem_count} problems were found; the backups they name cannot be "
            "restored whole"
        )


def _make_key_file(path: Path) -> bool:
    """Makes a key file that only its owner may read; an existing one is left alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise errors.PermissionDenied(
            f"cannot make the key file {path}: {error.strerror}"
        ) from error
    with os.fdopen(file, "w") as stream:
        stream.write(secrets.token_hex(32) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _read_passphrase(path: Path) -> slots.Unlock:
    try:
        words = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidInput(f"cannot read a passphrase from {path}") from error
    if not words:
        raise errors.InvalidInput(f"{path} is empty: it must hold a passphrase")
    return slots.Unlock(passphrase=words)
