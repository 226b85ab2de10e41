"""Recovery keys: X25519 pairs whose secret half stays outside the cluster, and their text forms.

Both texts end in a checksum: a public key with a typing error would seal the repository key for
nobody, which shows only on the day when everything else is lost. The library is loaded when such a
key is used: most commands use a repository's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from mooring.backup.format import layout
from mooring.domain import errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hpke

PUBLIC_PREFIX = "mooring-recovery-"
SECRET_PREFIX = "MOORING-RECOVERY-SECRET-"  # noqa: S105 - how such a text begins
FINGERPRINT_BYTES = 8
_CHECKSUM_BYTES = 4
_PADDING = "======"


def public_of(secret: bytes) -> bytes:
    """Returns the public half of a secret one, 32 bytes."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import x25519  # noqa: PLC0415

    public = x25519.X25519PrivateKey.from_private_bytes(secret).public_key()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def suite() -> hpke.Suite:
    """Returns how keys are sealed: RFC 9180, base mode."""
    from cryptography.hazmat.primitives import hpke  # noqa: PLC0415

    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def seal(public: bytes, content: bytes, context: bytes) -> bytes:
    """Seals something to a public key of 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric import x25519  # noqa: PLC0415

    recipient = x25519.X25519PublicKey.from_public_bytes(public)
    return suite().encrypt(content, recipient, info=context)


def open_sealed(secret: bytes, sealed: bytes, context: bytes) -> bytes:
    """Opens what was sealed to the public half.

    Raises:
        InvalidTag: It is damaged, or for another key or context.
    """
    from cryptography.hazmat.primitives.asymmetric import x25519  # noqa: PLC0415

    key = x25519.X25519PrivateKey.from_private_bytes(secret)
    return suite().decrypt(sealed, key, info=context)


def fingerprint(public: bytes) -> str:
    """Returns what lists show of a public key."""
    return hashlib.sha256(b"mooring/1/recovery-key" + public).digest()[:FINGERPRINT_BYTES].hex()


def format_public(public: bytes) -> str:
    """Writes a public key as people and manifests carry it."""
    return PUBLIC_PREFIX + _encode(public, PUBLIC_PREFIX).lower()


def format_secret(secret: bytes) -> str:
    """Writes the secret half, for its file."""
    return SECRET_PREFIX + _encode(secret, SECRET_PREFIX)


def parse_public(text: str) -> bytes:
    """Reads a public key.

    Raises:
        InvalidInput: It is none, or has a typing error.
    """
    text = text.strip()
    public = None
    if text.startswith(PUBLIC_PREFIX):
        public = _decode(text.removeprefix(PUBLIC_PREFIX).upper(), PUBLIC_PREFIX)
    if public is None or format_public(public) != text:
        raise errors.InvalidInput(
            f"{text[:24]!r}… is no public recovery key, or has a typing error: it is what "
            "`mooring keygen` printed, and what its file has after `public key:`"
        )
    return public


def parse_secret(content: bytes) -> bytes | None:
    """Reads an identity file: the one line that holds the secret half, among comments.

    Returns:
        The secret half; None when the content is no identity file.

    Raises:
        InvalidInput: It is one, with an error.
    """
    lines = [line.strip() for line in content.splitlines()]
    found = [line for line in lines if line.startswith(SECRET_PREFIX.encode())]
    if not found:
        return None
    text = found[0].decode("ascii", errors="replace").removeprefix(SECRET_PREFIX)
    secret = _decode(text, SECRET_PREFIX)
    if secret is None or len(found) > 1:
        raise errors.InvalidInput(
            "the recovery key's file is damaged: it has one line that begins with "
            f"{SECRET_PREFIX}, as `mooring keygen` wrote it"
        )
    return secret


def identity_file(secret: bytes, created: str) -> str:
    """Returns the content of an identity file."""
    return (
        f"# Mooring recovery key, made {created}. Keep this file outside the cluster.\n"
        f"# public key: {format_public(public_of(secret))}\n"
        f"{format_secret(secret)}\n"
    )


def _encode(key: bytes, prefix: str) -> str:
    return base64.b32encode(key + _checksum(key, prefix)).decode().rstrip("=")


def _decode(text: str, prefix: str) -> bytes | None:
    try:
        data = base64.b32decode(text + _PADDING)
    except (binascii.Error, ValueError):
        return None
    key, checksum = data[: layout.KEY_BYTES], data[layout.KEY_BYTES :]
    whole = len(key) == layout.KEY_BYTES and checksum == _checksum(key, prefix)
    return key if whole else None


def _checksum(key: bytes, prefix: str) -> bytes:
    return hashlib.sha256(prefix.encode() + key).digest()[:_CHECKSUM_BYTES]
