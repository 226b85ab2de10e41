"""Options that several commands share."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import repository
from mooring_cli import compose, key_files

Repo = Annotated[
    Path,
    typer.Option("--repo", "-r", envvar="MOORING_REPOSITORY", help="Folder of the repository."),
]
KeyFile = Annotated[
    Path,
    typer.Option(
        "--key-file",
        "-k",
        envvar="MOORING_KEY_FILE",
        help="File with its key or with a recovery key; `-` asks for a passphrase.",
    ),
]


class OutputFormat(enum.StrEnum):
    """How a result is written."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to write the result.")]


def open_repository(repo: Path, key_file: Path) -> repository.Repository:
    """Opens the repository that the options name."""
    store = compose.open_store(repo)
    return repository.open_repository(
        store, key_files.read_unlock(key_file), compose.surroundings()
    )
