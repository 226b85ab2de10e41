"""A writer and a collector as processes that stop themselves before calls of the store.

Run as `python -m support.stopping_processes ROLE FOLDER SEED ROUNDS`. Each says in JSON lines what
it has done. Whoever started it continues it.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import capture, devices, pack_writer, progress, prune, repository
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import collection, retention
from mooring.ports import blobstores
from support.backup_engine import KEY

CHUNK = 512
CHUNKS = 60
KEPT = 3
STOPS = 0.03


class StoppingStore(DirectoryBlobStore):
    """A folder whose user stops itself before one call in so many."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        super().__init__(folder)
        self._dice = dice

    def _stop(self) -> None:
        if self._dice.random() < STOPS:
            os.kill(os.getpid(), signal.SIGSTOP)

    def put(self, key: str, data: blobstores.Buffer) -> None:
        self._stop()
        super().put(key, data)

    def replace(self, key: str, data: blobstores.Buffer, *, version: str) -> str:
        self._stop()
        return super().replace(key, data, version=version)

    def upload(self, key: str) -> blobstores.Upload:
        upload = super().upload(key)
        commit = upload.commit

        def committing() -> None:
            self._stop()
            commit()

        upload.commit = committing  # type: ignore[method-assign]  # stops first
        return upload

    def get(self, key: str, *, limit_bytes: int) -> bytes:
        self._stop()
        return super().get(key, limit_bytes=limit_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self._stop()
        return super().get_range(key, offset, length)

    def head(self, key: str) -> blobstores.BlobInfo | None:
        self._stop()
        return super().head(key)

    def list(self, prefix: str) -> Iterator[blobstores.BlobInfo]:
        self._stop()
        return super().list(prefix)

    def delete(self, key: str) -> None:
        self._stop()
        super().delete(key)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def image(seed: int, number: int) -> bytes:
    """The volume at its n-th backup: each time some of it is new, and some comes back."""
    content = bytearray(random.Random(seed).randbytes(CHUNKS * CHUNK))
    for step in range(number + 1):
        dice = random.Random(seed * 1000 + step)
        for _ in range(6):
            place = dice.randrange(CHUNKS) * CHUNK
            content[place : place + CHUNK] = random.Random(dice.randrange(40)).randbytes(CHUNK)
    return bytes(content)


def write(opened: repository.Repository, folder: Path, seed: int, rounds: int) -> None:
    """Makes backups."""
    path = folder / "image"
    for number in range(rounds):
        path.write_bytes(image(seed, number))
        attempts = 0
        while not _back_up(opened, path, number):
            attempts += 1
        _say(made=number, attempts=attempts)


def _back_up(opened: repository.Repository, path: Path, number: int) -> bool:
    with devices.VolumeSource(path) as source:
        request = capture.BackupRequest(
            backup_id=backups.parse_backup_id(f"bk-{number}"),
            volume=backups.VolumeFacts("volume-1", CHUNKS * CHUNK),
            point_in_time=datetime.now(UTC),
        )
        try:
            capture.back_up(opened, source, request, progress.Watch())
        except errors.Busy:
            return False
    return True


def collect(opened: repository.Repository, rounds: int) -> None:
    """Collects, keeping the last few backups."""
    request = prune.PruneRequest(
        keep=retention.KeepRules(last=KEPT),
        limits=collection.CollectionLimits(waste=0.3),
        exclusive=True,
    )
    for number in range(rounds):
        try:
            report = prune.prune(opened, request, progress.Watch())
        except (errors.Busy, errors.DataCorrupt) as error:
            _say(collected=number, why=str(error))
        else:
            acts = report.acts
            _say(collected=number, deleted=acts.packs_deleted, copied=acts.bytes_copied)


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main(role: str, folder: Path, seed: int, rounds: int) -> None:
    """Runs one of the two."""
    packs.TARGET_BYTES = 8 << 10  # type: ignore[misc]  # several packs a backup
    pack_writer.SEGMENT_INTERVAL_SECONDS = 0.0
    store = StoppingStore(folder / "repo", random.Random(f"{seed} {role}"))
    opened = repository.open_repository(store, KEY, repository.Surroundings(_Clock()))
    work: dict[str, Callable[[], None]] = {
        "writer": lambda: write(opened, folder, seed, rounds),
        "collector": lambda: collect(opened, rounds),
    }
    work[role]()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
