"""Fixtures of an S3 server, and of a proxy before it that breaks what a test tells it to."""

from collections.abc import Iterator

import pytest

from mooring_dev import s3_server
from mooring_dev.s3_server import S3Server
from support import fault_proxy
from support.fault_proxy import FaultProxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for all tests of a file; each takes a bucket of its own."""
    with s3_server.running(tmp_path_factory.mktemp("s3") / "server") as running:
        yield running


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    """A way to the server that is whole until a test says otherwise."""
    with fault_proxy.running(server.port) as running:
        yield running
