"""A repository in a folder whose filesystem fails at any call, as an NFS mount may."""

import contextlib
import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.domain import errors
from support.backup_engine import Engine
from support.faulty_filesystem import FaultyFilesystem

IMAGE = random.Random(3).randbytes(400_000)
POINTS = 24
"""How many calls of each run, evenly spread, fail in turn."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mount"
    folder.mkdir()
    return folder


@pytest.fixture
def filesystem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyFilesystem:
    return FaultyFilesystem(folder, monkeypatch)


@pytest.fixture
def engine(tmp_path: Path, folder: Path, filesystem: FaultyFilesystem) -> Engine:
    return Engine(tmp_path, chunk_size_bytes=4096, store=DirectoryBlobStore(folder))


def spread(count: int) -> Iterator[int]:
    chosen = min(POINTS, count)
    return iter(sorted({(2 * i + 1) * count // (2 * chosen) for i in range(chosen)}))


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO])
def test_a_backup_survives_an_error_of_any_call(
    engine: Engine, filesystem: FaultyFilesystem, error: int
) -> None:
    engine.back_up(IMAGE, "bk-0", uid="volume-0")
    filesystem.begin()
    engine.back_up(IMAGE, "bk-1", uid="volume-1")
    count = len(filesystem.calls)
    assert {"open", "write", "fsync", "link", "scandir"} <= set(filesystem.calls)
    failed = 0
    for number in spread(count):
        content = random.Random(number).randbytes(300_000)
        backup_id = f"bk-{error}-{number}"
        filesystem.fail_at(number, error)
        try:
            engine.back_up(content, backup_id, uid=backup_id)
        except errors.MooringError:
            failed += 1
            filesystem.begin()
            engine.back_up(content, backup_id, uid=backup_id)
        filesystem.begin()
        assert engine.restore(backup_id) == content
    assert failed > POINTS // 2
    assert engine.restore("bk-0") == IMAGE


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO])
def test_a_restore_survives_an_error_of_any_call(
    engine: Engine, filesystem: FaultyFilesystem, error: int
) -> None:
    engine.back_up(IMAGE, "bk-1")
    filesystem.begin()
    assert engine.restore("bk-1") == IMAGE
    failed = 0
    for number in spread(len(filesystem.calls)):
        filesystem.fail_at(number, error)
        try:
            assert engine.restore("bk-1") == IMAGE
        except errors.MooringError:
            failed += 1
    assert failed > POINTS // 2
    filesystem.begin()
    assert engine.restore("bk-1") == IMAGE


def everything(store: DirectoryBlobStore) -> None:
    """Each call of the port once, on a folder with nothing in it."""
    store.put("packs/aa/one", b"first")
    upload = store.upload("packs/bb/two")
    try:
        upload.write(b"second")
        upload.commit()
    finally:
        upload.abandon()
    info = store.head("packs/aa/one")
    assert info is not None
    store.replace("packs/aa/one", b"third", version=info.version)
    assert store.get("packs/aa/one", limit_bytes=99) == b"third"
    assert store.get_range("packs/bb/two", 1, 2) == b"ec"
    assert len(list(store.list("packs/"))) == 2
    store.delete("packs/aa/one")


def open_below(folder: Path) -> list[str]:
    """The files below a folder that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return sorted(path for path in found if path.startswith(f"{folder}"))


def test_an_error_of_any_call_leaves_nothing_open_and_no_file(
    folder: Path, filesystem: FaultyFilesystem
) -> None:
    def fresh(name: str) -> DirectoryBlobStore:
        filesystem.begin()
        (folder / name).mkdir()
        return DirectoryBlobStore(folder / name)

    store = fresh("no fault")
    filesystem.begin()
    everything(store)
    calls = list(filesystem.calls)
    assert len(calls) > 80
    for number, call in enumerate(calls):
        store = fresh(str(number))
        inside = folder / str(number)
        before = open_below(inside)
        filesystem.fail_at(number, errno.EIO)
        with contextlib.suppress(errors.MooringError):
            everything(store)
        filesystem.begin()
        assert open_below(inside) == before, (number, call)
        left = list((inside / ".uploads").iterdir()) if (inside / ".uploads").exists() else []
        assert call == "unlink" or not left, (number, call)


@pytest.mark.parametrize("call", ["scandir", "stat", "unlink"])
def test_a_write_does_without_the_sweep(
    folder: Path, filesystem: FaultyFilesystem, call: str
) -> None:
    (folder / ".uploads").mkdir()
    (folder / ".uploads" / "of a killed writer").write_bytes(b"")
    os.utime(folder / ".uploads" / "of a killed writer", (0, 0))
    store = DirectoryBlobStore(folder)

    def fault(name: str, _: int) -> None:
        if name == call:
            raise OSError(errno.EIO, "fault")

    filesystem.begin(fault)
    store.put("packs/aa/one", b"first")
    assert call in filesystem.calls
    filesystem.begin()
    assert store.get("packs/aa/one", limit_bytes=99) == b"first"


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_backup_waits_for_a_mount_that_hangs(
    engine: Engine, filesystem: FaultyFilesystem, folder: Path, call: str
) -> None:
    hanging, back = threading.Event(), threading.Event()

    def fault(name: str, _: int) -> None:
        if name == call:
            hanging.set()
            back.wait(60)

    filesystem.begin(fault)
    worker = threading.Thread(target=engine.back_up, args=(IMAGE, "bk-1"))
    worker.start()
    assert hanging.wait(60)
    assert not (folder / "manifests").exists()
    assert worker.is_alive()
    back.set()
    worker.join()
    filesystem.begin()
    assert engine.restore("bk-1") == IMAGE
