"""Collections in folders and buckets on a filesystem without a free byte."""

import errno
import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.host import commands
from mooring.backup import inspection, progress
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import retention
from mooring_dev import s3_server
from support.backup_engine import Engine
from support.collecting import DAY, collect

pytestmark = pytest.mark.system

FIRST = random.Random(1).randbytes(2 << 20)
OTHER = random.Random(2).randbytes(2 << 20)


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 256 << 10)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, point: Path) -> Path:
    """The root of a small filesystem."""
    kind: str = request.param
    if kind == "tmpfs":
        commands.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(point)])
    else:
        image = tmp_path / "disk"
        with image.open("wb") as file:
            file.truncate((32 if kind == "ext4" else 320) << 20)
        commands.run(
            [f"mkfs.{kind}", "-q", *(["-b", "4096"] if kind == "ext4" else []), str(image)]
        )
        commands.run(["mount", "-o", "loop", str(image), str(point)])
    (point / "repo").mkdir()
    return point


def fill(folder: Path) -> None:
    """Leaves not a byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        size_bytes = 1 << 20
        while size_bytes:
            try:
                file.write(bytes(size_bytes))
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size_bytes //= 2
    with pytest.raises(OSError, match="No space"):
        (folder / "one more").write_bytes(bytes(4096))
    (folder / "one more").unlink(missing_ok=True)  # XFS makes not even a name


def age(folder: Path, by: timedelta = DAY) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            moment_ns = path.stat().st_mtime_ns - int(by.total_seconds() * 1e9)
            os.utime(path, ns=(moment_ns, moment_ns))


def whole(engine: Engine, backup_id: str, content: bytes) -> None:
    assert engine.restore(backup_id) == content
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []


@pytest.mark.parametrize("folder", ["tmpfs", "ext4"], indirect=True)
def test_what_was_doomed_before_makes_room(tmp_path: Path, folder: Path) -> None:
    engine = Engine(tmp_path, 4096, store=DirectoryBlobStore(folder / "repo"))
    engine.back_up(FIRST, "bk-1")
    engine.back_up(OTHER, "bk-2", uid="volume-2")
    engine.open().forget(backups.BackupId("bk-2"))
    doomed = collect(engine).acts.packs_doomed
    assert doomed > 6
    fill(folder)
    age(folder / "repo")
    engine.store = DirectoryBlobStore(folder / "repo")  # one that has not tried yet
    with pytest.raises(errors.SpaceExhausted, match="--exclusive"):
        collect(engine)
    assert collect(engine, exclusive=True).acts.packs_deleted == doomed
    whole(engine, "bk-1", FIRST)
    assert not list((folder / "repo/.uploads").iterdir())


@pytest.mark.parametrize("folder", ["tmpfs", "ext4"], indirect=True)
def test_retention_makes_room_from_nothing(tmp_path: Path, folder: Path) -> None:
    """Nothing was ever collected, so that there are not even folders for the marks."""
    engine = three_backups(tmp_path, folder)
    fill(folder)
    keep = retention.KeepRules(last=1)
    doomed = collect(engine, keep=keep, exclusive=True).acts.packs_doomed
    assert doomed > 6
    age(folder / "repo")
    assert collect(engine, exclusive=True).acts.packs_deleted == doomed
    whole(engine, "bk-3", FIRST)


@pytest.mark.parametrize("folder", ["xfs"], indirect=True)
def test_a_full_xfs_takes_no_mark_and_loses_nothing(tmp_path: Path, folder: Path) -> None:
    """It makes no file without room for its own tables; with a little it is emptied."""
    engine = three_backups(tmp_path, folder)
    fill(folder)
    keep = retention.KeepRules(last=1)
    with pytest.raises(errors.SpaceExhausted, match="make room there"):
        collect(engine, keep=keep, exclusive=True)
    whole(engine, "bk-3", FIRST)
    filler = folder / "filler"
    os.truncate(filler, filler.stat().st_size - (4 << 20))
    collect(engine, keep=keep, exclusive=True)
    age(folder / "repo")
    assert collect(engine, exclusive=True).acts.packs_deleted > 6
    whole(engine, "bk-3", FIRST)


def three_backups(tmp_path: Path, folder: Path) -> Engine:
    engine = Engine(tmp_path, 4096, store=DirectoryBlobStore(folder / "repo"))
    assert engine.store.conditional_writes()  # as `mooring repo init` does
    engine.back_up(OTHER, "bk-1")
    engine.back_up(OTHER[::-1], "bk-2")
    engine.back_up(FIRST, "bk-3")
    return engine


def test_a_bucket_on_a_full_disk_is_emptied(tmp_path: Path) -> None:
    with s3_server.running(tmp_path / "server", room_bytes=16 << 20) as server:
        bucket = server.new_bucket()
        engine = Engine(tmp_path, 4096, store=server.store(bucket))
        engine.back_up(FIRST, "bk-1")
        engine.back_up(OTHER, "bk-2", uid="volume-2")
        engine.open().forget(backups.BackupId("bk-2"))
        doomed = collect(engine).acts.packs_doomed
        data = disk_of(tmp_path / "server" / "data")
        fill(data)
        age(data / bucket)
        engine.store = server.store(bucket)
        with pytest.raises(errors.SpaceExhausted, match="--exclusive"):
            collect(engine)
        assert collect(engine, exclusive=True).acts.packs_deleted == doomed
        whole(engine, "bk-1", FIRST)


def disk_of(folder: Path) -> Path:
    """Returns the server's disk, which only the server has mounted."""
    for process in Path("/proc").glob("[0-9]*"):
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        if os.fsencode(folder) in arguments and b"versitygw" in arguments[0]:
            return process / "root" / folder.relative_to("/")
    raise AssertionError("the server is not running")
