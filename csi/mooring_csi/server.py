"""A gRPC server on a unix socket that nobody can steal.

gRPC lets a second server take over a path, and the first then unlinks the second's socket. So a
lock file beside the socket is held for the server's whole life, and only its holder removes what
a killed process left behind.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path

import grpc

from mooring.domain import errors

_WORKERS = 24
_OPTIONS = (("grpc.max_receive_message_length", 4 << 20),)
_LONGEST_SOCKET_PATH_BYTES = 107

Register = Callable[[grpc.Server], None]


class SocketServer:
    """One server on one socket."""

    def __init__(
        self,
        socket: Path,
        register: Sequence[Register],
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self._socket = socket
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="csi"),
            interceptors=tuple(interceptors),
            options=_OPTIONS,
        )
        for add in register:
            add(self._server)
        self._lock: int | None = None

    def start(self) -> None:
        """Takes the lock, binds and serves.

        Raises:
            InUse: Another process serves on this socket.
            HostFailure: The socket cannot be made.
        """
        path = str(self._socket)
        if len(path.encode()) > _LONGEST_SOCKET_PATH_BYTES:
            raise errors.HostFailure(f"the socket's path is too long for the kernel: {path}")
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(self._socket)
        self._socket.unlink(missing_ok=True)
        before = os.umask(0o117)  # the socket gets mode 0660
        try:
            self._server.add_insecure_port(f"unix:{path}")
            self._server.start()
        except RuntimeError as error:
            raise errors.HostFailure(f"cannot listen on {path}") from error
        finally:
            os.umask(before)

    def stop(self, grace_seconds: float) -> None:
        """Takes no more calls, and gives those under way some time to end."""
        self._server.stop(grace_seconds).wait()
        self._socket.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def socket_path(endpoint: str) -> Path:
    """Reads a CSI endpoint: `unix:///path`, `unix:/path` or a plain path.

    Raises:
        InvalidInput: It is no absolute path of a unix socket.
    """
    path = Path(endpoint.removeprefix("unix://").removeprefix("unix:"))
    if not path.is_absolute():
        raise errors.InvalidInput(f"the endpoint {endpoint!r} is not of the form unix:///path")
    return path


def _lock(socket: Path) -> int:
    descriptor = os.open(f"{socket}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise errors.InUse(f"another process serves on {socket}") from error
    return descriptor
