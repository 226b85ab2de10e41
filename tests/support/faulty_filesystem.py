"""A folder whose system calls fail or hang when a test says so, as those of a network mount do."""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CALLS = (
    "open", "pread", "write", "fsync", "fstat", "stat", "link", "rename", "unlink", "mkdir",
    "scandir", "utime", "fchmod", "close",
)  # fmt: skip
OF_FCNTL = ("flock",)


class FaultyFilesystem:
    """Stands between Python and the kernel for what lies below one folder.

    Attributes:
        calls: Names of the calls, in order.
        fault: Told name and number of each call, from 0, before the kernel is; may raise or wait.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = str(folder)
        self.calls: list[str] = []
        self.fault: Callable[[str, int], None] | None = None
        self._lock = threading.Lock()
        self._readlink, self._close = os.readlink, os.close
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        for name in OF_FCNTL:
            monkeypatch.setattr(fcntl, name, self._wrapped(name, getattr(fcntl, name)))

    def fail_at(self, number: int, error: int, *, all_after: bool = False) -> None:
        """Lets one call fail, counted from now, or all from that one on."""

        def fault(_: str, at: int) -> None:
            if at == number or (all_after and at > number):
                raise OSError(error, os.strerror(error))

        self.begin(fault)

    def begin(self, fault: Callable[[str, int], None] | None = None) -> None:
        """Counts anew."""
        with self._lock:
            self.calls, self.fault = [], fault

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if self._is_below(arguments, options) and (name != "close" or _writes(*arguments)):
                with self._lock:
                    number, fault = len(self.calls), self.fault
                    self.calls.append(name)
                if fault is not None:
                    self._meet(fault, name, number, arguments)
            return call(*arguments, **options)

        return wrapper

    def _meet(
        self, fault: Callable[[str, int], None], name: str, number: int, arguments: tuple[Any, ...]
    ) -> None:
        try:
            fault(name, number)
        except OSError:
            if name == "close":
                self._close(*arguments)  # it is gone whatever close says
            raise

    def _is_below(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        for place in (options.get("dir_fd"), options.get("src_dir_fd"), *arguments[:1]):
            if isinstance(place, int):
                try:
                    path = self._readlink(f"/proc/self/fd/{place}")
                except OSError:
                    continue
            elif isinstance(place, str | os.PathLike):
                path = os.fspath(place)
            else:
                continue
            if str(path).startswith(self.folder):
                return True
        return False


def _writes(file: int) -> bool:
    """Tells whether a file may be written to: only then has a mount something to say at its end."""
    return fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
