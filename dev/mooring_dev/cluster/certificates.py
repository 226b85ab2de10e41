"""The cluster's certificate authority and the kubeconfigs of its components."""

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=30)


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate, both PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """Signs the certificates of one cluster; its own key never leaves the state folder."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mooring-dev")])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = KeyPair(_key_pem(self._key), _certificate_pem(certificate))

    def issue(self, user: str, group: str = "", hosts: tuple[str, ...] = ()) -> KeyPair:
        """Returns a certificate for a user of a group; with `hosts` it can serve them too."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = self._builder(x509.Name(names), key.public_key()).add_extension(
            x509.ExtendedKeyUsage(usages if hosts else usages[:1]), critical=False
        )
        if hosts:
            alternatives = [_alternative_name(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return KeyPair(_key_pem(key), _certificate_pem(builder.sign(self._key, hashes.SHA256())))

    def kubeconfig(self, server: str, pair: KeyPair) -> str:
        """Returns a kubeconfig for one user, with everything inside it."""
        user = {
            "client-certificate-data": _text(pair.certificate),
            "client-key-data": _text(pair.key),
        }
        cluster = {"server": server, "certificate-authority-data": _text(self.pair.certificate)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "mooring-dev", "cluster": cluster}],
                "users": [{"name": "user", "user": user}],
                "contexts": [
                    {"name": "mooring-dev", "context": {"cluster": "mooring-dev", "user": "user"}}
                ],
                "current-context": "mooring-dev",
            }
        )

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
        )


def new_signing_key() -> bytes:
    """Returns a private key for service account tokens, PEM."""
    return _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def write_secret(path: Path, content: bytes | str) -> None:
    """Writes a file that only root can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_pair(folder: Path, name: str, pair: KeyPair) -> None:
    """Writes `name.key` and `name.crt`."""
    write_secret(folder / f"{name}.key", pair.key)
    write_secret(folder / f"{name}.crt", pair.certificate)


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    # The API server reads service account keys in the traditional form as well as in PKCS 8.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
