"""Two packs are on their way at once, and never more: they share a line, and memory."""

import random
import threading
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup.format import packs
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine

WAIT_SECONDS = 0.3


class CountingStore(MemoryBlobStore):
    """A store whose packs take a while; each waits a moment for a second one.

    Attributes:
        most: So many data packs were on their way at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._under_way = 0
        self._changed = threading.Condition()

    def put(self, key: str, data: blobstores.Buffer) -> None:
        if not key.startswith("packs/") or len(data) < packs.TARGET_BYTES:
            return super().put(key, data)
        with self._changed:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._under_way > 2, WAIT_SECONDS)
            self._under_way -= 1
        return super().put(key, data)


def test_two_packs_are_sent_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    store = CountingStore()
    engine = Engine(tmp_path, store=store)
    content = random.Random(1).randbytes(1000 * SMALL_CHUNK)
    engine.back_up(content, "bk-1")
    assert store.most == blobstores.UPLOADS_AT_ONCE
    assert engine.restore("bk-1") == content
