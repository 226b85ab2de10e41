"""Options that several commands share."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup import repository
from mooring_cli import compose, key_files, silence

Repo = Annotated[
    str,
    typer.Option(
        "--repo",
        "-r",
        envvar="MOORING_REPOSITORY",
        help="Where the repository is: a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME, "
        "azure://CONTAINER/PREFIX?account=NAME, gs://BUCKET/PREFIX. A bucket's credentials come "
        "from the environment, or from the folder $MOORING_STORE_CREDENTIALS with a file for each; "
        "$MOORING_STORE_CA_BUNDLE is a file of certificates to trust.",
    ),
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


def open_repository(
    repo: str, key_file: Path, told: silence.Told = silence.tell_people
) -> repository.Repository:
    """Opens the repository that the options name; `told` is told when its folder is silent."""
    store = compose.open_store(repo, told=told)
    return repository.open_repository(
        store, key_files.read_unlock(key_file), compose.surroundings()
    )
