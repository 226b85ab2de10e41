"""The client of the Kubernetes API: whatever goes wrong becomes an error of the one tree."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from mooring.adapters.kubernetes.client import KubernetesObjects
from mooring.domain import errors
from mooring.ports import cluster


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[kubernetes_client.Configuration]:
    """Serves 200 and always the same words."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        configuration = kubernetes_client.Configuration()
        configuration.host = f"http://127.0.0.1:{server.server_port}"
        yield configuration
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(configuration: kubernetes_client.Configuration) -> cluster.Object | None:
    api = kubernetes_client.ApiClient(configuration)
    return KubernetesObjects(api).get(cluster.LEASES, "one", "ns")


@pytest.mark.parametrize(
    "body", [b"", b"<html>a proxy's page</html>", b'{"spec": {', b"[]", b'"ok"', b"\xff"]
)
def test_an_answer_that_is_no_object_is_no_answer(body: bytes) -> None:
    with answering(body) as configuration, pytest.raises(errors.Unreachable, match="no JSON"):
        get(configuration)


@pytest.mark.parametrize(
    "fault",
    [
        FileNotFoundError("no such file"),
        kubernetes_config.ConfigException("Token file exists but empty."),
    ],
)
def test_a_token_that_cannot_be_read_is_no_way_to_ask(fault: Exception) -> None:
    def refresh(_: object) -> None:
        raise fault

    with answering(b"{}") as configuration:
        configuration.api_key["BearerToken"] = "bearer x"
        configuration.refresh_api_key_hook = refresh
        with pytest.raises(errors.Unreachable, match=str(fault)):
            get(configuration)
        del configuration.refresh_api_key_hook
