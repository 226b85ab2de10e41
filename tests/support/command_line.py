"""`mooring` as a process of its own, with a repository and a key in one folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class CommandLine:
    """Runs the command line; the repository is made at once, unless one is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            "PYTHONPATH": ":".join(str(ROOT / part) for part in ("engine", "cli")),
            "PATH": os.defpath,
            "MOORING_REPOSITORY": str(folder / "repo"),
            "MOORING_KEY_FILE": str(folder / "key"),
        }
        if not (folder / "repo" / "config").exists():
            self.json("repo", "init")

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", "from mooring_cli import main; main.run()", *map(str, words)],
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
