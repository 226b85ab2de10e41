"""Writers and collectors that share only the store, each stopped between any two calls of it.

Collectors run with the lease, and without it: safety never rests on it. While an actor stands
still, days may pass in the store.
"""

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import capture, devices, inspection, pack_writer, progress, prune, repository
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import collection
from support.backup_engine import KEY, SMALL_CHUNK, Engine
from support.collecting import age
from support.interleaving import ActorStore, Stage

CHUNK = SMALL_CHUNK
CHUNKS = 24
ROUNDS = int(os.environ.get("MOORING_INTERLEAVINGS", "25"))


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(packs, "TARGET_BYTES", 5 << 10)
    monkeypatch.setattr(pack_writer, "SEGMENT_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("mooring.backup.chunk_hashing.worker_count", lambda: 1)
    monkeypatch.setattr("mooring.backup.chunk_hashing.reader_count", lambda: 1)
    return


class World:
    """Actors on one repository, and what has been promised so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.engine = Engine(folder, store=MemoryBlobStore())
        self.stage = Stage()
        self.promised: dict[str, bytes] = {}
        self.conditional = self.dice.random() < 0.3
        self.folder = folder

    def open(self, actor: str) -> repository.Repository:
        store = ActorStore(self.stage, actor, self.engine.store, conditional=self.conditional)
        return repository.open_repository(store, KEY, self.engine.surroundings)

    def writer(self, actor: str, dice: random.Random) -> None:
        opened = self.open(actor)
        image = bytearray(dice.randbytes(CHUNKS * CHUNK))
        path = self.folder / actor
        for number in range(4):
            first = dice.randrange(CHUNKS)
            count = dice.randrange(1, CHUNKS)
            image[first * CHUNK : (first + count) * CHUNK] = dice.randbytes(count * CHUNK)
            del image[CHUNKS * CHUNK :]
            image.extend(bytes(CHUNKS * CHUNK - len(image)))
            name = f"{actor}-{number}"
            path.write_bytes(image)
            if self._back_up(opened, path, name, actor):
                self.promised[name] = bytes(image)
            if number > 1 and dice.random() < 0.5:
                self.promised.pop(f"{actor}-{number - 1}", None)
                opened.forget(backups.BackupId(f"{actor}-{number - 1}"))

    def _back_up(self, opened: repository.Repository, path: Path, name: str, uid: str) -> bool:
        for _ in range(6):
            with devices.VolumeSource(path) as source:
                request = capture.BackupRequest(
                    backup_id=backups.parse_backup_id(name),
                    volume=backups.VolumeFacts(uid, CHUNKS * CHUNK),
                    point_in_time=self.engine.clock.now(),
                )
                try:
                    capture.back_up(opened, source, request, progress.Watch())
                except errors.Busy:
                    continue
                return True
        return False

    def collector(self, actor: str, dice: random.Random) -> None:
        opened = self.open(actor)
        for _ in range(5):
            request = prune.PruneRequest(
                limits=collection.CollectionLimits(waste=dice.choice([0.2, 0.6])),
                exclusive=True,
            )
            try:
                prune.prune(opened, request, progress.Watch())
            except (errors.Busy, errors.DataCorrupt):
                # Damaged may look what came too late, before its writer has withdrawn it.
                continue

    def play(self) -> None:
        for name in ("writer-a", "writer-b"):
            dice = random.Random(self.dice.random())
            self.stage.start(name, lambda name=name, dice=dice: self.writer(name, dice))  # type: ignore[misc]  # bound now
        for name in ("collector-a", "collector-b"):
            dice = random.Random(self.dice.random())
            self.stage.start(name, lambda name=name, dice=dice: self.collector(name, dice))  # type: ignore[misc]  # bound now
        favourite = None
        while ready := self.stage.ready():
            # Runs of one actor, so that the others stand still for long.
            if favourite not in ready or self.dice.random() < 0.05:
                favourite = self.dice.choice(ready)
            self.stage.let(favourite)
            if self.dice.random() < 0.04:
                self.engine.clock.advance(1)
                age(self.engine.store, timedelta(hours=self.dice.choice([1, 25, 25, 50, 8 * 24])))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_order_of_calls_loses_a_backup(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    world.play()
    assert world.stage.failures == []
    report = inspection.check_repository(world.engine.open(), progress.Watch(), full=True)
    assert report.problems == []
    for name, content in world.promised.items():
        assert world.engine.restore(name) == content
    assert world.promised
