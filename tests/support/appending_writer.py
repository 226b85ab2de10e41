"""A writer that fills a file, MiB by MiB, and a check that all it was told is on the disk is there.

It runs as a process of its own, and ends with 1 at the first error. How many blocks are on the
disk goes into the log, on another disk, after each fsync.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BLOCK_BYTES = 1 << 20


def block(number: int) -> bytes:
    """Returns the only right content of a block."""
    return hashlib.shake_128(b"%d" % number).digest(BLOCK_BYTES)


class Appender:
    """A running writer.

    Args:
        path: The file, which is made.
        log: Where it says what was acknowledged, on another disk.
        count: How many blocks it writes in the end.
        synced_every: How many it writes between two fsyncs.
        rest_seconds: How long it rests after each block.
    """

    def __init__(
        self,
        path: Path,
        log: Path,
        count: int,
        synced_every: int = 1,
        rest_seconds: float = 0.0,
    ) -> None:
        self.path, self.log = path, log
        arguments = (str(path), str(log), str(count), str(synced_every), str(rest_seconds))
        self._process = subprocess.Popen([sys.executable, __file__, *arguments])

    def acknowledged(self) -> int:
        """How many blocks were acknowledged so far."""
        return int(self.log.read_text() or "0") if self.log.exists() else 0

    def written(self) -> int:
        """How many blocks it has written, acknowledged or not."""
        return self.path.stat().st_size // BLOCK_BYTES if self.path.exists() else 0

    def has_ended(self) -> int | None:
        """Returns its exit code; None while it writes."""
        return self._process.poll()

    def ends(self, timeout_seconds: float = 120) -> int:
        """Waits for its end; returns the exit code."""
        return self._process.wait(timeout_seconds)

    def kill(self) -> None:
        """Kills it; it ends as soon as it does not wait in the kernel."""
        if self.has_ended() is None:
            self._process.send_signal(signal.SIGKILL)

    def wrong_blocks(self) -> list[int]:
        """Returns which of the acknowledged blocks are not as they were written."""
        with self.path.open("rb") as file:
            return [
                number
                for number in range(self.acknowledged())
                if file.read(BLOCK_BYTES) != block(number)
            ]


def _append(path: Path, log: Path, count: int, synced_every: int, rest_seconds: float) -> None:
    with path.open("wb", buffering=0) as file:
        for number in range(count):
            assert file.write(block(number)) == BLOCK_BYTES
            if (number + 1) % synced_every == 0 or number + 1 == count:
                os.fsync(file.fileno())
                temporary = log.with_suffix(".tmp")
                temporary.write_text(str(number + 1))
                temporary.rename(log)
            time.sleep(rest_seconds)


if __name__ == "__main__":
    _append(
        Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    )
