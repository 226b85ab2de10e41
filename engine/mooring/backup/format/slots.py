"""Key slots: the repository key, wrapped by a secret, a passphrase or a recovery key.

A slot can be added or dropped without touching data: they all wrap the same repository key.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mooring.backup.format import keys, layout, recovery_keys
from mooring.domain import errors

RECIPIENT = "x25519"
_NONCE = bytes(12)  # each slot has a key of its own, from its random salt
_FINGERPRINT_BYTES = 8
_SCRYPT_COST = {"n": 1 << 15, "r": 8, "p": 1}
_SCRYPT_LIMIT = {"n": 1 << 20, "r": 32, "p": 16}


@dataclass(frozen=True)
class Unlock:
    """What a caller opens a repository with; exactly one of these is set.

    Attributes:
        secret: 32 bytes, from a key file.
        passphrase: Words of a person.
        identity: The secret half of a recovery key, from an identity file.
    """

    secret: bytes | None = None
    passphrase: str | None = None
    identity: bytes | None = None

    def __repr__(self) -> str:
        return "Unlock(...)"

    @property
    def slot_type(self) -> str:
        """The type of the slots that it can open."""
        if self.identity is not None:
            return RECIPIENT
        return "secret" if self.secret is not None else "scrypt"

    @property
    def noun(self) -> str:
        """What people call it."""
        return {"secret": "key", "scrypt": "passphrase"}.get(self.slot_type, "recovery key")


def parse_unlock(content: bytes) -> Unlock:
    """Reads a key file or an identity file.

    Raises:
        InvalidInput: It is neither.
    """
    identity = recovery_keys.parse_secret(content)
    if identity is not None:
        return Unlock(identity=identity)
    return Unlock(secret=parse_key_file(content))


def parse_key_file(content: bytes) -> bytes:
    """Reads a key file: 32 raw bytes, or the same as 64 hexadecimal or 44 base64 characters.

    Raises:
        InvalidInput: It is none of these.
    """
    if len(content) == layout.KEY_BYTES:
        return content
    text = content.strip()
    try:
        if len(text) == 2 * layout.KEY_BYTES:
            return bytes.fromhex(text.decode("ascii"))
        if len(text) == 44:
            secret = base64.b64decode(text, validate=True)
            if len(secret) == layout.KEY_BYTES:
                return secret
    except (ValueError, binascii.Error):
        pass
    raise errors.InvalidInput(
        "the key file holds no key: it must be 32 random bytes, raw, in hexadecimal or in base64 "
        "(make one with `openssl rand -hex 32`)"
    )


def wrap(unlock: Unlock, repository_key: bytes, context: bytes, salt: bytes) -> dict[str, Any]:
    """Makes a slot for a secret or a passphrase; `recipient_slot` makes those for recovery keys.

    Args:
        unlock: What shall open it.
        repository_key: What is wrapped.
        context: What the slot belongs to; see `config.slot_context`.
        salt: 32 fresh random bytes.

    Returns:
        The slot as JSON values.

    Raises:
        InvalidInput: It is a recovery key, whose secret half makes no slots.
    """
    if unlock.identity is not None:
        raise errors.InvalidInput(
            "this is a recovery key: a repository is made with a key of its own, and recovery keys "
            "are added to it by their public half"
        )
    slot: dict[str, Any] = {"type": unlock.slot_type, "salt": salt.hex()}
    if unlock.secret is None:
        slot.update(_SCRYPT_COST)
    wrapping = _wrapping_key(unlock, slot)
    slot["fingerprint"] = _fingerprint(wrapping)
    slot["wrapped"] = AESGCM(wrapping).encrypt(_NONCE, repository_key, context).hex()
    return slot


def recipient_slot(public: bytes, sealed: bytes) -> dict[str, Any]:
    """Returns a slot for a recovery key.

    Args:
        public: Its public half.
        sealed: The repository key, sealed to it with the slot's context as `info`.
    """
    return {
        "type": RECIPIENT,
        "recipient": public.hex(),
        "fingerprint": recovery_keys.fingerprint(public),
        "wrapped": sealed.hex(),
    }


def unwrap(unlock: Unlock, slot: Mapping[str, Any], context: bytes) -> bytes | None:
    """Opens a slot.

    Returns:
        The repository key, or None when the slot is for something else.

    Raises:
        DataCorrupt: The slot is for this secret, yet damaged or moved from another repository.
    """
    if slot.get("type") != unlock.slot_type:
        return None
    try:
        if unlock.identity is not None:
            return _unwrap_sealed(unlock.identity, slot, context)
        wrapping = _wrapping_key(unlock, slot)
        if slot["fingerprint"] != _fingerprint(wrapping):
            return None
        return AESGCM(wrapping).decrypt(_NONCE, bytes.fromhex(slot["wrapped"]), context)
    except (KeyError, TypeError, ValueError, InvalidTag) as error:
        raise errors.DataCorrupt(
            "a key slot of the repository is damaged or belongs to another repository"
        ) from error


def _unwrap_sealed(identity: bytes, slot: Mapping[str, Any], context: bytes) -> bytes | None:
    public = recovery_keys.public_of(identity)
    if slot["fingerprint"] != recovery_keys.fingerprint(public):
        return None
    key = recovery_keys.open_sealed(identity, bytes.fromhex(slot["wrapped"]), context)
    if len(key) != layout.KEY_BYTES:
        raise ValueError("not a repository key")
    return key


def _wrapping_key(unlock: Unlock, slot: Mapping[str, Any]) -> bytes:
    salt = bytes.fromhex(slot["salt"])
    if unlock.secret is not None:
        return keys.derive(unlock.secret, salt, b"mooring/1/slot/secret")
    cost = {name: slot[name] for name in _SCRYPT_LIMIT}
    if any(not isinstance(cost[name], int) or cost[name] > _SCRYPT_LIMIT[name] for name in cost):
        raise ValueError("the cost of the passphrase is out of range")
    kdf = Scrypt(salt=salt, length=layout.KEY_BYTES, **cost)
    return kdf.derive((unlock.passphrase or "").encode())


def _fingerprint(wrapping: bytes) -> str:
    return keys.derive(wrapping, b"", b"mooring/1/slot/fingerprint", _FINGERPRINT_BYTES).hex()
