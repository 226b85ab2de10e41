"""Packs: many encrypted chunks in one object, with an encrypted list of them at its end.

    header    8 bytes magic, 32 bytes salt
    blobs     one after the other, each AES-256-GCM ciphertext and tag
    footer    the same, of the list of blobs
    trailer   4 bytes length of the encrypted footer, 8 bytes magic

The nonce of a blob is its offset in the pack: a counter that cannot repeat under the pack's key.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mooring.backup.format import chunks, keys, layout
from mooring.domain import errors

TARGET_BYTES = 24 << 20
MAXIMUM_BLOBS = 8192
_HEADER = struct.Struct("<8s32s")
_TRAILER = struct.Struct("<I8s")
_ENTRY = struct.Struct("<B32sIII")
_HEADER_MAGIC = b"MOORINGP"
_TRAILER_MAGIC = b"MOORINGE"
HEADER_BYTES = _HEADER.size
TRAILER_BYTES = _TRAILER.size


class PackEntry(NamedTuple):
    """One blob of a pack.

    Attributes:
        kind: Data or node.
        ident: Its id, 32 bytes.
        offset: Where it begins in the pack.
        length: Bytes in the pack, tag included.
        raw_length: Bytes of the chunk.
    """

    kind: layout.BlobKind
    ident: bytes
    offset: int
    length: int
    raw_length: int


class PackCipher:
    """Encrypts and decrypts the pieces of one pack. Thread-safe."""

    def __init__(self, repository_keys: keys.RepositoryKeys, name: bytes, salt: bytes) -> None:
        self.name = name
        self.salt = salt
        self._cipher: AESGCM = repository_keys.pack_cipher(name, salt)
        self._context = repository_keys.repository + name

    def header(self) -> bytes:
        """Returns the pack's first bytes."""
        return _HEADER.pack(_HEADER_MAGIC, self.salt)

    def seal_into(
        self, entry: PackEntry, stored: chunks.Buffer, target: bytearray | memoryview
    ) -> None:
        """Encrypts a blob into a buffer of exactly `entry.length` bytes."""
        nonce = entry.offset.to_bytes(12, "big")
        self._cipher.encrypt_into(nonce, stored, self._associated(entry), target)

    def unseal(self, entry: PackEntry, data: chunks.Buffer) -> bytes:
        """Decrypts a blob.

        Raises:
            DataCorrupt: It is not what was written there.
        """
        nonce = entry.offset.to_bytes(12, "big")
        try:
            return self._cipher.decrypt(nonce, data, self._associated(entry))
        except (InvalidTag, ValueError):
            raise errors.DataCorrupt(
                f"pack {self.name.hex()} is damaged at byte {entry.offset}"
            ) from None

    def seal_footer(self, entries: Iterable[PackEntry], offset: int) -> bytes:
        """Returns encrypted footer and trailer for a pack whose blobs end at `offset`."""
        listing = b"".join(
            _ENTRY.pack(entry.kind, entry.ident, entry.offset, entry.length, entry.raw_length)
            for entry in entries
        )
        footer = bytearray(len(listing) + layout.TAG_BYTES)
        self.seal_into(_footer_entry(offset, len(footer)), listing, footer)
        return bytes(footer) + _TRAILER.pack(len(footer), _TRAILER_MAGIC)

    def unseal_footer(self, footer: bytes, offset: int) -> list[PackEntry]:
        """Decrypts and checks the footer that begins at `offset`.

        Raises:
            DataCorrupt: It is damaged, or its list does not fill the pack without gaps.
        """
        listing = self.unseal(_footer_entry(offset, len(footer)), footer)
        damaged = errors.DataCorrupt(f"pack {self.name.hex()} has a footer that cannot be right")
        if len(listing) % _ENTRY.size:
            raise damaged
        entries = []
        position = HEADER_BYTES
        for kind, ident, start, length, raw_length in _ENTRY.iter_unpack(listing):
            if kind not in (layout.BlobKind.DATA, layout.BlobKind.NODE) or start != position:
                raise damaged
            entries.append(PackEntry(layout.BlobKind(kind), ident, start, length, raw_length))
            position += length
        if position != offset:
            raise damaged
        return entries

    def _associated(self, entry: PackEntry) -> bytes:
        return (
            self._context + bytes((entry.kind,)) + entry.offset.to_bytes(8, "little") + entry.ident
        )


def _footer_entry(offset: int, length: int) -> PackEntry:
    return PackEntry(layout.BlobKind.FOOTER, layout.ZERO_ID, offset, length, 0)


def parse_header(data: bytes) -> bytes:
    """Returns the salt in a pack's first `HEADER_BYTES` bytes.

    Raises:
        DataCorrupt: It is no pack.
    """
    if len(data) != HEADER_BYTES or not data.startswith(_HEADER_MAGIC):
        raise errors.DataCorrupt("a pack does not begin as packs do")
    return bytes(_HEADER.unpack(data)[1])


def footer_range(trailer: bytes, pack_size_bytes: int) -> tuple[int, int]:
    """Returns offset and length of the footer, from a pack's last `TRAILER_BYTES` bytes.

    Raises:
        DataCorrupt: The pack is truncated or is none.
    """
    if len(trailer) == TRAILER_BYTES:
        length, magic = _TRAILER.unpack(trailer)
        offset = pack_size_bytes - TRAILER_BYTES - length
        if magic == _TRAILER_MAGIC and length >= layout.TAG_BYTES and offset >= HEADER_BYTES:
            return offset, length
    raise errors.DataCorrupt("a pack does not end as packs do: it is truncated")
