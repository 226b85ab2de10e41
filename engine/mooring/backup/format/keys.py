"""Keys: one random repository key, and everything derived from it.

Each pack and each sealed object has a key of its own, derived with a random salt, so a nonce can
be a plain counter and never meets the same key twice, also in a repository that was copied.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mooring.backup.format import layout


def derive(secret: bytes, salt: bytes, purpose: bytes, length_bytes: int = 32) -> bytes:
    """Derives a key with HKDF-SHA256; `purpose` keeps uses apart."""
    kdf = HKDF(algorithm=hashes.SHA256(), length=length_bytes, salt=salt, info=purpose)
    return kdf.derive(secret)


class RepositoryKeys:
    """All keys of one open repository.

    Attributes:
        repository: The repository's id, 16 bytes; part of everything that is authenticated.
    """

    def __init__(self, repository_key: bytes, repository: bytes) -> None:
        self.repository = repository
        self._pack = derive(repository_key, repository, b"mooring/1/pack")
        self._object = derive(repository_key, repository, b"mooring/1/object")
        self._ids = {
            layout.BlobKind.DATA: derive(repository_key, repository, b"mooring/1/data-id"),
            layout.BlobKind.NODE: derive(repository_key, repository, b"mooring/1/node-id"),
        }

    def __repr__(self) -> str:
        return f"RepositoryKeys({self.repository.hex()})"

    def id_key(self, kind: layout.BlobKind) -> bytes:
        """Returns the key of the ids of one kind: a chunk and a node never share an id."""
        return self._ids[kind]

    def pack_cipher(self, name: bytes, salt: bytes) -> AESGCM:
        """Returns the cipher of one pack."""
        return AESGCM(derive(self._pack, salt, b"mooring/1/pack/" + name))

    def object_cipher(self, key: str, salt: bytes) -> AESGCM:
        """Returns the cipher of one sealed object, bound to its name."""
        return AESGCM(derive(self._object, salt, b"mooring/1/object/" + key.encode()))
