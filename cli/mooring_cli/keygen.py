"""`mooring keygen`: a recovery key, whose file stays outside the cluster."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mooring.backup.format import recovery_keys
from mooring_cli import key_files, options, render

File = Annotated[Path, typer.Argument(metavar="FILE", help="Where its secret half shall lie.")]


def keygen(
    file: File,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Makes a recovery key: the secret half into a new file, the public half for repositories."""
    secret = secrets.token_bytes(32)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    key_files.write_new(file, recovery_keys.identity_file(secret, created))
    public = recovery_keys.public_of(secret)
    render.show(
        {
            "publicKey": recovery_keys.format_public(public),
            "fingerprint": recovery_keys.fingerprint(public),
            "file": str(file),
            "next": "keep the file outside the cluster, in two places; put the public key into "
            "spec.encryption.recoveryKeys of each BackupRepository, or: mooring repo keys add "
            "--recovery-key KEY",
        },
        output,
    )
