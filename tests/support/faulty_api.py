"""A proxy before an API server that answers some calls wrongly, as a busy or restarting one does.

Calls are refused before they have reached it (409, 429, 500), lists and watches expire (410), and
some answers are lost after the call was carried out, which is the hardest for a caller. Connections
can also fall silent for good without being closed, as when a firewall has forgotten them.
"""

import contextlib
import http.client
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOST = "lost"
_REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
_WRITES = ("POST", "PATCH", "PUT", "DELETE")
_PASSED_ON = ("Authorization", "Content-Type", "Accept")


class FaultyApi:
    """The proxy; `url` is where callers go.

    Attributes:
        share: Which share of the calls fails; 0 passes everything on.
        failed: How often each fault was injected: a status, or `lost`.
    """

    def __init__(self, address: str, upstream: str, context: ssl.SSLContext, seed: int = 1) -> None:
        self.share = 0.0
        self.failed: Counter[int | str] = Counter()
        self._upstream = upstream
        self._context = context
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._watches: set[_Handler] = set()
        self._open: set[_Handler] = set()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer((address, 0), _Handler)
        self._server.daemon_threads = True
        self._server.api = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator["FaultyApi"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.share = 0.0
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(timeout=10)

    def expire_watches(self) -> None:
        """Ends every watch as the API server does when it has forgotten where one was: with 410."""
        with self._lock:
            watches, self._watches = self._watches, set()
        for watch in watches:
            watch.expire()
            self.failed[410] += 1

    def silence(self) -> None:
        """Nothing comes or goes any more on what is connected now, and nothing is closed."""
        with self._lock:
            for handler in self._open:
                handler.silent = True

    def live_watches(self) -> int:
        """Returns how many watches are served that are not silent."""
        with self._lock:
            return sum(not handler.silent for handler in self._watches)

    def wait_for_the_end(self) -> None:
        self._over.wait()

    def opened(self, handler: "_Handler") -> None:
        with self._lock:
            self._open.add(handler)

    def closed(self, handler: "_Handler") -> None:
        with self._lock:
            self._open.discard(handler)

    def choose(self, method: str, *, is_list: bool) -> int | str | None:
        """Returns the fault of one call; None passes it on."""
        with self._lock:
            if not self.share:
                return None
            choices: list[int | str] = [429, 500, LOST]
            if is_list:
                choices.append(410)
            if method in _WRITES:
                choices += [409, 409]  # as likely as in a busy cluster; most calls only read
            # Rare calls would get theirs by luck only: the first that it fits gets each fault.
            never_yet = [one for one in choices if not self.failed[one]]
            if not never_yet and self._random.random() >= self.share:
                return None
            fault = self._random.choice(never_yet or choices)
            self.failed[fault] += 1
            return fault

    def connect(self) -> http.client.HTTPSConnection:
        host = urlsplit(self._upstream)
        return http.client.HTTPSConnection(
            str(host.hostname), host.port, timeout=400, context=self._context
        )

    def watch_begins(self, handler: "_Handler") -> None:
        with self._lock:
            self._watches.add(handler)

    def watch_ends(self, handler: "_Handler") -> None:
        with self._lock:
            self._watches.discard(handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.api: FaultyApi = self.server.api  # type: ignore[attr-defined]
        self.upstream: http.client.HTTPSConnection | None = None
        self.writing = threading.Lock()
        self.silent = False
        self.api.opened(self)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        self.api.closed(self)
        if self.upstream is not None:
            self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        return

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        query = parse_qs(urlsplit(self.path).query)
        is_watch = query.get("watch", [""])[0] in ("true", "1")
        if self._is_silent():
            return
        fault = self.api.choose(self.command, is_list=is_watch or "limit" in query)
        if isinstance(fault, int):
            self._refuse(fault)
            return
        try:
            answer = self._ask(body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        if self._is_silent():
            return
        if fault == LOST:
            answer.close()
            self.close_connection = True
        elif is_watch and answer.status == 200:
            self._stream(answer)
        else:
            self._answer(answer.status, answer.read(), answer.headers.get("Content-Type"))

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

    def _is_silent(self) -> bool:
        """Whether this connection is; holds it open until the end if it is."""
        if self.silent:
            self.api.wait_for_the_end()
            self.close_connection = True
        return self.silent

    def _ask(self, body: bytes | None) -> http.client.HTTPResponse:
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        if self.upstream is not None:
            self.upstream.close()
        self.upstream = self.api.connect()
        self.upstream.request(self.command, self.path, body=body, headers=headers)
        return self.upstream.getresponse()

    def _refuse(self, code: int) -> None:
        status = _status(code)
        self._answer(code, json.dumps(status).encode(), "application/json")

    def _answer(self, code: int, data: bytes, content_type: str | None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type or "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        self.api.watch_begins(self)
        try:
            # Whole lines, so that an event is never cut by the one that ends the stream.
            while line := answer.readline():
                if self._is_silent():
                    return
                with self.writing:
                    self._chunk(line)
            if not self._is_silent():
                with self.writing:
                    self._chunk(b"")
        except (OSError, ValueError, http.client.HTTPException):
            return  # either side has gone
        finally:
            self.api.watch_ends(self)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def expire(self) -> None:
        """Says 410 in the stream, and ends it."""
        event = {"type": "ERROR", "object": _status(410)}
        with contextlib.suppress(OSError, ValueError), self.writing:
            self._chunk(json.dumps(event).encode() + b"\n")
            self._chunk(b"")
            self.connection.shutdown(2)


def _status(code: int) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": _REASONS[code],
        "message": f"made to fail with {code}",
        "code": code,
    }
