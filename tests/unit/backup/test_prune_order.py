"""The order in which a collection looks and acts, which its safety rests on."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import pack_writer
from mooring.backup.format import packs
from mooring.domain import backups
from mooring.planning import collection
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect
from support.dying_store import DyingStore, Killed

CHUNKS = 24


class RecordingStore(MemoryBlobStore):
    """Remembers what is listed, and in which folder something is made."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def list(self, prefix: str) -> "list[blobstores.BlobInfo]":  # type: ignore[override]
        self.calls.append(("list", prefix.partition("/")[0]))
        return list(super().list(prefix))

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self.calls.append(("put", key.partition("/")[0]))
        super().put(key, data)

    def last(self, what: str, folder: str) -> int:
        return max(place for place, call in enumerate(self.calls) if call == (what, folder))


def test_it_looks_and_acts_in_the_one_order_that_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 6 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)
    store = RecordingStore()
    engine = Engine(tmp_path, store=store)
    image = bytearray(random.Random(1).randbytes(CHUNKS * SMALL_CHUNK))
    engine.back_up(bytes(image), "bk-1")
    for first in range(0, CHUNKS, 2):  # half of each pack is waste
        start = first * SMALL_CHUNK
        image[start : start + SMALL_CHUNK] = random.Random(first + 2).randbytes(SMALL_CHUNK)
    engine.back_up(bytes(image), "bk-2")
    engine.open().forget(backups.BackupId("bk-1"))
    engine.store = DyingStore(store, 6)
    with pytest.raises(Killed):
        engine.back_up(bytes(image), "bk-3", uid="volume-2", parent=None)
    engine.store = store
    age(store, timedelta(days=8))
    store.calls.clear()
    report = collect(engine, exclusive=True, limits=collection.CollectionLimits(waste=0.2))
    assert report.acts.closed
    assert report.acts.bytes_copied
    calls = store.calls
    looked = [calls.index(("list", where)) for where in ("tombstones", "packs", "manifests")]
    assert looked == sorted(looked)
    assert calls.count(("list", "packs")) == 1
    closed = store.last("put", "closed")
    assert closed < store.last("list", "manifests") < store.last("list", "sessions")
    rewritten = [step for step in report.packs if step.fate is collection.PackFate.REWRITE]
    dooms = [place for place, call in enumerate(calls) if call == ("put", "tombstones")]
    assert rewritten
    assert len(dooms) == len(rewritten) + report.count(collection.PackFate.DOOM)[0]
    assert store.last("put", "index") < dooms[-len(rewritten)]
