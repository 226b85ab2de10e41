"""A large index whose table does not fit into the folder for temporary files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mooring.adapters.host import commands
from mooring.backup import chunk_table
from mooring.domain import errors

pytestmark = pytest.mark.system

FILL = """
import os, sys
from mooring.backup import chunk_table
from mooring.backup.format import segments
from mooring.domain import errors
try:
    table = chunk_table.ChunkTable(400_000, mapped=sys.argv[1] == "mapped")
    for number in range(400_000):
        ident = os.urandom(32)
        table.put(table.find(ident), segments.ENTRY.pack(ident, 0, 0, 0, 0))
except errors.SpaceExhausted as error:
    print(error)
    sys.exit(7)
"""


@pytest.fixture
def small(point: Path) -> Path:
    """Room for a part of the table."""
    commands.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(point)])
    return point


@pytest.mark.parametrize("kind", ["mapped", "read"])
def test_a_table_without_room_is_an_error_and_no_signal(small: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, kind],
        env={**os.environ, "TMPDIR": str(small), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done
    assert str(small) in done.stdout
    assert "TMPDIR" in done.stdout
    assert list(small.iterdir()) == []


def test_the_room_is_taken_at_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what fills the folder later harms no table that is there."""
    monkeypatch.setattr("tempfile.tempdir", str(small))
    monkeypatch.setattr(chunk_table, "_SMALL_BYTES", 0)
    table = chunk_table.ChunkTable(20_000)
    before = os.statvfs(small)
    assert before.f_bavail * before.f_bsize < 3 << 20
    with pytest.raises(errors.SpaceExhausted):
        chunk_table.ChunkTable(80_000)
    assert os.statvfs(small).f_bavail == before.f_bavail
    del table
    assert os.statvfs(small).f_bavail == os.statvfs(small).f_blocks
