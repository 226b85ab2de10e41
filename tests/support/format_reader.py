"""A second reader of repository format 1, written from docs/reference/repository-format.md alone.

It imports nothing of Mooring: the page is enough, and the bytes are as it says.
"""

import hashlib
import hmac
import json
import struct
from pathlib import Path

import blake3
import zstandard
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ZERO = bytes(32)


def derive(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


class Reader:
    """Opens a folder with a secret, and restores backups from it."""

    def __init__(self, folder: Path, secret: bytes, *, recovery: bool = False) -> None:
        self.folder = folder
        config = json.loads((folder / "config").read_text())
        assert (config["mooring"], config["format"], config["requires"]) == ("repository", 1, [])
        checksum = config.pop("checksum")
        text = json.dumps(config, sort_keys=True, separators=(",", ":"))
        assert checksum == hashlib.sha256(text.encode()).hexdigest()
        self.repository = bytes.fromhex(config["id"])
        key = self.unseal_key(config, secret) if recovery else self.unwrap(config, secret)
        self.id_keys = {
            1: derive(key, self.repository, b"mooring/1/data-id"),
            2: derive(key, self.repository, b"mooring/1/node-id"),
        }
        self.pack_master = derive(key, self.repository, b"mooring/1/pack")
        self.object_master = derive(key, self.repository, b"mooring/1/object")
        self.index: dict[tuple[int, bytes], tuple[bytes, bytes, int, int, int]] = {}
        for path in sorted((folder / "index").rglob("*/*")):
            self.read_segment(path)

    def unwrap(self, config: dict, secret: bytes) -> bytes:  # type: ignore[type-arg]  # JSON
        for slot in config["slots"]:
            if slot["type"] != "secret":
                continue
            wrapping = derive(secret, bytes.fromhex(slot["salt"]), b"mooring/1/slot/secret")
            if slot["fingerprint"] == derive(wrapping, b"", b"mooring/1/slot/fingerprint", 8).hex():
                context = b"mooring/1/slot" + self.repository
                context += struct.pack("<II", 1, config["chunkSize"])
                return AESGCM(wrapping).decrypt(bytes(12), bytes.fromhex(slot["wrapped"]), context)
        raise AssertionError("no slot is for this secret")

    def unseal_key(self, config: dict, secret: bytes) -> bytes:  # type: ignore[type-arg]  # JSON
        private = X25519PrivateKey.from_private_bytes(secret)
        context = b"mooring/1/slot" + self.repository + struct.pack("<II", 1, config["chunkSize"])
        suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        for path in (self.folder / "keys").iterdir():
            slot = json.loads(path.read_text())
            if slot["type"] == "x25519":
                key = suite.decrypt(bytes.fromhex(slot["wrapped"]), private, info=context)
                mac_key = derive(key, self.repository, b"mooring/1/slot-seal")
                seal = slot.pop("seal")
                text = json.dumps(slot, sort_keys=True, separators=(",", ":"))
                assert seal == hmac.new(mac_key, text.encode(), hashlib.sha256).hexdigest()
                return key
        raise AssertionError("no recovery slot")

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
            name, salt, size = packs[pack]
            data = self.pack_path(name).read_bytes()
            assert len(data) == size
            assert (data[:8], data[8:40], data[-8:]) == (b"MOORINGP", salt, b"MOORINGE")
            self.index[kind, ident] = (name, salt, offset, length, raw_length)

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
        data = self.pack_path(name).read_bytes()[offset : offset + length]
        context = self.repository + name + bytes([kind]) + struct.pack("<Q", offset) + ident
        key = derive(self.pack_master, salt, b"mooring/1/pack/" + name)
        return AESGCM(key).decrypt(offset.to_bytes(12, "big"), data, context)

    def footer(self, name: bytes) -> list[tuple[int, bytes, int, int, int]]:
        data = self.pack_path(name).read_bytes()
        (length,) = struct.unpack("<I", data[-12:-8])
        offset = len(data) - 12 - length
        listing = self.decrypt(name, data[8:40], 255, offset, length, ZERO)
        return list(struct.iter_unpack("<B32sIII", listing))

    def restore(self, backup: str) -> bytes:
        manifest = json.loads(self.unseal(f"manifests/{backup}"))
        assert (manifest["format"], manifest["requires"]) == (1, [])
        size, chunk_size = manifest["volume"]["size"], manifest["chunkSize"]
        count = -(-size // chunk_size)
        ids, level_width = [bytes.fromhex(manifest["root"])], 1
        while 512 ** (level_width) < count:
            level_width += 1
        for _ in range(level_width):
            nodes = [bytes(16384) if ident == ZERO else self.blob(2, ident) for ident in ids]
            ids = [node[i : i + 32] for node in nodes for i in range(0, 16384, 32)]
        content = bytearray(size)
        for number, ident in enumerate(ids[:count]):
            if ident != ZERO:
                chunk = self.blob(1, ident)
                start = number * chunk_size
                assert len(chunk) == min(chunk_size, size - start)
                content[start : start + len(chunk)] = chunk
        assert all(ident == ZERO for ident in ids[count:])
        return bytes(content)
