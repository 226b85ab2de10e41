"""The command `mooring-guard`; see the package for its forms."""

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mooring.adapters.host.guard import messages, thawing
from mooring.adapters.host.guard.first_process import FirstProcess
from mooring.adapters.host.guard.holding import HeldFreezes
from mooring.adapters.host.guard.notes import note
from mooring.adapters.host.guard.records import FreezeRecords
from mooring.adapters.host.guard.standby import Standby

_LOCK_SECONDS = 3.0
"""The standby holds the lock while it thaws; a guard that lives holds it for good."""

_BACKLOG = 64


def run() -> NoReturn:
    """Runs the command and ends the process."""
    sys.exit(guard(sys.argv[1:]))


def guard(arguments: Sequence[str]) -> int:
    """Runs one form of the guard; returns the exit code."""
    parser = argparse.ArgumentParser("mooring-guard", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where freezes are recorded and asked for")
    parser.add_argument("--standby", action="store_true", help="end what a dead guard left frozen")
    parser.add_argument("--listener", type=int, help="an inherited listening socket")
    parser.add_argument("command", nargs="*", help="what is run, after a --")
    given = parser.parse_args(arguments)
    if given.standby and given.folder is not None and not given.command:
        return Standby(given.folder).run()
    if given.listener is not None and not given.command:
        listener = socket.socket(fileno=given.listener)
        return FirstProcess((), HeldFreezes(None), listener).run(lifeline=sys.stdin.fileno())
    if not given.command or given.standby:
        parser.error("give a command to run after --, or --standby with a --folder")
    if given.folder is None:
        return FirstProcess(given.command, HeldFreezes(None)).run()
    return _with_freezes(given.folder, given.command)


def _with_freezes(folder: Path, command: Sequence[str]) -> int:
    records = FreezeRecords(folder)
    if not records.become_guard(_LOCK_SECONDS):
        note("another guard has this folder; this one ends", "error", folder=str(folder))
        return 1
    _thaw_all(records)
    path = folder / messages.SOCKET_NAME
    path.unlink(missing_ok=True)  # only a dead guard's: the lock is ours
    listener = messages.make_socket()
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(_BACKLOG)
    environment = {messages.SOCKET_VARIABLE: str(path)}
    return FirstProcess(command, HeldFreezes(records), listener, environment).run()


def _thaw_all(records: FreezeRecords) -> None:
    """Ends what an earlier guard left frozen."""
    for key, freeze in records.all().items():
        try:
            was_frozen = thawing.thaw_recorded(freeze)
        except OSError as error:
            # The record stays: the second watcher tries again, once it is mounted somewhere.
            note("cannot thaw", "error", mountpoint=freeze.mountpoint, error=str(error))
            continue
        note("thawed", "warning", mountpoint=freeze.mountpoint, was_frozen=was_frozen)
        records.remove(key)
