"""A proxy on loopback in front of an HTTP server that breaks what a test tells it to break."""

import contextlib
import http.client
import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>told so by a test</Message></Error>'


@dataclass(frozen=True)
class Refuse:
    """Answers with an error; the server hears nothing."""

    status: int
    code: str


@dataclass(frozen=True)
class Slow:
    """Waits before it passes the request on."""

    seconds: float


@dataclass(frozen=True)
class Trickle:
    """Takes what is sent, and hands on the answer, no faster than that."""

    bytes_per_second: int


Sign = Callable[[str, str, bytes, dict[str, str]], dict[str, str]]
"""From method, target, body and headers to the headers of a request that the server believes."""


@dataclass(frozen=True)
class Careless:
    """Passes a write on without its conditions, as a server does that does not know them.

    Attributes:
        sign: Signs it anew.
        conditions: Names of the headers that are ignored, in small letters.
        looks: Answers as if it knew them, by a look before: racing writers look together.
    """

    sign: Sign
    conditions: frozenset[str] = frozenset({"if-match", "if-none-match"})
    looks: bool = False


class Break(Enum):
    """Breaks the connection, or the answer."""

    HANG = auto()  # no answer, ever
    RESET = auto()  # the server hears nothing
    LOSE = auto()  # the server does it, and its answer is lost
    TRUNCATE = auto()  # half of the answer's body
    SHORTEN = auto()  # half of the answer's body, and a length that says that it is all


Fault = Refuse | Slow | Trickle | Careless | Break
Rule = Callable[[str, str], Fault | None]
"""From method and path to what happens; None is nothing."""


def nothing(method: str, path: str) -> Fault | None:
    """Breaks nothing."""
    return None


@dataclass
class FaultProxy:
    """A running proxy.

    Attributes:
        port: On 127.0.0.1.
        rule: What happens; may be exchanged at any time.
        seen: Method and path of each request, in order.
    """

    port: int
    rule: Rule = nothing
    seen: list[tuple[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def break_off(
        self, fault: Fault, method: str, part: str, *, times: int | None = None
    ) -> Callable[[], int]:
        """Breaks requests of a method whose path has that part; the first ones, or all.

        Returns:
            What tells how many were broken.
        """
        broken = 0

        def rule(asked: str, path: str) -> Fault | None:
            nonlocal broken
            if asked != method or part not in path or (times is not None and broken >= times):
                return None
            broken += 1
            return fault

        self.rule = rule
        return lambda: broken

    def heal(self) -> None:
        self.rule = nothing


_Answer = tuple[int, list[tuple[str, str]], bytes]
_LOOK_SECONDS = 0.1
_BUFFER_BYTES = 64 << 10
_PIECES_A_SECOND = 20


def _trickle(fault: Fault | None) -> Trickle | None:
    return fault if isinstance(fault, Trickle) else None


def _piece_bytes(trickle: Trickle) -> int:
    return max(1, trickle.bytes_per_second // _PIECES_A_SECOND)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextlib.contextmanager
def running(upstream_port: int) -> Iterator[FaultProxy]:
    """Starts a proxy in front of a server on 127.0.0.1."""
    server = _Server(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    proxy = FaultProxy(server.server_address[1])

    class Handler(_Handler):
        def setup(self) -> None:
            self.proxy, self.upstream_port = proxy, upstream_port
            super().setup()

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy
    upstream_port: int

    def _handle(self) -> None:
        self.proxy.seen.append((self.command, self.path))
        fault = self.proxy.rule(self.command, self.path)
        body = self._body(fault)
        if isinstance(fault, Refuse):
            self._answer(fault.status, [], ERROR % fault.code.encode())
            return
        if isinstance(fault, Slow):
            self.proxy.released.wait(fault.seconds)
        elif fault is Break.HANG:
            self.proxy.released.wait(60)
        if fault in (Break.HANG, Break.RESET):
            self._reset()
            return
        if isinstance(fault, Careless):
            self._answer(*self._ask_carelessly(body, fault))
            return
        status, headers, answer = self._ask(body, dict(self.headers.items()))
        if fault is Break.LOSE:
            self._reset()
        elif fault is Break.TRUNCATE:
            self._answer(status, headers, answer, sends=len(answer) // 2)
        elif fault is Break.SHORTEN:
            self._answer(status, headers, answer[: len(answer) // 2])
        else:
            self._answer(status, headers, answer, trickle=_trickle(fault))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _body(self, fault: Fault | None) -> bytes:
        length, trickle = int(self.headers.get("content-length") or 0), _trickle(fault)
        if trickle is None:
            return self.rfile.read(length)
        # Else the kernel takes all of it at once, and only the answer would be late.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        body = bytearray()
        while len(body) < length:
            part = self.rfile.read(min(_piece_bytes(trickle), length - len(body)))
            if not part:
                raise ConnectionResetError("the client gave up")
            body += part
            self.proxy.released.wait(len(part) / trickle.bytes_per_second)
        return bytes(body)

    def _ask_carelessly(self, body: bytes, fault: Careless) -> _Answer:
        headers = {name.lower(): value for name, value in self.headers.items()}
        ignored = {name for name in fault.conditions if headers.pop(name, None) is not None}
        kept = {
            name: value
            for name, value in headers.items()
            if name.startswith(("if-", "content-type", "x-amz-checksum", "x-amz-sdk"))
        }
        host = {"host": f"127.0.0.1:{self.upstream_port}"}
        if fault.looks and ignored:
            signed = fault.sign("HEAD", self.path, b"", host)
            if self._ask(b"", signed, "HEAD")[0] == 200:
                return 412, [], ERROR % b"PreconditionFailed"
            self.proxy.released.wait(_LOOK_SECONDS)
        return self._ask(body, fault.sign(self.command, self.path, body, host | kept))

    def _ask(self, body: bytes, headers: Mapping[str, str], method: str | None = None) -> _Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=60)
        with contextlib.closing(connection):
            asked = method or self.command
            connection.putrequest(asked, self.path, skip_host=True, skip_accept_encoding=True)
            if body and "content-length" not in {name.lower() for name in headers}:
                connection.putheader("content-length", str(len(body)))
            for name, value in headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        sends: int | None = None,
        trickle: Trickle | None = None,
    ) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", length)
        self.end_headers()
        if self.command != "HEAD":
            self._send(body if sends is None else body[:sends], trickle)
        if sends is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, body: bytes, trickle: Trickle | None) -> None:
        piece_bytes = len(body) if trickle is None else _piece_bytes(trickle)
        for start in range(0, len(body), max(1, piece_bytes)):
            part = body[start : start + piece_bytes]
            self.wfile.write(part)
            if trickle is not None:
                self.proxy.released.wait(len(part) / trickle.bytes_per_second)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client or a fault closed it
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Says nothing."""
