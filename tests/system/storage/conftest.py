"""Nodes with real loop devices, mounts and filesystems; nothing of them outlives a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import real_storage
from support.real_storage import Machine


@pytest.fixture
def scratch() -> Iterator[Path]:
    with real_storage.scratch() as folder:
        yield folder


@pytest.fixture
def machine(scratch: Path) -> Iterator[Machine]:
    """A node with an embedded pool of 3 GiB."""
    made = Machine(scratch / "a")
    yield made
    made.opener.close()
