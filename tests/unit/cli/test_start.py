"""What a command loads: a backup shall not wait for what others need."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("kubernetes", "obstore", "pydantic", "rich", "structlog", "yaml")
PROGRAM = """
import sys
from mooring_cli import main
try:
    main.run()
finally:
    print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_backup_into_a_folder_and_back_loads_nothing_slow(tmp_path: Path, command: str) -> None:
    (tmp_path / "image").write_bytes(b"content" * 100_000)
    where = ("--repo", str(tmp_path / "repo"), "--key-file", str(tmp_path / "key"))
    _mooring("repo", "init", *where)
    loaded = _mooring("backup", str(tmp_path / "image"), "--id", "bk-1", "-o", "json", *where)
    if command == "restore":
        loaded = _mooring("restore", "bk-1", str(tmp_path / "back"), *where)
        assert (tmp_path / "back").read_bytes() == (tmp_path / "image").read_bytes()
    assert not loaded & set(SLOW)
    assert {"mooring", "zstandard"} <= loaded


def _mooring(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())
