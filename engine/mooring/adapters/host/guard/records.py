"""Records of what is frozen, for whoever has to thaw it when the guard is gone.

Each is on the disk before its freeze begins. The guard locks the folder for its whole life, so
that the lock being free tells that no guard lives.
"""

import fcntl
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mooring.adapters.host import files
from mooring.adapters.host.guard.notes import note
from mooring.planning import freezes

_SUFFIX = ".json"
_LOCK = "lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FreezeRecords:
    """The records of one node, in a folder that no freeze ever reaches.

    Args:
        folder: Made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = files.open_folder(folder)
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._numbers = itertools.count(1)
        self._lock = os.open(
            _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder
        )

    def become_guard(self, patience_seconds: float) -> bool:
        """Takes the folder for the life of this process; False when another guard has it."""
        deadline = time.monotonic() + patience_seconds
        while not self._try(fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        files.remove_leftovers(self._folder)
        return True

    @contextmanager
    def without_guard(self) -> Iterator[bool]:
        """Tells whether no guard lives, and lets none begin until the end of the block."""
        free = self._try(fcntl.LOCK_SH)
        try:
            yield free
        finally:
            if free:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def new_key(self) -> str:
        """Returns a key that no record of this boot has."""
        return f"{os.getpid()}-{time.monotonic_ns()}-{next(self._numbers)}"

    def put(self, key: str, freeze: freezes.Freeze) -> None:
        """Writes or replaces one record, and returns when it is on the disk."""
        content = {
            "bootId": self._boot_id,
            "mountpoint": freeze.mountpoint,
            "device": freeze.device,
            "deadlineSeconds": freeze.deadline_seconds,
        }
        files.write_durably(self._folder, f"{key}{_SUFFIX}", json.dumps(content).encode())

    def remove(self, key: str) -> None:
        """Removes one record; an absent one is no error."""
        files.remove_durably(self._folder, f"{key}{_SUFFIX}")

    def all(self) -> dict[str, freezes.Freeze]:
        """Returns what is recorded as frozen since the kernel started, by key.

        Records of an earlier boot are removed: its freezes went with it.
        """
        found = {}
        for name in files.names(self._folder):
            if not name.endswith(_SUFFIX) or name.startswith("."):
                continue
            key = name.removesuffix(_SUFFIX)
            content = files.read(self._folder, name)
            try:
                fields = json.loads(content or b"{}")
                freeze = freezes.Freeze(
                    str(fields["mountpoint"]),
                    int(fields["device"]),
                    float(fields["deadlineSeconds"]),
                )
            except (ValueError, TypeError, KeyError) as error:
                if content is not None:
                    note("a record of a freeze is unreadable", "error", key=key, error=repr(error))
                continue
            if fields.get("bootId") == self._boot_id:
                found[key] = freeze
            else:
                self.remove(key)
        return found

    def lies_in(self, folder: int) -> bool:
        """Whether the records are in the filesystem of an open folder."""
        return os.fstat(self._folder).st_dev == os.fstat(folder).st_dev

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
