"""What is said between the guard and who asks it for a freeze: one connection a freeze.

The request carries the open root folder of the filesystem, so that guard and asker mean the same
one whatever their mount tables show. The guard answers `frozen`, or why not. `extend <seconds>`
moves the deadline from now (`extended`), `thaw` ends the freeze (`thawed`); both are answered with
`expired` when it had ended before. A closed connection ends the freeze.
"""

import array
import json
import os
import socket
from dataclasses import dataclass

SOCKET_VARIABLE = "MOORING_GUARD_SOCKET"
"""Names the guard's socket to the process that it runs."""

SOCKET_NAME = "guard.sock"
FROZEN = "frozen"
EXTENDED = "extended"
THAWED = "thawed"
EXPIRED = "expired"
EXTEND = "extend"
THAW = "thaw"
_LONGEST_BYTES = 8192


@dataclass(frozen=True)
class Request:
    """A wish for a freeze.

    Attributes:
        mountpoint: Where the filesystem is mounted; for the record and the log.
        timeout_seconds: After which it ends by itself.
        folder: Descriptor of its root folder; the receiver closes it.
    """

    mountpoint: str
    timeout_seconds: float
    folder: int


def make_socket() -> socket.socket:
    """Returns a socket of the kind that guard and askers use."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def ask(connection: socket.socket, request: Request) -> None:
    """Sends the request that a connection begins with."""
    content = {"mountpoint": request.mountpoint, "timeoutSeconds": request.timeout_seconds}
    socket.send_fds(connection, [json.dumps(content).encode()], [request.folder])


def receive_request(connection: socket.socket) -> Request:
    """Receives the request that a connection begins with.

    Raises:
        ValueError: It is not one; nothing of it is left open.
    """
    flags = socket.MSG_CMSG_CLOEXEC
    content, ancillary, _, _ = connection.recvmsg(
        _LONGEST_BYTES, socket.CMSG_SPACE(2 * array.array("i").itemsize), flags
    )
    folders = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            folders.frombytes(data[: len(data) - len(data) % folders.itemsize])
    try:
        fields = json.loads(content)
        request = Request(
            str(fields["mountpoint"]), float(fields["timeoutSeconds"]), *folders.tolist()
        )
    except (ValueError, TypeError, KeyError) as error:
        for folder in folders:
            os.close(folder)
        raise ValueError(f"no request for a freeze: {error!r}") from error
    return request


def say(connection: socket.socket, word: str) -> None:
    """Says one word; nobody there to hear it is no error."""
    try:
        connection.send(word.encode(), socket.MSG_NOSIGNAL)
    except OSError:
        return


def hear(connection: socket.socket, timeout_seconds: float) -> str | None:
    """Returns the other side's next word, an empty one when it is gone, None when time is up."""
    connection.settimeout(max(timeout_seconds, 1e-3))
    try:
        return connection.recv(_LONGEST_BYTES).decode(errors="replace")
    except TimeoutError:
        return None
    except ConnectionError:
        return ""


def comes_from_own_user(connection: socket.socket) -> bool:
    """Whether the other side runs as the user that this process runs as."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return array.array("i", raw)[1] == os.geteuid()
