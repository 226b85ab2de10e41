"""The freezes that the guard holds: one connection and one thread each.

A thread of its own for each, because the kernel may take long to freeze one filesystem, and that
must not delay the thaw of another.
"""

import contextlib
import errno
import os
import socket
import threading
import time

from mooring.adapters.host import syscalls
from mooring.adapters.host.guard import messages, thawing
from mooring.adapters.host.guard.notes import note
from mooring.adapters.host.guard.records import FreezeRecords
from mooring.planning import freezes

_REQUEST_SECONDS = 5.0


class HeldFreezes:
    """What is frozen now.

    Args:
        records: Where each freeze is recorded before it begins; None records nowhere.
    """

    def __init__(self, records: FreezeRecords | None) -> None:
        self._records = records
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._closed = False

    def serve(self, connection: socket.socket) -> None:
        """Serves one connection, in the background."""
        with self._changed:
            if self._closed:
                connection.close()
                return
            self._connections.add(connection)
        threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def end_all(self) -> None:
        """Begins to end every freeze that is held or on its way."""
        with self._changed:
            for connection in self._connections:
                # Its thread reads the end of the connection, which ends the freeze.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Begins to end every freeze, and grants no more."""
        with self._changed:
            self._closed = True
        self.end_all()

    def wait_until_none(self, timeout_seconds: float) -> bool:
        """Returns whether nothing is frozen any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout_seconds)

    def _run(self, connection: socket.socket) -> None:
        try:
            self._converse(connection)
        except (OSError, ValueError) as error:
            note("a freeze failed", "warning", error=str(error))
            messages.say(connection, str(error))
        finally:
            with self._changed:
                self._connections.discard(connection)
                connection.close()
                self._changed.notify_all()

    def _converse(self, connection: socket.socket) -> None:
        if not messages.comes_from_own_user(connection):
            return
        connection.settimeout(_REQUEST_SECONDS)
        request = messages.receive_request(connection)
        try:
            ending = self._refusal(request) or self._hold(connection, request)
        finally:
            os.close(request.folder)
        # Not before: who hears it may unmount, and an open folder would be in the way.
        messages.say(connection, ending)

    def _refusal(self, request: messages.Request) -> str | None:
        if not freezes.is_grantable(request.timeout_seconds):
            return f"no freeze is granted for {request.timeout_seconds:g} seconds"
        if self._records is not None and self._records.lies_in(request.folder):
            return "the guard's own records lie in that filesystem"
        return None

    def _hold(self, connection: socket.socket, request: messages.Request) -> str:
        """Records, freezes, waits for the end, thaws; returns what became of it."""
        recorded = freezes.Freeze(
            request.mountpoint,
            os.fstat(request.folder).st_dev,
            time.monotonic() + request.timeout_seconds,
        )
        key = self._records.new_key() if self._records is not None else ""
        self._record(key, recorded)
        ending = messages.EXPIRED
        try:
            syscalls.freeze(request.folder)
        except OSError as error:
            self._forget(key)
            return f"{errno.errorcode.get(error.errno or 0)}: {error.strerror}"
        try:
            if time.monotonic() < recorded.deadline_seconds:
                messages.say(connection, messages.FROZEN)
                ending = self._until_told(connection, key, recorded)
        finally:
            was_frozen = self._thaw(key, request)
        return ending if was_frozen else messages.EXPIRED

    def _until_told(self, connection: socket.socket, key: str, recorded: freezes.Freeze) -> str:
        """Returns how a freeze ends, when it ends."""
        while (left_seconds := recorded.deadline_seconds - time.monotonic()) > 0:
            word, _, argument = (messages.hear(connection, left_seconds) or "").partition(" ")
            if word != messages.EXTEND:
                return messages.THAWED if word == messages.THAW else messages.EXPIRED
            timeout_seconds = float(argument)
            if not freezes.is_grantable(timeout_seconds):
                return messages.EXPIRED
            deadline_seconds = time.monotonic() + timeout_seconds
            recorded = freezes.Freeze(recorded.mountpoint, recorded.device, deadline_seconds)
            self._record(key, recorded)
            messages.say(connection, messages.EXTENDED)
        return messages.EXPIRED

    def _thaw(self, key: str, request: messages.Request) -> bool:
        """Thaws; a record that stays makes the second watcher, or the next guard, try again."""
        try:
            was_frozen = thawing.thaw(request.folder)
        except OSError as error:
            note("cannot thaw", "error", mountpoint=request.mountpoint, error=str(error))
            return False
        self._forget(key)
        return was_frozen

    def _record(self, key: str, freeze: freezes.Freeze) -> None:
        if self._records is not None:
            self._records.put(key, freeze)

    def _forget(self, key: str) -> None:
        if self._records is not None:
            self._records.remove(key)
