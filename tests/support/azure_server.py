"""Azurite, the service's own emulator, on loopback."""

import base64
import contextlib
import hmac
import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mooring.adapters.blobstores import object_clients
from mooring.adapters.blobstores.object_store import ObjectBlobStore
from mooring.domain import store_locations
from mooring_dev import azurite
from mooring_dev.s3_server import CALM, free_port

ACCOUNT = "mooringtests"
KEY = base64.b64encode(b"a key of the tests, and of nothing else").decode()
READY_SECONDS = 60.0
_VERSION = "2021-12-02"


@dataclass
class AzureServer:
    """A running emulator.

    Attributes:
        port: On 127.0.0.1.
        folder: For files of tests.
    """

    port: int
    folder: Path
    _made: int = field(default=0, init=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def new_container(self) -> str:
        self._made += 1
        name = f"container-{self._made}"
        status, answer = self.ask("PUT", f"/{ACCOUNT}/{name}", "restype:container")
        assert status == 201, answer
        return name

    def ask(self, method: str, path: str, query: str) -> tuple[int, bytes]:
        """Sends a request without a body, signed with the account's key; `query` is NAME:VALUE."""
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        to_sign = "\n".join(
            (method, *[""] * 11, f"x-ms-date:{now}", f"x-ms-version:{_VERSION}",
             f"/{ACCOUNT}{path}", query)
        )  # fmt: skip
        signature = hmac.digest(base64.b64decode(KEY), to_sign.encode(), "sha256")
        headers = {
            "x-ms-date": now,
            "x-ms-version": _VERSION,
            "content-length": "0",
            "authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, f"{path}?{query.replace(':', '=')}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def store(self, container: str, *, prefix: str = "") -> ObjectBlobStore:
        location = store_locations.BucketLocation(
            store_locations.Service.AZURE, container, prefix, self.endpoint, account=ACCOUNT
        )
        self.folder.mkdir(exist_ok=True)
        (self.folder / "AZURE_STORAGE_ACCOUNT_KEY").write_text(KEY)
        return ObjectBlobStore(
            object_clients.BucketAccess(location, credentials=self.folder, limits=CALM)
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[AzureServer]:
    """Starts the emulator below a folder; skips the test where Node.js is not to be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Azurite needs node and npm, which this machine does not have")
    folder.mkdir(parents=True)
    port = free_port()
    arguments = [
        *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--location", str(folder), "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
    ]
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            ["node", azurite.blob_server(), *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}",
            },
        )
    try:
        server = AzureServer(port, folder / "credentials")
        _wait(server, child, folder / "server.log")
        yield server
    finally:
        child.kill()
        child.wait()


def _wait(server: AzureServer, child: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while True:
        assert child.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            if server.ask("GET", f"/{ACCOUNT}/", "comp:list")[0] == 200:
                return
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.1)
