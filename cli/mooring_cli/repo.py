"""`mooring repo`: make a repository and look at it; check, prune, repair are beside."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import key_ring, mover, repository
from mooring.domain import backups, errors, quantities
from mooring_cli import (
    compose,
    key_files,
    options,
    prune,
    render,
    repo_check,
    repo_keys,
    repo_repair,
)

app = typer.Typer(help="Make, show, check, prune and repair repositories.", no_args_is_help=True)
app.command("check")(repo_check.check)
app.command("prune")(prune.prune)
app.command("repair")(repo_repair.repair)
app.add_typer(repo_keys.app, name="keys")
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
        unlock_with.append(key_files.read_passphrase(passphrase_file))
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
            "keySlots": [
                slot.type for slot in key_ring.read_slots(opened.store, opened.config).slots
            ],
            "backups": len(opened.backup_ids()),
            "objects": len(sizes),
            "bytesStored": sum(sizes),
        },
        output,
    )


def _make_key_file(path: Path) -> bool:
    """Makes a key file that only its owner may read; an existing one is left alone."""
    try:
        key_files.write_new(path, secrets.token_hex(32) + "\n")
    except errors.AlreadyExists:
        return False
    return True
