"""The page on the format is enough to restore from: a reader written from it does."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import repository
from mooring.backup.format import recovery_keys
from mooring.domain import backups
from support import collecting, format_reader
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
        assert restored(reader, backup_id, tmp_path) == content


def test_the_reader_restores_by_itself_what_is_left_after_collections(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    dice = random.Random(2)
    image = bytearray(dice.randbytes(900 * CHUNK))
    for backup_id in ("bk-1", "bk-2", "bk-3"):
        engine.back_up(bytes(image), backup_id)
        image[: 800 * CHUNK] = dice.randbytes(800 * CHUNK)
    kept = engine.restore("bk-3")
    before = set(engine.object_names("packs/"))
    for gone in ("bk-1", "bk-2"):
        engine.open().forget(backups.BackupId(gone))
    collecting.collect_all(engine)
    after = set(engine.object_names("packs/"))
    assert before - after, "nothing was collected"
    assert after - before, "nothing was copied to a new pack"
    key_file = tmp_path / "key"
    assert KEY.secret is not None
    key_file.write_text(KEY.secret.hex() + "\n")
    image_file = tmp_path / "by-itself"
    script = format_reader.__file__
    # -I: neither the environment nor a folder of this checkout is on the path.
    argv = [sys.executable, "-I", script, folder, key_file, "bk-3", image_file]
    subprocess.run(list(map(str, argv)), check=True, timeout=60)
    assert image_file.read_bytes() == kept


def test_the_reader_imports_nothing_of_mooring() -> None:
    source = Path(format_reader.__file__).read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports
    assert not [line for line in imports if "mooring" in line or "support" in line]
    assert len(source.splitlines()) <= 200


def test_a_key_that_was_taken_away_opens_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    engine.back_up(b"content", "bk-1")
    ring = repository.open_key_ring(engine.store, KEY, engine.surroundings)
    added = ring.add_recovery_key(recovery_keys.public_of(b"r" * 32))
    ring.remove(added, last_recovery=True)
    with pytest.raises(AssertionError, match="no slot"):
        Reader(folder, b"r" * 32, recovery=True)


def restored(reader: Reader, backup_id: str, folder: Path) -> bytes:
    image = folder / f"{backup_id}.img"
    reader.restore(backup_id, image)
    return image.read_bytes()


def test_a_recovery_key_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    engine = Engine(tmp_path, store=DirectoryBlobStore(folder))
    engine.back_up(b"content", "bk-1")
    ring = repository.open_key_ring(engine.store, KEY, engine.surroundings)
    ring.add_recovery_key(recovery_keys.public_of(b"r" * 32))
    reader = Reader(folder, b"r" * 32, recovery=True)
    assert restored(reader, "bk-1", tmp_path) == b"content"


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
