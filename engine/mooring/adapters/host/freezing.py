"""Asking the guard for freezes; see `mooring.adapters.host.guard`.

The guard that started this process is named in the environment. Without one around, as in a
process outside Kubernetes, the first freeze starts a guard that lives as long as this process.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mooring.adapters.host import files, syscalls
from mooring.adapters.host.guard import messages, thawing
from mooring.domain import errors
from mooring.planning import freezes

_GRACE_SECONDS = 20.0
"""How long beyond a freeze's own time the guard may take to record, freeze and answer."""

_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 5.0
_ENDING_SECONDS = 2.0
"""How long the end of a freeze may take whose asker is gone."""

_PAUSE_SECONDS = 0.1
_BACKLOG = 64
_LISTENER = 3


class HeldFreeze:
    """Implements `ports.host.Freeze` over the connection that holds it."""

    def __init__(self, connection: socket.socket, mountpoint: Path) -> None:
        self._connection = connection
        self._mountpoint = mountpoint

    def extend(self, timeout_seconds: float) -> None:
        """Lets it end no sooner than this long from now; see the port."""
        _require_grantable(timeout_seconds)
        messages.say(self._connection, f"{messages.EXTEND} {timeout_seconds!r}")
        answer = _heard(self._connection, _GRACE_SECONDS)
        if answer != messages.EXTENDED:
            raise errors.HostFailure(f"the freeze of {self._mountpoint} has ended: {answer}")


@contextmanager
def frozen(
    mountpoint: Path, *, timeout_seconds: float, writers_first: bool = True
) -> Iterator[HeldFreeze]:
    """Freezes the filesystem at a mount point for the time of a `with` block; see the port."""
    _require_grantable(timeout_seconds)
    folder = files.open_folder(mountpoint)
    try:
        if writers_first:
            _write_back(folder)
        with _asked(mountpoint, folder, timeout_seconds) as connection:
            answer = _heard(connection, timeout_seconds + _GRACE_SECONDS)
            if answer != messages.FROZEN:
                raise errors.HostFailure(f"cannot freeze {mountpoint}: {answer}")
            try:
                yield HeldFreeze(connection, mountpoint)
            finally:
                ending = _release(connection, folder)
            if ending != messages.THAWED:
                raise errors.HostFailure(
                    f"{mountpoint} was thawed before the work on it ended ({ending}); "
                    "what was made is not a point in time"
                )
    finally:
        os.close(folder)


def is_frozen(mountpoint: Path) -> bool:
    """Whether a filesystem is frozen, by whomever; one that is not is frozen for a moment.

    A freeze that ends by itself within a moment is none: a guard may still be ending that of an
    asker that is gone.

    Raises:
        HostFailure: The guard does not answer.
    """
    until = time.monotonic() + _ENDING_SECONDS
    while _is_frozen_now(mountpoint):
        if time.monotonic() > until:
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _is_frozen_now(mountpoint: Path) -> bool:
    folder = files.open_folder(mountpoint)
    try:
        _write_back(folder)
        with _asked(mountpoint, folder, _LOOK_SECONDS) as connection:
            answer = _heard(connection, _LOOK_SECONDS + _GRACE_SECONDS)
            if answer == messages.FROZEN:
                _release(connection, folder)
            else:
                _wait_until_let_go(connection)
            return answer.startswith("EBUSY")
    finally:
        os.close(folder)


def thaw(mountpoint: Path) -> None:
    """Thaws a filesystem that an earlier process may have left frozen; otherwise a no-op.

    Raises:
        HostFailure: The kernel refused.
    """
    folder = files.open_folder(mountpoint)
    try:
        thawing.thaw(folder)
    except OSError as error:
        raise errors.HostFailure(f"cannot thaw {mountpoint}: {error}") from error
    finally:
        os.close(folder)


class GuardFreezes:
    """Implements `ports.host.Freezes`."""

    def frozen(
        self, mountpoint: Path, *, timeout_seconds: float, writers_first: bool = True
    ) -> AbstractContextManager[HeldFreeze]:
        """Freezes a mounted filesystem for the time of a `with` block; see the port."""
        return frozen(mountpoint, timeout_seconds=timeout_seconds, writers_first=writers_first)

    def is_frozen(self, mountpoint: Path) -> bool:
        """Whether a mounted filesystem is frozen now, by whomever; see the port."""
        return is_frozen(mountpoint)

    def thaw(self, mountpoint: Path) -> None:
        """Thaws a filesystem that an earlier process may have left frozen; see the port."""
        thaw(mountpoint)


class OwnGuard:
    """The guard of a process that none has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None
        self._lifeline: int | None = None
        self._address: str | bytes = b""

    def address(self) -> str | bytes:
        """Returns where it listens; starts it, also after its death."""
        with self._lock:
            if self._process is None or os.waitpid(self._process, os.WNOHANG)[0]:
                self._start()
            return self._address

    def _start(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
        # Its end of file tells the guard that this process is gone.
        read_end, self._lifeline = os.pipe()
        with messages.make_socket() as listener:
            listener.bind("")  # the kernel picks a name, which goes with the socket
            listener.listen(_BACKLOG)
            self._address = listener.getsockname()
            inherited = [
                (os.POSIX_SPAWN_DUP2, read_end, 0),
                (os.POSIX_SPAWN_DUP2, listener.fileno(), _LISTENER),
            ]
            module = ("-m", "mooring.adapters.host.guard")
            self._process = os.posix_spawn(
                sys.executable,
                [sys.executable, *module, "--listener", str(_LISTENER)],
                os.environ,
                file_actions=inherited,
                setsid=True,
            )
        os.close(read_end)


_own_guard = OwnGuard()


def _write_back(folder: int) -> None:
    """Or writers would wait for it while frozen. What fails here fails in the freeze again."""
    with contextlib.suppress(OSError):
        syscalls.write_back(folder)


@contextmanager
def _asked(mountpoint: Path, folder: int, timeout_seconds: float) -> Iterator[socket.socket]:
    """Asks the guard for a freeze; the end of the block ends what became of it."""
    address = os.environ.get(messages.SOCKET_VARIABLE) or _own_guard.address()
    with messages.make_socket() as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(address)
            messages.ask(connection, messages.Request(str(mountpoint), timeout_seconds, folder))
        except OSError as error:
            raise errors.HostFailure(
                f"cannot freeze {mountpoint}: the guard does not answer: {error}"
            ) from error
        yield connection


def _require_grantable(timeout_seconds: float) -> None:
    if not freezes.is_grantable(timeout_seconds):
        raise errors.InvalidInput(
            f"a freeze needs a timeout above 0 and at most {freezes.LONGEST_SECONDS:g} seconds, "
            f"not {timeout_seconds:g}"
        )


def _heard(connection: socket.socket, timeout_seconds: float) -> str:
    """Returns the guard's next word, or what stands for its silence."""
    word = messages.hear(connection, timeout_seconds)
    if word is None:
        return "the guard did not answer in time"
    return word or "the guard ended without a word"


def _release(connection: socket.socket, folder: int) -> str:
    messages.say(connection, messages.THAW)
    began = time.monotonic()
    answer = _heard(connection, _GRACE_SECONDS)
    while answer == messages.EXTENDED:  # of an extension that nobody waited for
        answer = _heard(connection, _GRACE_SECONDS)
    if answer in {messages.THAWED, messages.EXPIRED}:
        _wait_until_let_go(connection)
        return answer
    # It was killed, or hangs: if the freeze still stands, all that was done inside is sound.
    gone = time.monotonic() - began < _GRACE_SECONDS
    return messages.THAWED if thawing.thaw(folder) and gone else answer


def _wait_until_let_go(connection: socket.socket) -> None:
    """Waits until the guard closed the folder; until then the filesystem cannot be unmounted."""
    messages.hear(connection, _GRACE_SECONDS)  # it ends the connection last
