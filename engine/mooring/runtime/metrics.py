"""Metrics over HTTP in Prometheus' text format; they hold no secret, and anybody may read them."""

import threading
from collections.abc import Iterable
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client.registry import Collector

_STOP_SECONDS = 3.0


class MetricsServer:
    """Serves what collectors say at the moment of each question, and how the process is.

    Args:
        address: `host:port`; port 0 takes a free one.
        collectors: What is asked.
    """

    def __init__(self, address: str, collectors: Iterable[Collector]) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)
        self._serving: tuple[WSGIServer, threading.Thread] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        return self._serving[0].server_port if self._serving else self._port

    def start(self) -> None:
        """Begins to serve.

        Raises:
            OSError: Something else listens there.
        """
        self._serving = prometheus_client.start_http_server(
            self._port, self._host, registry=self._registry
        )

    def stop(self) -> None:
        """Ends serving."""
        if self._serving is None:
            return
        serving, thread = self._serving
        serving.shutdown()
        serving.server_close()
        thread.join(_STOP_SECONDS)
