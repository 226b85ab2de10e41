"""Keys, certificate requests and the authority that signs them. Bytes in, bytes out.

A key is made in memory and never leaves its process. Certificates live for 24 hours and are
renewed at half of that, so a stolen one is soon worthless and no list of revoked ones is needed.
What a request asks for is ignored but for its public key: the names come from whoever proved them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from mooring.agent import authorization
from mooring.domain import errors
from mooring.ports import identities as identities_port

LEAF_LIFETIME = timedelta(hours=24)
_AUTHORITY_LIFETIME = timedelta(days=3650)
_CLOCK_TOLERANCE = timedelta(minutes=10)
_PEM = serialization.Encoding.PEM
_UNREADABLE = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)


@dataclass(frozen=True)
class Certificate:
    """What a process proves itself with.

    Attributes:
        key_pem: The private key; never logged, never written.
        certificate_pem: The leaf.
        authority_pem: What peers are checked against.
        renew_at: When half of its life is over.
    """

    key_pem: bytes
    certificate_pem: bytes
    authority_pem: bytes
    renew_at: datetime

    def __repr__(self) -> str:
        """Leaves the key out."""
        return f"Certificate(renew_at={self.renew_at.isoformat()})"


class PrivateKey:
    """A key in memory and the request that goes with it."""

    def __init__(self) -> None:
        """Makes a new key."""
        self._key = ec.generate_private_key(ec.SECP256R1())

    def request_pem(self) -> bytes:
        """Returns a certificate request for this key; it names nobody."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def certificate(self, certificate_pem: bytes, authority_pem: bytes) -> Certificate:
        """Puts the key and what was signed for it together.

        Raises:
            DataCorrupt: The certificate is for another key, or is none.
        """
        try:
            leaf = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError as error:
            raise errors.DataCorrupt("what the authority answered is no certificate") from error
        if leaf.public_key() != self._key.public_key():
            raise errors.DataCorrupt("the authority answered with a certificate for another key")
        start, end = leaf.not_valid_before_utc + _CLOCK_TOLERANCE, leaf.not_valid_after_utc
        return Certificate(self._pem(), certificate_pem, authority_pem, start + (end - start) / 2)

    def _pem(self) -> bytes:
        return _key_pem(self._key)


class CertificateAuthority:
    """Signs leaves. Its own content (key and certificate, PEM) is kept in a store."""

    def __init__(self, content: bytes, *, leaf_lifetime: timedelta = LEAF_LIFETIME) -> None:
        """Loads an authority from its content, and sets how long what it signs is valid.

        Raises:
            DataCorrupt: The content is not what `create` made.
        """
        try:
            key = serialization.load_pem_private_key(content, password=None)
            self._certificate = x509.load_pem_x509_certificate(content)
        except ValueError as error:
            raise errors.DataCorrupt(
                "the certificate authority cannot be read; delete it to make a new one, "
                "then restart Mooring's pods"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise errors.DataCorrupt("the certificate authority's key is of another kind")
        self._key = key
        self._leaf_lifetime = leaf_lifetime

    @staticmethod
    def create(now: datetime) -> bytes:
        """Makes a new authority and returns its content."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "Mooring identities")])
        usage = _key_usage(signs_certificates=True)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_TOLERANCE)
            .not_valid_after(now + _AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return _key_pem(key) + certificate.public_bytes(_PEM)

    @classmethod
    def load_or_create(
        cls, store: identities_port.AuthorityStore, now: datetime
    ) -> "CertificateAuthority":
        """Loads the authority of a store, making it the first time."""
        return cls(store.read() or store.create(cls.create(now)))

    @property
    def certificate_pem(self) -> bytes:
        """What peers check leaves against; not secret."""
        return self._certificate.public_bytes(_PEM)

    def sign(self, request_pem: bytes, identity: authorization.Identity, now: datetime) -> bytes:
        """Signs a leaf for the key of a request, with the names of an identity.

        Raises:
            InvalidInput: The request is none, or not signed by its own key.
        """
        try:
            request = x509.load_pem_x509_csr(request_pem)
            key = request.public_key()
            valid = request.is_signature_valid
        except _UNREADABLE as error:
            raise errors.InvalidInput("the certificate request cannot be read") from error
        if not valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise errors.InvalidInput("the certificate request is not signed by its own EC key")
        names = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(identity.uri), x509.DNSName(identity.dns_name)]
        )
        purposes = x509.ExtendedKeyUsage(
            [oid.ExtendedKeyUsageOID.SERVER_AUTH, oid.ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_TOLERANCE)
            .not_valid_after(now + self._leaf_lifetime)
            .add_extension(names, critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(purposes, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return leaf.public_bytes(_PEM)

    def issue(self, identity: authorization.Identity, now: datetime) -> Certificate:
        """Makes a key and a certificate for the process that holds the authority itself."""
        key = PrivateKey()
        return key.certificate(self.sign(key.request_pem(), identity, now), self.certificate_pem)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
