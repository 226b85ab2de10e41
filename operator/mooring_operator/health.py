"""Health of the process over HTTP: alive when its threads run, ready when it may act."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Check = Callable[[], bool]
_POLL_SECONDS = 0.1
"""How soon the server sees that it shall end."""


class HealthServer:
    """Serves /healthz and /readyz; anything else is not found."""

    def __init__(self, address: str, alive: Check, ready: Check) -> None:
        """Takes `host:port` and the two questions; port 0 takes a free one."""
        host, _, port = address.rpartition(":")
        checks = {"/healthz": alive, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                check = checks.get(self.path)
                code = 404 if check is None else 200 if check() else 503
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer((host, int(port)), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="health", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Ends serving."""
        self._server.shutdown()
        self._server.server_close()
