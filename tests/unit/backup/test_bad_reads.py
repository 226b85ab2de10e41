"""What is read wrong once is there: nothing is dropped or taken away for it."""

import random
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import progress, repair
from support.backup_engine import SMALL_CHUNK, Engine

IMAGE = random.Random(1).randbytes(300 * SMALL_CHUNK)


class MisreadingStore(MemoryBlobStore):
    """Flips a bit of the first answer about one object, as bad memory or a bad line does."""

    def __init__(self) -> None:
        super().__init__()
        self.misread = ""
        self.left = 0

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        return self._flipped(key, super().get(key, limit_bytes=limit_bytes))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._flipped(key, super().get_range(key, offset, length))

    def _flipped(self, key: str, data: bytes) -> bytes:
        if key != self.misread or not self.left:
            return data
        self.left -= 1
        wrong = bytearray(data)
        wrong[len(wrong) // 2] ^= 1
        return bytes(wrong)


@pytest.fixture
def store() -> MisreadingStore:
    return MisreadingStore()


@pytest.fixture
def engine(tmp_path: Path, store: MisreadingStore) -> Engine:
    engine = Engine(tmp_path, store=store)
    engine.back_up(IMAGE, "bk-1")
    return engine


def mend(engine: Engine, **fields: Any) -> repair.RepairReport:
    return repair.repair(engine.open(), repair.RepairRequest(**fields), progress.Watch())


@pytest.mark.parametrize("kind", ["manifests/", "index/", "packs/", "sessions/"])
def test_a_repair_drops_nothing_for_one_bad_read(
    engine: Engine, store: MisreadingStore, kind: str
) -> None:
    for key in engine.object_names(kind):
        segments = engine.object_names("index/")
        store.misread, store.left = key, 1
        report = mend(engine, full=True, drop_damaged=True)
        assert (report.damaged, report.segments_removed * (kind == "index/")) == ({}, 0)
        assert set(segments) <= set(engine.object_names("index/")) or kind == "packs/"
        assert engine.restore("bk-1") == IMAGE


def test_a_tree_that_is_read_wrong_once_costs_no_backup(
    engine: Engine, store: MisreadingStore
) -> None:
    node_pack = min(
        engine.object_names("packs/"), key=lambda key: len(store.get(key, limit_bytes=1 << 30))
    )
    for nth in range(12):
        seen = 0

        def count(key: str, offset: int, length: int, nth: int = nth) -> bytes:
            nonlocal seen
            data = MemoryBlobStore.get_range(store, key, offset, length)
            if key != node_pack:
                return data
            seen += 1
            return bytes(len(data)) if seen == nth + 1 else data

        store.get_range = count  # type: ignore[method-assign]
        assert mend(engine, drop_damaged=True).damaged == {}
        assert engine.open().backup_ids() == ["bk-1"]
