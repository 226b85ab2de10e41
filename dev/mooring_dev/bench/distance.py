"""A wire on loopback that is as long as one wants: what is sent arrives later, and not slower."""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator

_PIECE_BYTES = 256 << 10
_PIECES_UNDER_WAY = 256
_CONNECTIONS = 256


@contextlib.contextmanager
def wire(port: int, delay_seconds: float) -> Iterator[int]:
    """Leads to a server on 127.0.0.1, as from far away.

    A connection takes as long as `delay_seconds` to be made, and each byte that a client sends
    takes as long to arrive, so each request on a connection that stands takes so much longer.

    Args:
        port: Of the server.
        delay_seconds: There and back.

    Yields:
        The port at this end.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_CONNECTIONS) as listener:
        thread = threading.Thread(target=_accept, args=(listener, port, delay_seconds), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, port: int, delay_seconds: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # shut down
        threading.Thread(target=_join, args=(client, port, delay_seconds), daemon=True).start()


def _join(client: socket.socket, port: int, delay_seconds: float) -> None:
    time.sleep(delay_seconds)
    with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        for end in (client, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_PIECES_UNDER_WAY)
        parts = [
            threading.Thread(target=_depart, args=(client, under_way, delay_seconds), daemon=True),
            threading.Thread(target=_arrive, args=(far, under_way), daemon=True),
        ]
        for part in parts:
            part.start()
        _answer(far, client)
        for part in parts:
            part.join()


def _depart(
    client: socket.socket, under_way: "queue.Queue[tuple[float, bytes]]", delay_seconds: float
) -> None:
    data = b"-"
    while data:
        try:
            data = client.recv(_PIECE_BYTES)
        except OSError:
            data = b""
        under_way.put((time.monotonic() + delay_seconds, data))


def _arrive(far: socket.socket, under_way: "queue.Queue[tuple[float, bytes]]") -> None:
    while True:
        due, data = under_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            if data:
                far.sendall(data)
                continue
            far.shutdown(socket.SHUT_WR)
        if not data:
            return


def _answer(far: socket.socket, client: socket.socket) -> None:
    """Passes answers on within the kernel, so that the wire's own work costs next to nothing."""
    out, into = os.pipe()
    try:
        while moved := os.splice(far.fileno(), into, _PIECE_BYTES):
            while moved:
                moved -= os.splice(out, client.fileno(), moved)
    finally:
        os.close(out)
        os.close(into)
        for end in (client, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
