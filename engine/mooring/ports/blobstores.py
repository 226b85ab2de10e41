"""The port of a backup target: named objects, written once and whole.

The repository format rests on three promises that every store must keep. An object appears under
its name whole or not at all. When a write returns, the object survives a power cut of this
machine (and, on an object store, is acknowledged by it). Of many writers that race to create or to
replace an object exactly one is let through, where `conditional_writes` says so. Nothing else is
asked for: no locks, no rename, no listing order.

Objects are written once. Only leases are ever replaced, and only as they were read:

```python
info = store.head(key)  # first, so that what is read is this version or a later one
content = store.get(key, limit_bytes=...)
store.replace(key, changed(content), version=info.version)
```

Keys are `/`-separated parts of lower-case letters, digits, `.`, `_` and `-`; no part is empty or
begins with a dot. Any method may raise:

    Unreachable: The store did not answer, or lost its connection; the same call may succeed later.
    PermissionDenied: The store is read-only for this caller.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

Buffer = bytes | bytearray | memoryview

_PART = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


@dataclass(frozen=True)
class BlobInfo:
    """What a listing says of one object.

    Attributes:
        key: Its name.
        size_bytes: Its length.
        modified_at: When the store says that it was written, by the store's own clock.
        version: Changes whenever the object is replaced or made anew; to be compared with nothing
            but other versions of the same key. A store may make it from the content alone, so what
            is replaced holds something that never comes back.
    """

    key: str
    size_bytes: int
    modified_at: datetime
    version: str


UPLOADS_AT_ONCE = 2
"""So many large objects a writer sends at once; they share a slow line to a store."""


class Upload(Protocol):
    """One object on its way, in pieces. Not thread-safe, but may change hands between threads."""

    def write(self, data: Buffer) -> None:
        """Appends bytes; the buffer may be reused as soon as the call returns.

        Raises:
            SpaceExhausted: The store is full; the upload can only be abandoned.
        """

    def commit(self) -> None:
        """Makes the object appear, durably, and ends the upload.

        Raises:
            AlreadyExists: The key was taken meanwhile; the existing object is unharmed.
            SpaceExhausted: The store is full; nothing appeared.
        """

    def abandon(self) -> None:
        """Throws away what was written; after `commit` or a second time it does nothing."""


class BlobStore(Protocol):
    """Objects by key."""

    @property
    def location(self) -> str:
        """Where the store is, for people and messages; holds no secret."""

    def conditional_writes(self) -> bool:
        """Tells whether creating and replacing let one of many racing writers through.

        Where it is false, a race may have two winners, each of which believes that it is the only
        one. The store finds out by a trial under `probes/`, once for each object of this class.

        Raises:
            ReadOnly: The trial cannot be written.
        """

    def put(self, key: str, data: Buffer) -> None:
        """Creates an object whole.

        Raises:
            AlreadyExists: The key is taken; the existing object is unharmed.
            SpaceExhausted: The store is full; nothing appeared.
        """

    def replace(self, key: str, data: Buffer, *, version: str) -> str:
        """Puts other content in the place of an object, if it is still the one that was read.

        When it raises `Unreachable`, the object may be replaced or not: look before a retry.

        Args:
            key: Its name.
            data: The new content.
            version: As `head` or `list` said.

        Returns:
            The version of the new content.

        Raises:
            PreconditionFailed: The object is another by now, or gone; nothing was changed.
            SpaceExhausted: The store is full; nothing was changed.
            Unsupported: The store cannot; `conditional_writes` is false.
        """

    def upload(self, key: str) -> Upload:
        """Begins an object that is written in pieces; as `put`, it creates and never replaces."""

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        """Returns a whole object.

        Raises:
            NotFound: There is none.
            DataCorrupt: It is longer than `limit_bytes`; it was not read.
        """

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`.

        Raises:
            NotFound: There is no such object.
            DataCorrupt: The object ends before `offset + length`.
        """

    def head(self, key: str) -> BlobInfo | None:
        """Returns what a listing would say of one object, or None when there is none."""

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yields all objects whose key starts with `prefix`, which may end within a part.

        In no particular order. An object written or deleted meanwhile may or may not be seen; one
        that was there before and after is.
        """

    def delete(self, key: str) -> None:
        """Removes an object, durably; an absent one is no error."""


def is_part(text: str) -> bool:
    """Tells whether a text can be a part of a key."""
    return bool(_PART.match(text))


def check_key(key: str) -> None:
    """Checks the grammar of a key, which every store does before it touches anything.

    Raises:
        ValueError: It is none; that is a mistake in the caller, never input.
    """
    if not all(_PART.match(part) for part in key.split("/")):
        raise ValueError(f"{key!r} is no key")
