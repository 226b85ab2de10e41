"""Sealed objects: manifests, sessions and index segments, each encrypted as one piece.

A plain header of format number and salt, then AES-256-GCM. The object's name and the
repository's id are authenticated with it, so an object that is renamed, or swapped with one of
another repository, does not open.
"""

import struct

from cryptography.exceptions import InvalidTag

from mooring.backup.format import keys, layout
from mooring.domain import errors

_HEADER = struct.Struct("<8sI32s")
_MAGIC = b"MOORINGS"
_NONCE = bytes(12)  # each object has a key of its own, from its random salt
OVERHEAD_BYTES = _HEADER.size + layout.TAG_BYTES


def seal(repository_keys: keys.RepositoryKeys, key: str, content: bytes, salt: bytes) -> bytes:
    """Encrypts an object.

    Args:
        repository_keys: The repository's keys.
        key: The object's name.
        content: Its content.
        salt: 32 fresh random bytes.
    """
    header = _HEADER.pack(_MAGIC, layout.FORMAT_NUMBER, salt)
    cipher = repository_keys.object_cipher(key, salt)
    return header + cipher.encrypt(_NONCE, content, _context(repository_keys, header, key))


def unseal(repository_keys: keys.RepositoryKeys, key: str, data: bytes) -> bytes:
    """Decrypts an object.

    Raises:
        Unsupported: A newer format number.
        DataCorrupt: It is not what was written under this name in this repository.
    """
    if len(data) < OVERHEAD_BYTES:
        raise errors.DataCorrupt(f"object {key} of the repository is truncated")
    magic, number, salt = _HEADER.unpack_from(data)
    content = _opened(repository_keys, key, salt, data)
    if content is not None and (magic, number) == (_MAGIC, layout.FORMAT_NUMBER):
        return content
    # With a damaged number it opens as what it was before.
    if content is None and magic == _MAGIC and number > layout.FORMAT_NUMBER:
        raise errors.Unsupported(f"object {key} has format {number}: use a newer Mooring")
    raise errors.DataCorrupt(
        f"object {key} of the repository is damaged, or was moved there from elsewhere"
    )


def _opened(
    repository_keys: keys.RepositoryKeys, key: str, salt: bytes, data: bytes
) -> bytes | None:
    """Returns the content, as if the header were right; None where it does not open."""
    header = _HEADER.pack(_MAGIC, layout.FORMAT_NUMBER, salt)
    cipher = repository_keys.object_cipher(key, salt)
    try:
        return cipher.decrypt(
            _NONCE, memoryview(data)[_HEADER.size :], _context(repository_keys, header, key)
        )
    except InvalidTag:
        return None


def _context(repository_keys: keys.RepositoryKeys, header: bytes, key: str) -> bytes:
    return header + repository_keys.repository + key.encode()
