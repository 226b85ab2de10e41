"""A writer whose every block says which write of which block it is, and a check of them all.

It runs as a process of its own. A block's number of writes goes into the log only after the fsync
that acknowledged it, so after whatever happens each block must hold at least what the log says,
and nothing that was never written.
"""

import hashlib
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 4096
_HEAD = struct.Struct("=QQ")
_LOG_ENTRY = struct.Struct("=QQ")


def block(number: int, version: int) -> bytes:
    """Returns the only right content of the n-th write of a block; version 0 is all zeros."""
    if version == 0:
        return bytes(BLOCK_BYTES)
    head = _HEAD.pack(number, version)
    return head + hashlib.shake_128(head).digest(BLOCK_BYTES - len(head))


def wrong_blocks(path: Path, log: Path, count: int) -> list[str]:
    """Says what is wrong with each block of a file that does not hold what it must."""
    acknowledged: dict[int, int] = {}
    content = log.read_bytes()
    for offset in range(0, len(content) - len(content) % _LOG_ENTRY.size, _LOG_ENTRY.size):
        number, version = _LOG_ENTRY.unpack_from(content, offset)
        acknowledged[number] = version
    assert acknowledged, "nothing was acknowledged"
    wrong = []
    with path.open("rb") as file:
        for number in range(count):
            found = file.read(BLOCK_BYTES)
            _, version = _HEAD.unpack_from(found)
            if found != block(number, version):
                wrong.append(f"block {number} holds what was never written")
            elif version < acknowledged.get(number, 0):
                wrong.append(f"block {number} lost write {acknowledged[number]}, has {version}")
    return wrong


class Writer:
    """A running writer.

    Args:
        path: The file, whose blocks are all there.
        log: Where it says what was acknowledged, on another disk.
        count: Blocks of the file.
    """

    def __init__(self, path: Path, log: Path, count: int) -> None:
        self.path, self.log, self.count = path, log, count
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(path), str(log), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "writing\n"

    def acknowledged(self) -> int:
        """How many writes were acknowledged so far."""
        return self.log.stat().st_size // _LOG_ENTRY.size

    def wait_for_more(self, count: int = 20, timeout_seconds: float = 10) -> None:
        """Waits until so many more writes were acknowledged."""
        wanted, deadline = self.acknowledged() + count, time.monotonic() + timeout_seconds
        while self.acknowledged() < wanted:
            assert time.monotonic() < deadline, "the writer does not go on"
            assert self._process.poll() is None, "the writer met an error"
            time.sleep(0.01)

    def stop(self) -> int:
        """Ends it; returns its exit code: 0, or 1 if it met an error."""
        self._process.communicate()
        return self._process.returncode

    def wrong_blocks(self) -> list[str]:
        """Says what is wrong; see the function."""
        return wrong_blocks(self.path, self.log, self.count)


@contextmanager
def writing(path: Path, log: Path, count: int) -> Iterator[Writer]:
    """A writer for the time of a block; at its end it must have met no error, and all is right."""
    writer = Writer(path, log, count)
    try:
        yield writer
    finally:
        code = writer.stop()
    assert code == 0
    assert writer.wrong_blocks() == []


def fill(path: Path, count: int) -> None:
    """Writes version 1 of every block, durably."""
    with path.open("wb") as file:
        for number in range(count):
            file.write(block(number, 1))
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, log: Path, count: int) -> int:
    versions = dict.fromkeys(range(count), 1)
    dice = random.Random(1)
    with path.open("r+b", buffering=0) as file, log.open("wb", buffering=0) as told:
        sys.stdout.write("writing\n")
        sys.stdout.flush()
        os.set_blocking(0, False)
        while sys.stdin.buffer.read(1) != b"":
            number = dice.randrange(count)
            versions[number] += 1
            try:
                os.pwrite(file.fileno(), block(number, versions[number]), number * BLOCK_BYTES)
                os.fsync(file.fileno())
            except OSError:
                return 1
            told.write(_LOG_ENTRY.pack(number, versions[number]))
    return 0


if __name__ == "__main__":
    sys.exit(_write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
