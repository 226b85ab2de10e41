"""Two processes that share only a folder write and collect at once; either stops between any calls.

While one stands still the other goes on, and days pass: the files of the store are aged, no clock
is patched. `MOORING_COLLECTION_ROUNDS` says how many rounds, `MOORING_COLLECTION_SEED` which.
"""

import json
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.backup import inspection, progress
from support.backup_engine import Engine
from support.collecting import age, collect_all
from support.stopping_processes import CHUNK, KEPT, image

pytestmark = pytest.mark.system

ROUNDS = int(os.environ.get("MOORING_COLLECTION_ROUNDS", "50"))
ROOT = Path(__file__).resolve().parents[3]
SEED = int(os.environ.get("MOORING_COLLECTION_SEED", "1"))


class Actor:
    """One of the processes."""

    def __init__(self, role: str, folder: Path) -> None:
        self.output, self.errors = folder / f"{role}.out", folder / f"{role}.err"
        command = [sys.executable, "-m", "support.stopping_processes", role, str(folder)]
        with self.output.open("w") as output, self.errors.open("w") as problems:
            self.process = subprocess.Popen(
                [*command, str(SEED), str(ROUNDS)],
                env={"PYTHONPATH": f"{ROOT}/engine:{ROOT}/tests", "PATH": "/usr/bin:/bin"},
                stdout=output,
                stderr=problems,
            )
        self.running = True
        self.stopped = False
        self.stops = 0

    def look(self, *, wait: bool) -> None:
        """Learns whether it stopped or ended."""
        flags = os.WUNTRACED | (0 if wait else os.WNOHANG)
        process, status = os.waitpid(self.process.pid, flags)
        if not process:
            return
        if os.WIFSTOPPED(status):
            self.stopped = True
            self.stops += 1
        else:
            self.running = False
            self.process.returncode = os.waitstatus_to_exitcode(status)

    def go_on(self) -> None:
        self.stopped = False
        os.kill(self.process.pid, signal.SIGCONT)

    def said(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@pytest.mark.timeout(1200)
def test_writing_and_collecting_at_once_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    store = DirectoryBlobStore(tmp_path / "repo")
    engine = Engine(tmp_path, CHUNK, store=store)
    dice = random.Random(SEED)
    actors = [Actor(role, tmp_path) for role in ("writer", "collector")]
    try:
        while running := [actor for actor in actors if actor.running]:
            for actor in running:
                if not actor.stopped:
                    # Then both stand still, and one of them may do so for many turns.
                    actor.look(wait=True)
            if dice.random() < 0.5:
                age(store, timedelta(hours=dice.choice([1, 25, 49, 8 * 24])))
            stopped = [actor for actor in running if actor.stopped]
            if stopped:
                dice.choice(stopped).go_on()
    finally:
        for actor in actors:
            if actor.running:
                actor.process.kill()
                actor.process.wait()
    for actor in actors:
        assert actor.process.returncode == 0, actor.errors.read_text()
        assert actor.stops > ROUNDS // 3
    writer, collector = (actor.said() for actor in actors)
    assert len(writer) == len(collector) == ROUNDS
    assert sum(int(str(line.get("deleted", 0))) for line in collector) > 0
    _all_is_whole(engine)
    collect_all(engine)
    _all_is_whole(engine)


def _all_is_whole(engine: Engine) -> None:
    listed = engine.open().backup_ids()
    newest = {f"bk-{number}" for number in range(ROUNDS - KEPT, ROUNDS)}
    assert newest <= set(listed)
    for backup_id in listed:
        number = int(backup_id.removeprefix("bk-"))
        assert engine.restore(backup_id) == image(SEED, number)
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []
