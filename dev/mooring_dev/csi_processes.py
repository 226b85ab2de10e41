"""The driver's own processes, started as users start them, on sockets in one folder."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc

from mooring.adapters import registry
from mooring.runtime import settings
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_dev.steps import DevError

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 40.0
NODE = "node-a"
POOL = "main"


@dataclass(frozen=True)
class Sockets:
    """Where the services are; one process serves both on one socket."""

    node: Path
    controller: Path


@contextmanager
def served(mode: str, backend: str, folder: Path, *, overcommit: float = 1.0) -> Iterator[Sockets]:
    """Serves one node with one pool: `standalone`, or as two processes (`agents`)."""
    config = write_settings(folder, backend, overcommit=overcommit)
    with ExitStack() as stack:
        stack.callback(release_pools, config)
        if mode == "standalone":
            endpoint = folder / "csi.sock"
            stack.enter_context(standalone(config, endpoint))
            yield Sockets(endpoint, endpoint)
            return
        address = f"127.0.0.1:{free_port()}"
        make_tls(folder)
        stack.enter_context(node(folder, config, address))
        wait_for_port(address)
        stack.enter_context(controller(folder, {NODE: address}))
        yield Sockets(folder / "node.sock", folder / "controller.sock")


def write_settings(
    folder: Path,
    backend: str,
    name: str = NODE,
    *,
    overcommit: float = 1.0,
    transfer_rate: str = "200Mi",
) -> Path:
    """Writes a node's settings with one pool and returns their path."""
    size = "\n    imageSize: 3Gi" if backend == "reflink" else ""
    config = folder / f"{name}.yaml"
    config.write_text(
        f"nodeName: {name}\nstateFolder: {folder}/{name}/state\n"
        f"transferRate: {transfer_rate}\n"
        f"pools:\n  - name: {POOL}\n    backend: {backend}\n    path: {folder}/{name}/pool{size}\n"
        f"    overcommit: {overcommit}\n"
    )
    return config


def release_pools(config: Path) -> None:
    """Takes a stopped node's embedded pools off this machine."""
    found = settings.load_agent_settings(config)
    for pool in found.pool_configurations():
        registry.PoolOpener(pool, found.state_folder, registry.kernel_host()).unmount()


@contextmanager
def standalone(config: Path, endpoint: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Serves every service in one process."""
    with process("standalone", "--config", config, "--csi-socket", f"unix://{endpoint}") as running:
        wait_for_socket(endpoint)
        yield running


@contextmanager
def node(
    folder: Path,
    config: Path,
    address: str,
    endpoint: Path | None = None,
    peers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator["subprocess.Popen[bytes]"]:
    """Serves the kubelet's socket and an agent; `make_tls` comes before."""
    endpoint = endpoint or folder / "node.sock"
    with process(
        *("node", "--config", config, "--csi-socket", f"unix://{endpoint}"),
        *("--agent-listen", address, "--tls-folder", folder / "tls", *_pairs(peers)),
    ) as running:
        wait_for_socket(endpoint)
        yield running


@contextmanager
def controller(folder: Path, agents: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Serves the controller over agents, by their addresses; `make_tls` comes before."""
    endpoint = folder / "controller.sock"
    with process(
        *("controller", "--csi-socket", f"unix://{endpoint}"),
        *("--tls-folder", folder / "tls", *_pairs(agents)),
    ) as running:
        wait_for_socket(endpoint)
        wait_until_ready(endpoint)
        yield running


def _pairs(agents: Mapping[str, str]) -> list[str]:
    return [part for name, at in agents.items() for part in ("--agents", f"{name}={at}")]


def make_tls(folder: Path) -> None:
    """Makes the certificate authority that node and controller share."""
    subprocess.run(command("make-tls", folder / "tls"), check=True, capture_output=True)


def command(*arguments: object) -> list[str]:
    """Returns the command line of the driver."""
    return [sys.executable, "-m", "mooring_csi.main", *map(str, arguments)]


@contextmanager
def process(*arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a process of the driver and ends it by SIGTERM; a crash shows the end of its log."""
    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen(command(*arguments), stdout=log, stderr=log)
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
                running.wait(STOP_TIMEOUT_SECONDS)
            if running.returncode not in (0, -signal.SIGKILL):
                log.seek(0)
                tail = log.read()[-4000:].decode(errors="replace")
                sys.stderr.write(f"{arguments[0]} ended with {running.returncode}:\n{tail}\n")


def wait_for_socket(path: Path) -> None:
    """Waits until something listens on a socket."""

    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))

    _wait(connect, str(path))


def wait_until_ready(endpoint: Path) -> None:
    """Waits as the sidecars do, by Probe."""
    options = (("grpc.default_authority", "localhost"),)
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    with grpc.insecure_channel(f"unix:{endpoint}", options=options) as channel:
        stub = rpc.IdentityStub(channel)  # type: ignore[no-untyped-call]
        while not stub.Probe(pb.ProbeRequest(), timeout=5).ready.value:
            if time.monotonic() >= deadline:
                raise DevError(f"{endpoint} is never ready")
            time.sleep(0.05)


def wait_for_port(address: str) -> None:
    """Waits until something listens on a `host:port`."""
    host, _, port = address.partition(":")
    _wait(lambda: socket.create_connection((host, int(port)), timeout=1).close(), address)


def free_port() -> int:
    """Returns a port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(connect: Callable[[], None], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            connect()
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise DevError(f"nothing serves on {what}") from error
        time.sleep(0.05)
