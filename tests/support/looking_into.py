"""`mooring mount` under way, and what must not be left of it or of an extraction."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters import registry
from support.command_line import CommandLine


def leftovers() -> set[str]:
    """What must not be there afterwards: loops, mounts, processes that look."""
    loops = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # detached meanwhile
            if path.read_text().strip().endswith("/mooring-backup"):
                loops.add(f"loop {path}")
    mounts = {
        f"mount {mount.target}"
        for mount in registry.kernel_host().mounts.table()
        if mount.target.name == "mnt" or mount.filesystem.startswith("fuse")
    }
    looking = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if b"mooring.adapters.host.images.looking" in path.read_bytes():
                looking.add(f"process {path.parent.name}")
    return loops | mounts | looking


@contextmanager
def nothing_left() -> Iterator[None]:
    before = leftovers()
    yield
    deadline = time.monotonic() + 30
    while left := leftovers() - before:
        if time.monotonic() > deadline:
            raise AssertionError(left)
        time.sleep(0.05)


class Mounting:
    """`mooring mount` under way."""

    def __init__(self, world: CommandLine, point: Path) -> None:
        self.point = point
        self.process = world.start("mount", "bk-1", point, "-o", "json")
        while not point.is_mount() and self.process.poll() is None:
            time.sleep(0.02)
        assert self.process.poll() is None, self.process.communicate()

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode
