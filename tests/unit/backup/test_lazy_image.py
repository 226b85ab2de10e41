"""A backup that is read as an image, held against plain bytes."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import lazy_image
from mooring.domain import backups, errors
from support.backup_engine import SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK


class CountingStore(MemoryBlobStore):
    """Counts what is read of packs, and fails for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0
        self.gone = False
        self.asked_in_vain = 0

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if self.gone:
            self.asked_in_vain += 1
            raise errors.Unreachable("the store is gone")
        self.bytes_read += length
        return super().get_range(key, offset, length)


@contextmanager
def image_of(engine: Engine, folder: Path) -> Iterator[lazy_image.LazyImage]:
    opened = engine.open()
    manifest = opened.manifest(backups.BackupId("bk-1"))
    with lazy_image.LazyImage(opened, manifest, folder) as image:
        yield image


@pytest.fixture
def image(engine: Engine, tmp_path: Path) -> Iterator[lazy_image.LazyImage]:
    with image_of(engine, tmp_path) as image:
        yield image


@pytest.fixture
def content() -> bytes:
    dice = random.Random(4)
    return dice.randbytes(5000 * CHUNK) + bytes(3000 * CHUNK) + dice.randbytes(700 * CHUNK) + b"end"


@pytest.fixture
def engine(tmp_path: Path, content: bytes) -> Engine:
    engine = Engine(tmp_path, store=CountingStore())
    engine.back_up(content, "bk-1")
    return engine


def test_it_reads_and_changes_like_a_file(
    engine: Engine, image: lazy_image.LazyImage, content: bytes, tmp_path: Path
) -> None:
    model, dice = bytearray(content), random.Random(5)
    for _ in range(400):
        start = dice.randrange(len(model))
        length = dice.randrange(1, 3000)
        if dice.random() < 0.4:
            data = dice.randbytes(min(length, len(model) - start))
            model[start : start + len(data)] = data
            image.write(start, memoryview(data))
        assert image.read(start, length) == model[start : start + length]
    assert image.read(0, len(model) + 1) == model
    assert engine.restore("bk-1") == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image", "restored"]


def test_only_what_is_read_is_fetched_and_only_once(
    engine: Engine, image: lazy_image.LazyImage
) -> None:
    assert isinstance(engine.store, CountingStore)
    engine.store.bytes_read = 0
    image.read(10 * CHUNK, 100)
    once = engine.store.bytes_read
    assert 0 < once < 2 << 20
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: image.read(number * CHUNK, CHUNK), range(1000)))
    assert engine.store.bytes_read == once
    image.read(6000 * CHUNK, CHUNK)  # zeros are known without being fetched
    assert image.read(6000 * CHUNK, CHUNK) == bytes(CHUNK)


def test_a_silent_store_is_waited_for_once_and_asked_again_later(
    engine: Engine, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page that the kernel read ahead would have the whole patience of a request."""
    now = [100.0]
    monkeypatch.setattr("mooring.backup.lazy_image.time.monotonic", lambda: now[0])
    assert isinstance(engine.store, CountingStore)
    with image_of(engine, tmp_path) as image:
        engine.store.gone = True
        for page in range(100):
            with pytest.raises(errors.Unreachable, match="the store is gone"):
                image.read(page * 50 * CHUNK, 10)
        assert engine.store.asked_in_vain == 1
        now[0] += 6
        with pytest.raises(errors.Unreachable):
            image.read(0, 10)
        assert engine.store.asked_in_vain == 2
        engine.store.gone = False
        now[0] += 6
        assert image.read(0, 10) == content[:10]


def test_damage_is_never_read(engine: Engine, tmp_path: Path) -> None:
    for key in engine.object_names("packs/"):
        engine.damage(key, lambda data: data.__setitem__(5000, data[5000] ^ 1))
    with image_of(engine, tmp_path) as image, pytest.raises(errors.DataCorrupt):
        image.read(0, 9000 * CHUNK)


def test_a_scratch_folder_that_is_none(engine: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(errors.PermissionDenied, match="--scratch"),
        image_of(engine, tmp_path / "none"),
    ):
        pass
