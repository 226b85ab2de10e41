"""`mooring` as a process of its own, with a repository and a key in one folder."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class CommandLine:
    """Runs the command line; the repository is made at once, unless one is there already.

    Args:
        folder: For key and repository.
        environment: Says something else, such as a repository in a bucket.
        before: Python that runs in the process before the command.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str] | None = None, *, before: str = ""
    ) -> None:
        self.folder = folder
        self._script = f"{before}\nfrom mooring_cli import main; main.run()"
        self._environment = {
            "PYTHONPATH": ":".join(str(ROOT / part) for part in ("engine", "cli")),
            "PATH": os.defpath,
            "MOORING_REPOSITORY": str(folder / "repo"),
            "MOORING_KEY_FILE": str(folder / "key"),
            **(environment or {}),
        }
        if not (folder / "repo" / "config").exists():
            self.json("repo", "init")

    def with_environment(self, environment: Mapping[str, str]) -> "CommandLine":
        """The same, where some variables are others; makes nothing."""
        other = copy.copy(self)
        other._environment = self._environment | environment
        return other

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", self._script, *map(str, words)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words)
        out, err = process.communicate()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *words: str | Path) -> Any:
        done = self.run(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def fails(self, *words: str | Path) -> tuple[int, str]:
        done = self.run(*words)
        assert done.returncode != 0, done.stdout
        return done.returncode, done.stderr
