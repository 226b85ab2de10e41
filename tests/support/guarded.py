"""A guard as a container runs it, with a process that freezes and a writer that waits for it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Seen = TypeVar("Seen")
GUARD = (sys.executable, "-m", "mooring.adapters.host.guard")

FREEZER = """
import pathlib, sys, time
from mooring.adapters.host import freezing
lives = pathlib.Path(sys.argv[2])
with lives.open("a") as file:
    file.write("again\\n")
if len(lives.read_text().splitlines()) == 1:
    with freezing.frozen(pathlib.Path(sys.argv[1]), timeout_seconds=float(sys.argv[3])):
        time.sleep(120)
time.sleep(120)
"""
"""Freezes in its first life, and only lives in the later ones."""

WRITER = """
import os, pathlib, sys, time
data = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
shown = pathlib.Path(sys.argv[2])
longest = 0.0
before = time.monotonic()
while True:
    os.pwrite(data, b"x" * 4096, 0)
    os.fsync(data)
    now = time.monotonic()
    longest, before = max(longest, now - before), now
    temporary = shown.with_suffix(".tmp")
    temporary.write_text(f"{now} {longest}")
    temporary.rename(shown)
    time.sleep(0.01)
"""


class Writer:
    """A process that fsyncs without end in a volume, and says how long it had to wait."""

    def __init__(self, volume: Path, shown: Path) -> None:
        self._shown = shown
        argv = [sys.executable, "-c", WRITER, str(volume / "written"), str(shown)]
        self.process = subprocess.Popen(argv)
        until("the writer's first write", shown.exists, 10)

    def _figures(self) -> tuple[float, float]:
        last, longest = self._shown.read_text().split()
        return float(last), float(longest)

    def waits(self) -> bool:
        """Whether it stands still."""
        return time.monotonic() - self._figures()[0] > 0.3

    def longest_seconds(self) -> float:
        """Waits until it goes on, and returns how long its longest write took."""
        since = time.monotonic()
        until("the writer to go on", lambda: self._figures()[0] > since, 30)
        return self._figures()[1]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextmanager
def writing(volume: Path, folder: Path) -> Iterator[Writer]:
    """A writer for the time of a block."""
    writer = Writer(volume, folder / "writer")
    try:
        yield writer
    finally:
        writer.end()


class Container:
    """A guard as the first process of a process namespace.

    Args:
        arguments: What the guard is given.
        log: Gets its standard error.
    """

    def __init__(self, *arguments: object, log: Path) -> None:
        with log.open("ab") as target:
            self._outside = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", "--", *GUARD, *map(str, arguments)],
                stderr=target,
            )
        self.first = _some(until("the guard", lambda: _child_of(self._outside.pid), 10))

    def child(self) -> int:
        """Returns the process that the guard runs, as this machine counts."""
        return _some(until("the guard's child", lambda: _child_of(self.first), 10))

    def signal(self, number: int) -> None:
        """Signals the guard itself."""
        os.kill(self.first, number)

    def ends(self, timeout_seconds: float = 20) -> int:
        """Returns its exit code."""
        return self._outside.wait(timeout_seconds)

    def end(self) -> None:
        """Kills what is left of it."""
        if self._outside.poll() is None:
            os.kill(self.first, signal.SIGKILL)
            self._outside.wait(20)


def until(what: str, look: Callable[[], Seen], timeout_seconds: float) -> Seen:
    """Returns the first true answer of `look`."""
    deadline = time.monotonic() + timeout_seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {timeout_seconds:g} s for {what}"
        time.sleep(0.02)
    return seen


def _some(found: int | None) -> int:
    assert found is not None
    return found


def _child_of(process: int) -> int | None:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(found[0]) if found else None
