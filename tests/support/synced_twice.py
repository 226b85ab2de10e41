"""An operation that syncs by itself, in a thread, and by a program that it starts twice."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from mooring.adapters.host import commands

OWN_SYNCS = 3


def _write(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synced_twice(folder: Path) -> Callable[[], None]:
    """Returns what is broken off; the second program's sync is the last thing that it does."""

    def act() -> None:
        for number in range(OWN_SYNCS):
            _write(folder / f"own-{number}")
        thread = threading.Thread(target=_write, args=(folder / "thread",))
        thread.start()
        thread.join()
        for _ in range(2):
            commands.run(["sync", str(folder / "own-0")])
        (folder / "end").touch()

    return act
