"""The page on the format is enough to restore from: a reader written from it does."""

import random
from pathlib import Path

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import repository
from mooring.backup.format import recovery_keys
from support.backup_engine import KEY, SMALL_CHUNK, Engine
from support.format_reader import Reader

CHUNK = SMALL_CHUNK


def test_a_reader_written_from_the_page_restores_every_backup(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    dice = random.Random(1)
    image = bytearray(dice.randbytes(600 * CHUNK) + bytes(500 * CHUNK) + b"text " * 9000 + b"end")
    images = {}
    for backup_id in ("bk-1", "bk-2", "bk-3"):
        images[backup_id] = bytes(image)
        engine.back_up(bytes(image), backup_id)
        image[dice.randrange(len(image))] ^= 1
        image += dice.randbytes(100)
    assert KEY.secret is not None
    reader = Reader(folder, KEY.secret)
    for backup_id, content in images.items():
        assert reader.restore(backup_id) == content


def test_a_recovery_key_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    engine.back_up(b"content", "bk-1")
    ring = repository.open_key_ring(engine.store, KEY, engine.surroundings)
    ring.add_recovery_key(recovery_keys.public_of(b"r" * 32))
    assert Reader(folder, b"r" * 32, recovery=True).restore("bk-1") == b"content"


def test_footers_say_the_same_as_the_index(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    engine.back_up(random.Random(1).randbytes(600 * CHUNK), "bk-1")
    assert KEY.secret is not None
    reader = Reader(folder, KEY.secret)
    from_footers = {}
    for path in (folder / "packs").rglob("*/*"):
        name = bytes.fromhex(path.name)
        for kind, ident, offset, length, raw_length in reader.footer(name):
            from_footers[kind, ident] = (name, offset, length, raw_length)
    from_index = {
        key: (name, offset, length, raw_length)
        for key, (name, _, offset, length, raw_length) in reader.index.items()
    }
    assert from_footers == from_index
    assert len(from_index) == 600 + 3
