"""A real etcd, kube-apiserver and controller-manager on loopback: what an operator talks to.

No node and no kubelet: tests play their part where it matters. Everything lies in one folder and
ends with the context.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mooring_dev import toolchain

READY_SECONDS = 60.0


@dataclass(frozen=True)
class ApiServer:
    """A running control plane.

    Attributes:
        kubeconfig: For its administrator.
        kubectl: The program that goes with it.
    """

    kubeconfig: Path
    kubectl: Path

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator; the caller judges the exit code."""
        return subprocess.run(
            [
                self.kubectl,
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self.kubeconfig.with_name('cache')}",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def as_service_account(self, name: str, namespace: str = "mooring-system") -> Path:
        """Returns a kubeconfig of a service account, with a token that lives for an hour."""
        token = self.must("-n", namespace, "create", "token", name, "--duration=1h").strip()
        document = yaml.safe_load(self.kubeconfig.read_text())
        document["users"][0]["user"] = {"token": token}
        path = self.kubeconfig.with_name(f"kubeconfig-{name}")
        path.write_text(yaml.safe_dump(document))
        return path

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl and fails the test with its words when it fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """Starts the control plane and waits until it is ready."""
    ports = _free_ports(4)
    token = secrets.token_hex(16)
    _write_keys(folder, token)
    kubeconfig = _write_kubeconfig(folder, ports[2], token)
    server = ApiServer(kubeconfig, toolchain.tool_path("kubectl"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_process(folder, "etcd", _etcd(folder, ports)))
        stack.enter_context(_process(folder, "kube-apiserver", _api_server(folder, ports)))
        _wait(server)
        manager = _controller_manager(folder, ports, kubeconfig)
        stack.enter_context(_process(folder, "kube-controller-manager", manager))
        yield server


def _etcd(folder: Path, ports: list[int]) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in ports[:2])
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def _api_server(folder: Path, ports: list[int]) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{ports[0]}",
        f"--secure-port={ports[2]}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-cluster-ip-range=10.97.0.0/24",
    ]


def _controller_manager(folder: Path, ports: list[int], kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--secure-port={ports[3]}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder / 'manager'}",
        "--leader-elect=false",
        "--use-service-account-credentials=false",
        f"--service-account-private-key-file={folder / 'sa.key'}",
    ]


@contextlib.contextmanager
def _process(folder: Path, name: str, arguments: list[str]) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(
            [toolchain.tool_path(name), *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        try:
            yield
        finally:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait(server: ApiServer) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if server.run("get", "--raw=/readyz").returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(
        f"the API server is not ready: {server.run('get', '--raw=/readyz').stderr}"
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _write_keys(folder: Path, token: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "sa.key").write_bytes(private)
    (folder / "sa.pub").write_bytes(public)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')


def _write_kubeconfig(folder: Path, port: int, token: str) -> Path:
    path = folder / "kubeconfig"
    authority = str(folder / "certificates" / "apiserver.crt")  # self-signed
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(document))
    return path
