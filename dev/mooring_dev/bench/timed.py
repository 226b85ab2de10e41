"""Times a whole process: from exec to exit, and until what it wrote is on the disk.

The command is a grandchild of the benchmark, by way of a small process that measures: a child's
peak of memory includes what its parent had when it was started.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timed:
    """What a command cost.

    Attributes:
        seconds: From exec until what it wrote is durable.
        cpu_seconds: Of all its threads.
        peak_mib: Most memory that it had at a time.
        output: What it wrote to standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def timed(
    command: Sequence[str], environment: Mapping[str, str], filesystem: Path, log: Path
) -> Timed:
    """Runs a command.

    Args:
        command: What.
        environment: Beside this process's own.
        filesystem: A folder on the filesystem that is synced inside the time, and before it.
        log: Gets what the command writes to standard error.

    Raises:
        RuntimeError: The command failed.
    """
    own = [sys.executable, "-S", __file__, str(filesystem), str(log), *command]
    done = subprocess.run(
        own, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    values = json.loads(done.stdout.splitlines()[-1])
    if values.pop("status"):
        raise RuntimeError(f"{' '.join(command)} failed: {log.read_text()[-2000:]}")
    return Timed(**values)


def _main(filesystem: str, log: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None)
    folder = os.open(filesystem, os.O_RDONLY)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    output, written = os.pipe()
    libc.syncfs(folder)
    began = time.monotonic()
    actions = [(os.POSIX_SPAWN_DUP2, written, 1), (os.POSIX_SPAWN_DUP2, errors, 2)]
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    os.close(written)
    told = b""
    while piece := os.read(output, 1 << 16):
        told += piece
    _, status, usage = os.wait4(child, 0)
    libc.syncfs(folder)
    print(json.dumps({
        "status": status, "seconds": time.monotonic() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024,
        "output": told.decode(errors="replace"),
    }))  # fmt: skip


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3:])
