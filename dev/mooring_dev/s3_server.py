"""A real S3 server (versitygw) on loopback, and the requests that obstore does not have."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mooring.adapters.blobstores import object_clients
from mooring.adapters.blobstores.object_store import ObjectBlobStore
from mooring.domain import store_locations
from mooring_dev import toolchain
from mooring_dev.steps import DevError

REGION = "us-east-1"
READY_SECONDS = 30.0
CALM = object_clients.Limits(connect_seconds=10, answer_seconds=30, patience_seconds=30)


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    access_key: str
    secret_key: str

    def write_to(self, folder: Path) -> Path:
        """Writes it as a mounted Secret shows it, and returns the folder."""
        folder.mkdir(exist_ok=True)
        for name, text in (
            ("AWS_ACCESS_KEY_ID", self.access_key),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key),
        ):
            (folder / f"{name}.new").write_text(text)
            (folder / f"{name}.new").rename(folder / name)
        return folder


ADMINISTRATOR = Identity("administrator", "administrators-secret")


@dataclass
class S3Server:
    """A running server.

    Attributes:
        port: On 127.0.0.1.
        folder: For files of tests.
        authority: Of a server that speaks TLS: whose certificate signed its own.
    """

    port: int
    folder: Path
    authority: Path | None = None
    _made: int = field(default=0, init=False)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{'http' if self.authority is None else 'https'}://127.0.0.1:{self.port}"

    def new_bucket(self, headers: dict[str, str] | None = None) -> str:
        """Makes a bucket and returns its name."""
        self._made += 1
        name = f"bucket-{self._made}"
        self.request("PUT", f"/{name}", headers=headers or {})
        return name

    def new_identity(self, name: str, role: str = "user") -> Identity:
        """Makes an identity, which has no rights yet."""
        identity = Identity(name, f"secret-of-{name}")
        self.administer(
            "create-user", "--access", name, "--secret", identity.secret_key, "--role", role
        )
        return identity

    def writer_of(self, bucket: str, name: str) -> Identity:
        """Makes an identity that may write to a bucket and read it, and not delete."""
        identity = self.new_identity(name)
        principal = {"AWS": [identity.access_key]}
        arn = f"arn:aws:s3:::{bucket}"
        rights = (
            (["s3:PutObject", "s3:GetObject"], f"{arn}/*"),
            (["s3:ListBucket"], arn),
        )
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": [where]}
                for actions, where in rights
            ],
        }
        self.request("PUT", f"/{bucket}", query="policy=", body=json.dumps(policy).encode())
        return identity

    def administer(self, *arguments: str) -> str:
        """Runs the server's own administration command."""
        done = subprocess.run(
            [
                toolchain.tool_path("versitygw"),
                "admin",
                *("--access", ADMINISTRATOR.access_key),
                *("--secret", ADMINISTRATOR.secret_key),
                *("--endpoint-url", self.endpoint),
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DevError(f"versitygw refused: {done.stderr.strip()}")
        return done.stdout

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        identity: Identity = ADMINISTRATOR,
    ) -> bytes:
        """Sends a signed request and fails when it is refused."""
        status, answer = self.ask(
            method, path, query=query, body=body, headers=headers, identity=identity
        )
        if not 200 <= status < 300:
            raise DevError(f"{method} {path} was answered with {status}: {answer!r}")
        return answer

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        identity: Identity = ADMINISTRATOR,
    ) -> tuple[int, bytes]:
        """Sends a signed request; returns status and body."""
        host = f"127.0.0.1:{self.port}"
        sent = signed(method, path, query, body, {"host": host, **(headers or {})}, identity)
        connection = self._connection()
        with contextlib.closing(connection):
            target = f"{path}?{query}" if query else path
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self.authority is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        trust = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trust)

    def store(
        self,
        bucket: str,
        *,
        prefix: str = "",
        identity: Identity = ADMINISTRATOR,
        endpoint: str | None = None,
        limits: object_clients.Limits = CALM,
    ) -> ObjectBlobStore:
        """Opens a bucket as the engine does."""
        location = self.location(bucket, prefix=prefix, endpoint=endpoint)
        credentials = identity.write_to(self.folder / identity.access_key)
        return ObjectBlobStore(
            object_clients.BucketAccess(location, credentials=credentials, limits=limits)
        )

    def location(
        self, bucket: str, *, prefix: str = "", endpoint: str | None = None
    ) -> store_locations.BucketLocation:
        """Returns where a bucket is, as the command line names it."""
        return store_locations.BucketLocation(
            store_locations.Service.S3, bucket, prefix, endpoint or self.endpoint, REGION
        )


@contextlib.contextmanager
def running(
    folder: Path, *, room_bytes: int | None = None, tls: bool = False, keep_alive: bool = False
) -> Iterator[S3Server]:
    """Starts a server below a folder and waits until it answers.

    Args:
        folder: For all that it keeps; it does not exist yet.
        room_bytes: Put its data on a filesystem of that size, which only it sees; needs root.
        tls: Whether it speaks TLS.
        keep_alive: Whether a connection serves several requests, as those of the services do.
    """
    for name in ("data", "versions", "accounts", "credentials"):
        (folder / name).mkdir(parents=True)
    port = free_port()
    arguments = [
        *("--access", ADMINISTRATOR.access_key, "--secret", ADMINISTRATOR.secret_key),
        *("--port", f"127.0.0.1:{port}", "--region", REGION),
        *("--iam-dir", str(folder / "accounts"), "--iam-cache-disable", "--quiet"),
        *_tls_arguments(folder, tls),
        *(["--keep-alive"] if keep_alive else []),
        *("posix", "--versioning-dir", str(folder / "versions"), str(folder / "data")),
    ]
    command = [str(toolchain.tool_path("versitygw")), *arguments]
    if room_bytes is not None:
        mount = f'mount -t tmpfs -o size={room_bytes} tmpfs "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, str(folder / "data"), *command]
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
    try:
        authority = folder / "authority.pem" if tls else None
        server = S3Server(port, folder / "credentials", authority)
        _wait(server, child, folder / "server.log")
        yield server
    finally:
        child.kill()
        child.wait()


def _tls_arguments(folder: Path, tls: bool) -> list[str]:
    if not tls:
        return []
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    own = _certificate("authority", authority, authority, ca=True)
    servers = _certificate("server", key, authority, ca=False)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(own.public_bytes(pem))
    (folder / "server.pem").write_bytes(servers.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ["--cert", str(folder / "server.pem"), "--key", str(folder / "server.key")]


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer, hashes.SHA256())
    )


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: S3Server, child: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while True:
        if child.poll() is not None:
            raise DevError(f"the S3 server has ended: {log.read_text()}")
        with contextlib.suppress(OSError):
            if server.ask("GET", "/")[0] == 200:
                return
        if time.monotonic() > ends:
            raise DevError(f"the S3 server does not answer: {log.read_text()}")
        time.sleep(0.05)


def signed(
    method: str,
    path: str,
    query: str,
    body: bytes,
    headers: dict[str, str],
    identity: Identity,
) -> dict[str, str]:
    """Returns a request's headers, among them `host`, signed with AWS signature version 4."""
    now = datetime.now(UTC)
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    headers = {name.lower(): value for name, value in headers.items()}
    headers |= {"x-amz-date": moment, "x-amz-content-sha256": digest}
    if body:
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        headers["content-md5"] = base64.b64encode(md5).decode()
    names = ";".join(sorted(headers))
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        (
            method,
            urllib.parse.quote(path),
            urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            digest,
        )
    )
    scope = f"{day}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    signature = hmac.digest(_signing_key(day, identity), to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={identity.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return {**headers, "authorization": authorization}


def _signing_key(day: str, identity: Identity) -> bytes:
    key = f"AWS4{identity.secret_key}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
