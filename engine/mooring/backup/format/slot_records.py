"""What surrounds the wrapped key in a slot: its id, purpose, label, seal, and its revocation.

The seal is a MAC under a key derived from the repository key. So whoever opens the repository, and
be it without the secret of a slot, can tell a slot that was made for it from one that was damaged
or invented.
"""

import enum
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mooring.backup.format import keys, layout

REVOKED = "revoked"
MAXIMUM_LABEL_LENGTH = 100
_ID_BYTES = 8
_SEAL = "seal"


class Purpose(enum.StrEnum):
    """Who holds what opens a slot."""

    CLUSTER = "cluster"  # a machine, in daily use
    RECOVERY = "recovery"  # a person, outside every cluster


@dataclass(frozen=True)
class KeySlot:
    """A slot as it lies in a repository.

    Attributes:
        slot_id: First 8 bytes of the SHA-256 of its canonical JSON, in hexadecimal.
        values: Its JSON values.
        key: The object that holds it; None when that is `config`.
    """

    slot_id: str
    values: Mapping[str, Any]
    key: str | None

    @property
    def type(self) -> str:
        """`secret`, `scrypt` or `x25519`, or a word of a newer Mooring."""
        return str(self.values.get("type", ""))[:40]

    @property
    def purpose(self) -> str:
        """What it is for; slots from before this was written go by their type."""
        stated = self.values.get("purpose")
        if stated in (Purpose.CLUSTER, Purpose.RECOVERY):
            return str(stated)
        return Purpose.CLUSTER if self.type == "secret" else Purpose.RECOVERY

    @property
    def label(self) -> str:
        """Words of a person; may be empty."""
        return str(self.values.get("label", ""))[:MAXIMUM_LABEL_LENGTH]

    @property
    def created_at(self) -> str | None:
        """When it was made; None for slots from before this was written."""
        stated = self.values.get("createdAt")
        return stated[:40] if isinstance(stated, str) else None

    @property
    def fingerprint(self) -> str:
        """Names what opens it."""
        return str(self.values.get("fingerprint", ""))[:32]


def slot_id(values: Mapping[str, Any]) -> str:
    """Returns the id of a slot, which is also the name of its object."""
    return hashlib.sha256(_canonical(values)).digest()[:_ID_BYTES].hex()


def slot_key(identity: str) -> str:
    """Returns the object that holds an added slot."""
    return f"{layout.KEYS}{identity}"


def revocation_key(identity: str) -> str:
    """Returns the object that revokes a slot."""
    return f"{layout.KEYS}{identity}.{REVOKED}"


def described(
    wrapped: Mapping[str, Any], purpose: Purpose, label: str, created_at: datetime
) -> dict[str, Any]:
    """Returns a slot with what people want to know of it, before its seal."""
    return {
        **wrapped,
        "purpose": purpose.value,
        "label": label[:MAXIMUM_LABEL_LENGTH],
        "createdAt": created_at.isoformat(),
    }


def sealed(values: Mapping[str, Any], repository_key: bytes, repository: bytes) -> dict[str, Any]:
    """Returns a slot, or a revocation, with its seal."""
    return {**values, _SEAL: _mac(values, repository_key, repository)}


def is_sealed(values: Mapping[str, Any], repository_key: bytes, repository: bytes) -> bool:
    """Whether somebody with the repository key wrote these values, and nobody changed them."""
    stated = values.get(_SEAL)
    if not isinstance(stated, str) or not stated.isascii():
        return False
    return hmac.compare_digest(stated, _mac(values, repository_key, repository))


def revocation(slot: KeySlot, revoked_at: str) -> dict[str, Any]:
    """Returns the values of a revocation, before its seal."""
    return {
        "type": REVOKED,
        "slot": slot.slot_id,
        "fingerprint": slot.fingerprint,
        "createdAt": revoked_at,
    }


def encode(values: Mapping[str, Any]) -> bytes:
    """Writes a slot or a revocation."""
    return json.dumps(values, indent=2).encode() + b"\n"


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _mac(values: Mapping[str, Any], repository_key: bytes, repository: bytes) -> str:
    rest = {name: value for name, value in values.items() if name != _SEAL}
    key = keys.derive(repository_key, repository, b"mooring/1/slot-seal")
    return hmac.new(key, _canonical(rest), hashlib.sha256).hexdigest()
