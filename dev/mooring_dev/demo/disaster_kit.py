"""What somebody keeps outside the cluster: a recovery key, made by the command itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mooring_dev.steps import DevError


def mooring(*words: str) -> Any:
    """Runs `mooring` as a user would, and returns its JSON.

    Raises:
        DevError: It failed; its words are in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mooring_cli.main", *words, "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DevError(f"mooring {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def new_recovery_key(file: Path) -> str:
    """Makes a recovery key in a new file and returns its public half."""
    public: str = mooring("keygen", str(file))["publicKey"]
    return public
