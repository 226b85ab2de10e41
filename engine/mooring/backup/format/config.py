"""The object `config`: what a repository is, in plain JSON, and the slots that hold its key."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mooring.backup.format import layout
from mooring.domain import backups, errors


@dataclass(frozen=True)
class RepositoryConfig:
    """What `config` says.

    Attributes:
        repository: The repository's id, 16 random bytes.
        chunk_size_bytes: For volumes that have no backup yet.
        created_at: UTC.
        slots: Key slots as JSON values; see `slots`.
    """

    repository: bytes
    chunk_size_bytes: int
    created_at: datetime
    slots: tuple[dict[str, Any], ...]

    @property
    def repository_id(self) -> backups.RepositoryId:
        """The repository's id as people see it."""
        return backups.RepositoryId(self.repository.hex())


def slot_context(repository: bytes, chunk_size_bytes: int) -> bytes:
    """Returns what each slot authenticates beside the key: all that `config` says in plain."""
    numbers = layout.FORMAT_NUMBER.to_bytes(4, "little") + chunk_size_bytes.to_bytes(4, "little")
    return b"mooring/1/slot" + repository + numbers


def encode(config: RepositoryConfig) -> bytes:
    """Writes `config`."""
    values = {
        "mooring": "repository",
        "format": layout.FORMAT_NUMBER,
        "requires": [],
        "id": config.repository.hex(),
        "chunkSize": config.chunk_size_bytes,
        "createdAt": config.created_at.isoformat(),
        "slots": list(config.slots),
    }
    values["checksum"] = _checksum(values)
    return json.dumps(values, indent=2).encode() + b"\n"


def decode(data: bytes) -> RepositoryConfig:
    """Reads `config`.

    Raises:
        Unsupported: A newer format, or one that requires what this build does not know.
        DataCorrupt: It is damaged.
    """
    try:
        values = json.loads(data)
        if values["mooring"] != "repository":
            raise ValueError("not a repository")
        check_readable(values["format"], values["requires"], "this repository")
        if values["checksum"] != _checksum(values):
            raise ValueError("checksum")
        return RepositoryConfig(
            repository=_repository(values["id"]),
            chunk_size_bytes=backups.check_chunk_size(values["chunkSize"]),
            created_at=datetime.fromisoformat(values["createdAt"]),
            slots=tuple(dict(slot) for slot in values["slots"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError, errors.InvalidInput) as error:
        raise errors.DataCorrupt(
            "the repository's object `config` is damaged: put it back from a copy"
        ) from error


def check_readable(number: object, requires: object, what: str) -> None:
    """Refuses what a newer Mooring wrote and this one would misread.

    Raises:
        Unsupported: It needs a newer Mooring.
        ValueError: It is no number or no list.
    """
    if not isinstance(number, int) or not isinstance(requires, list):
        raise ValueError("format")
    if number > layout.FORMAT_NUMBER:
        raise errors.Unsupported(
            f"{what} has format {number}, and this Mooring reads up to {layout.FORMAT_NUMBER}: "
            "use a newer Mooring"
        )
    if number != layout.FORMAT_NUMBER:
        raise ValueError("format")
    if requires:
        names = ", ".join(str(name)[:40] for name in requires[:8])
        raise errors.Unsupported(
            f"{what} requires what this Mooring does not know ({names}): use a newer Mooring"
        )


def _repository(text: str) -> bytes:
    repository = bytes.fromhex(text)
    if len(repository) != 16:
        raise ValueError("repository id")
    return repository


def _checksum(values: dict[str, Any]) -> str:
    rest = {name: value for name, value in values.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
