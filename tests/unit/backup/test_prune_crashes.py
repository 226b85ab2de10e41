"""Killed at any write of a backup or a collection: what was there stays, and a retry finishes."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import inspection, pack_writer, progress
from mooring.backup.format import packs
from mooring.domain import backups
from mooring.planning import retention
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all
from support.dying_store import DyingStore, Killed, in_a_child, kill_myself

CHUNK = SMALL_CHUNK
CHUNKS = 48
KEEP = retention.KeepRules(last=1)
DICE = random.Random(5)
OLD = DICE.randbytes(CHUNKS * CHUNK)
MIDDLE = b"".join(
    OLD[start : start + CHUNK] if start // CHUNK % 4 == 0 else DICE.randbytes(CHUNK)
    for start in range(0, len(OLD), CHUNK)
)
NEW = MIDDLE[: 20 * CHUNK] + DICE.randbytes(8 * CHUNK) + MIDDLE[28 * CHUNK :]


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 8 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)


class Story:
    """A repository in which everything that a collection can do is about to be due."""

    def __init__(self, folder: Path, *, on_disk: bool) -> None:
        if on_disk:
            (folder / "repo").mkdir(parents=True)
            store = DirectoryBlobStore(folder / "repo")
        folder.mkdir(exist_ok=True)
        self.engine = Engine(folder, store=store if on_disk else MemoryBlobStore())
        engine = self.engine
        engine.back_up(OLD, "bk-1")
        engine.back_up(MIDDLE, "bk-2")
        engine.back_up(DICE.randbytes(CHUNKS * CHUNK), "gone", uid="volume-2")
        engine.open().forget(backups.BackupId("gone"))
        collect(engine)
        age(engine.store)
        engine.open().forget(backups.BackupId("bk-1"))  # makes packs that are mostly waste
        self._kill_a_backup()
        age(engine.store, timedelta(days=7), "sessions/lost")
        age(engine.store, timedelta(days=7), "index/lost")

    def _kill_a_backup(self) -> None:
        self.attempt(lambda: self.engine.back_up(NEW, "lost", uid="volume-3"), 6, after=True)

    def attempt(self, work: Callable[[], object], at: int, *, after: bool) -> bool:
        """Does something that dies at a write; tells whether it died."""
        real = self.engine.store
        if isinstance(real, MemoryBlobStore):
            dying = DyingStore(real, at, after=after)
            self.engine.store = dying
            try:
                work()
            except Killed:
                pass
            finally:
                self.engine.store = real
            return not dying.survived

        def doomed() -> None:
            self.engine.store = DyingStore(real, at, after=after, die=kill_myself)
            work()

        return in_a_child(doomed)

    def whole(self, *expected: tuple[str, bytes]) -> None:
        for backup_id, content in expected:
            assert self.engine.restore(backup_id) == content
        report = inspection.check_repository(self.engine.open(), progress.Watch(), full=True)
        assert report.problems == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_collection_killed_at_any_write(tmp_path: Path, on_disk: bool, after: bool) -> None:
    at = 0
    step = 3 if on_disk else 1
    while True:
        story = Story(tmp_path / f"story-{at}", on_disk=on_disk)
        engine = story.engine
        died = story.attempt(lambda: collect(story.engine, keep=KEEP), at, after=after)  # noqa: B023 - called now
        story.whole(("bk-2", MIDDLE))
        engine.back_up(NEW, "bk-3")
        age(engine.store, timedelta(minutes=15), "lease")
        reports = collect_all(engine)
        story.whole(("bk-2", MIDDLE), ("bk-3", NEW))
        if not died:
            assert at > 15
            assert any(report.acts.packs_deleted for report in reports)
            return
        at += step


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_backup_killed_at_any_write_beside_collections(
    tmp_path: Path, on_disk: bool, after: bool
) -> None:
    at = 0
    while True:
        story = Story(tmp_path / f"story-{at}", on_disk=on_disk)
        engine = story.engine
        died = story.attempt(lambda: story.engine.back_up(NEW, "bk-3"), at, after=after)  # noqa: B023 - called now
        collect(engine)
        age(engine.store)
        collect(engine)
        story.whole(("bk-2", MIDDLE))
        engine.back_up(NEW, "bk-3")
        collect_all(engine)
        story.whole(("bk-2", MIDDLE), ("bk-3", NEW))
        if not died:
            assert at > 3
            return
        at += 1
