"""What several tests of backups need."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import syscalls
from support.faulty_bucket import proxy, server

__all__ = ["point", "proxy", "server"]


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """A folder to mount on, which is free again afterwards."""
    point = tmp_path / "mnt"
    point.mkdir()
    yield point
    with contextlib.suppress(OSError):
        syscalls.unmount_lazily(point)
