"""A repository in a folder whose filesystem hangs at any call, as a hard NFS mount does.

The kernel waits, and so does the backup: it says what for, and goes on when the mount is back.
"""

import random
import threading
from pathlib import Path

import pytest

from mooring.adapters.blobstores.call_watch import CallWatch, SilenceLimits
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.watched_store import WatchedBlobStore
from mooring.backup import inspection, lease, progress, repair
from mooring.domain import backups, errors
from support.backup_engine import Engine
from support.collecting import collect
from support.faulty_filesystem import CALLS, OF_FCNTL, FaultyFilesystem

FIRST, SECOND = (random.Random(seed).randbytes(200_000) for seed in (3, 4))


class Mount:
    """A repository, and what is heard of it while it hangs."""

    def __init__(self, folder: Path, filesystem: FaultyFilesystem) -> None:
        self.filesystem = filesystem
        self.hanging, self.told, self.back = (threading.Event() for _ in range(3))
        self.words = ""
        watch = CallWatch(filesystem.folder, self._hear, SilenceLimits(say_seconds=0.2))
        store = WatchedBlobStore(DirectoryBlobStore(Path(filesystem.folder)), watch)
        self.engine = Engine(folder, chunk_size_bytes=4096, store=store)

    def hang_at(self, call: str) -> None:
        def fault(name: str, _: int) -> None:
            if name == call:
                self.hanging.set()
                self.back.wait(60)

        self.filesystem.begin(fault)

    def _hear(self, error: errors.Unreachable, _: bool) -> None:
        self.words = str(error)
        if self.hanging.is_set():
            self.told.set()


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    folder = tmp_path / "mount"
    folder.mkdir()
    return Mount(tmp_path, FaultyFilesystem(folder, monkeypatch))


def everything(engine: Engine) -> None:
    """All that is done to a repository, so that every call is made."""
    engine.back_up(SECOND, "bk-2", uid="volume-2")
    assert engine.restore("bk-2") == SECOND
    engine.open().forget(backups.BackupId("bk-1"))
    collect(engine)
    assert inspection.check_repository(engine.open(), progress.Watch(), full=True).healthy
    repair.repair(engine.open(), repair.RepairRequest(full=True), progress.Watch())


@pytest.mark.parametrize("call", [*CALLS, *OF_FCNTL])
def test_a_mount_that_hangs_is_waited_for_and_named(mount: Mount, call: str) -> None:
    mount.engine.back_up(FIRST, "bk-1")
    mount.hang_at(call)
    worker = threading.Thread(target=everything, args=(mount.engine,))
    worker.start()
    assert mount.hanging.wait(60), f"{call} is never called"
    assert mount.told.wait(60)
    assert worker.is_alive()
    assert f"{mount.filesystem.folder} has not answered" in mount.words
    mount.back.set()
    worker.join(60)
    assert not worker.is_alive()
    mount.filesystem.begin()
    assert mount.engine.object_names("manifests/") == ["manifests/bk-2"]
    assert mount.engine.restore("bk-2") == SECOND
    with lease.held(mount.engine.open(), mount.engine.clock.now(), exclusive=False) as held:
        assert held is not None  # nobody keeps it
