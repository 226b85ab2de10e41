"""The mover as a process of its own, so that a test can kill or measure it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# The kernel's maximum for a child begins with that of the process it was forked from, so the
# mover itself says what its own memory reached.
_MEASURED = """
import pathlib, sys
from mooring_cli import main
try:
    main.run()
finally:
    pathlib.Path(sys.argv[-1] + ".status").write_text(pathlib.Path("/proc/self/status").read_text())
"""
_PATH = ":".join(str(ROOT / folder) for folder in ("engine", "cli"))


class MoverFolder:
    """A folder with a repository, a key and whatever a mover is told to use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        self.repository.mkdir()
        self.key_file = folder / "key"
        self.key_file.write_bytes(bytes(range(32)))

    def start(self, command: str, prelude: str = "", **fields: Any) -> "subprocess.Popen[str]":
        """Starts `mooring mover <command>`, after some lines of Python.

        Of its spec `repository` and the message's path are filled in.
        """
        extra = fields.pop("repository", {})
        repository = {"path": str(self.repository), "keyFile": str(self.key_file), **extra}
        spec = {
            "repository": repository,
            "terminationMessagePath": str(self.folder / "termination-log"),
            **fields,
        }
        path = self.folder / f"{command}.json"
        path.write_text(json.dumps(spec))
        return subprocess.Popen(
            [sys.executable, "-c", prelude + _MEASURED, "mover", command, "--spec", str(path)],
            env={"PYTHONPATH": _PATH, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, prelude: str = "", **fields: Any) -> dict[str, Any]:
        """Runs a command that must succeed and returns its result."""
        code, message = self.attempt(command, prelude, **fields)
        assert code == 0, message
        return message

    def attempt(self, command: str, prelude: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
        """Runs a command and returns exit code and result."""
        with self.start(command, prelude, **fields) as process:
            out, err = process.communicate(timeout=240)
        assert not err, err
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
        return process.returncode, result

    def peak_kib(self, command: str) -> int:
        """Returns the largest resident memory of the last run of a command that ended by itself."""
        status = (self.folder / f"{command}.json.status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1])
