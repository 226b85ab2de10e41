"""A second reader of repository format 1, written from docs/explanation/repository-format.md alone.

It imports nothing of Mooring: the page is enough, and the bytes are as it says. By itself it
restores one backup: `python format_reader.py REPOSITORY KEY-FILE BACKUP IMAGE`.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blake3
import zstandard
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ZERO = bytes(32)
Json = dict[str, Any]


def derive(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def canonical(document: Json) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def read_key_file(path: Path) -> bytes:
    data = path.read_bytes()
    if len(data) == 32:
        return data
    text = data.decode().strip()
    return bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)


class Reader:
    """Opens a folder with a secret, and restores backups from it."""

    def __init__(self, folder: Path, secret: bytes, *, recovery: bool = False) -> None:
        self.folder = folder
        config = json.loads((folder / "config").read_bytes())
        assert (config["mooring"], config["format"], config["requires"]) == ("repository", 1, [])
        checksum = config.pop("checksum")
        assert checksum == hashlib.sha256(canonical(config)).hexdigest()
        self.repository = bytes.fromhex(config["id"])
        self.context = b"mooring/1/slot" + self.repository
        self.context += struct.pack("<II", 1, config["chunkSize"])
        key = self.open_slots(config["slots"], secret, "x25519" if recovery else "secret")
        self.id_keys = {
            1: derive(key, self.repository, b"mooring/1/data-id"),
            2: derive(key, self.repository, b"mooring/1/node-id"),
        }
        self.pack_master = derive(key, self.repository, b"mooring/1/pack")
        self.object_master = derive(key, self.repository, b"mooring/1/object")
        self.index: dict[tuple[int, bytes], tuple[bytes, bytes, int, int, int]] = {}
        for path in sorted((folder / "index").rglob("*/*")):
            self.read_segment(path)

    def open_slots(self, slots: list[Json], secret: bytes, wanted: str) -> bytes:
        keys = self.folder / "keys"
        later = [path for path in keys.iterdir() if not path.suffix] if keys.exists() else []
        for slot in slots + [json.loads(path.read_bytes()) for path in later]:
            open_slot = self.unseal_key if wanted == "x25519" else self.unwrap
            if slot["type"] != wanted or (key := open_slot(slot, secret)) is None:
                continue
            mac_key = derive(key, self.repository, b"mooring/1/slot-seal")
            name = hashlib.sha256(canonical(slot)).digest()[:8].hex()
            revocation = keys / f"{name}.revoked"
            if not revocation.exists() or not self.sealed(revocation, mac_key):
                return key
        raise AssertionError("no slot is for this secret")

    def sealed(self, path: Path, mac_key: bytes) -> bool:
        document = json.loads(path.read_bytes())
        seal = document.pop("seal")
        return bool(seal == hmac.new(mac_key, canonical(document), hashlib.sha256).hexdigest())

    def unwrap(self, slot: Json, secret: bytes) -> bytes | None:
        wrapping = derive(secret, bytes.fromhex(slot["salt"]), b"mooring/1/slot/secret")
        if slot["fingerprint"] != derive(wrapping, b"", b"mooring/1/slot/fingerprint", 8).hex():
            return None
        return AESGCM(wrapping).decrypt(bytes(12), bytes.fromhex(slot["wrapped"]), self.context)

    def unseal_key(self, slot: Json, secret: bytes) -> bytes | None:
        private = X25519PrivateKey.from_private_bytes(secret)
        public = private.public_key().public_bytes_raw()
        if slot["recipient"] != public.hex():
            return None
        suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        return suite.decrypt(bytes.fromhex(slot["wrapped"]), private, info=self.context)

    def unseal(self, name: str) -> bytes:
        data = (self.folder / name).read_bytes()
        magic, number, salt = struct.unpack_from("<8sI32s", data)
        assert (magic, number) == (b"MOORINGS", 1)
        key = derive(self.object_master, salt, b"mooring/1/object/" + name.encode())
        context = data[:44] + self.repository + name.encode()
        return AESGCM(key).decrypt(bytes(12), data[44:], context)

    def read_segment(self, path: Path) -> None:
        content = self.unseal(str(path.relative_to(self.folder)))
        kind = {"d": 1, "t": 2}[path.name[0]]
        pack_count, entry_count = struct.unpack_from("<II", content)
        packs = list(struct.iter_unpack("<16s32sQ", content[8 : 8 + 56 * pack_count]))
        entries = list(struct.iter_unpack("<32sIIII", content[8 + 56 * pack_count :]))
        assert len(entries) == entry_count
        assert [entry[0] for entry in entries] == sorted(entry[0] for entry in entries)
        for ident, pack, offset, length, raw_length in entries:
            name, salt, _ = packs[pack]
            if not self.pack_path(name).exists():  # a copy in a pack that is gone is no copy
                continue
            doomed = (self.folder / "tombstones" / name.hex()).exists()
            if (kind, ident) not in self.index or not doomed:
                self.index[kind, ident] = (name, salt, offset, length, raw_length)
        for name, salt, size in filter(lambda pack: self.pack_path(pack[0]).exists(), packs):
            assert self.pack_path(name).stat().st_size == size
            ends = self.pack_bytes(name, 0, 40) + self.pack_bytes(name, size - 8, 8)
            assert ends == b"MOORINGP" + salt + b"MOORINGE"

    def pack_bytes(self, name: bytes, offset: int, length: int) -> bytes:
        with self.pack_path(name).open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def pack_path(self, name: bytes) -> Path:
        return self.folder / "packs" / name.hex()[:2] / name.hex()

    def blob(self, kind: int, ident: bytes) -> bytes:
        name, salt, offset, length, raw_length = self.index[kind, ident]
        stored = self.decrypt(name, salt, kind, offset, length, ident)
        content = stored if len(stored) == raw_length else zstandard.decompress(stored)
        assert len(content) == raw_length
        assert blake3.blake3(content, key=self.id_keys[kind]).digest() == ident
        return content

    def decrypt(
        self, name: bytes, salt: bytes, kind: int, offset: int, length: int, ident: bytes
    ) -> bytes:
        data = self.pack_bytes(name, offset, length)
        context = self.repository + name + bytes([kind]) + struct.pack("<Q", offset) + ident
        key = derive(self.pack_master, salt, b"mooring/1/pack/" + name)
        return AESGCM(key).decrypt(offset.to_bytes(12, "big"), data, context)

    def footer(self, name: bytes) -> list[tuple[int, bytes, int, int, int]]:
        data = self.pack_path(name).read_bytes()
        (length,) = struct.unpack("<I", data[-12:-8])
        offset = len(data) - 12 - length
        listing = self.decrypt(name, data[8:40], 255, offset, length, ZERO)
        return list(struct.iter_unpack("<B32sIII", listing))

    def chunks(self, backup: str) -> Iterator[tuple[int, bytes]]:
        """Yields the offset and content of each chunk that is not zero."""
        manifest = self.manifest(backup)
        size, chunk_size = manifest["volume"]["size"], manifest["chunkSize"]
        count, levels = -(-size // chunk_size), 1
        while 512**levels < count:
            levels += 1
        for number, ident in self.walk(bytes.fromhex(manifest["root"]), levels, 0):
            assert number < count
            start, chunk = number * chunk_size, self.blob(1, ident)
            assert len(chunk) == min(chunk_size, size - start)
            yield start, chunk

    def manifest(self, backup: str) -> Json:
        manifest: Json = json.loads(self.unseal(f"manifests/{backup}"))
        assert (manifest["format"], manifest["requires"]) == (1, [])
        assert manifest["backup"] == backup
        return manifest

    def walk(self, ident: bytes, level: int, first: int) -> Iterator[tuple[int, bytes]]:
        if ident == ZERO or level == 0:
            yield from [(first, ident)] if ident != ZERO else []
            return
        node = self.blob(2, ident)
        assert len(node) == 16384
        for slot in range(512):
            below = node[slot * 32 : slot * 32 + 32]
            yield from self.walk(below, level - 1, first + slot * 512 ** (level - 1))

    def restore(self, backup: str, image: Path) -> None:
        """Writes the backup's content to a sparse file."""
        with image.open("xb") as file:
            file.truncate(self.manifest(backup)["volume"]["size"])
            for start, chunk in self.chunks(backup):
                file.seek(start)
                file.write(chunk)


if __name__ == "__main__":
    repository, key_file, name, target = sys.argv[1:]
    Reader(Path(repository), read_key_file(Path(key_file))).restore(name, Path(target))
