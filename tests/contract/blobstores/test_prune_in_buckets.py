"""Collections on a real S3 server: conditional writes, the server's clock, locks and rights."""

import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.backup import inspection, progress
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring_dev.s3_server import S3Server
from support.backup_engine import Engine
from support.collecting import DAY, collect
from support.locked_buckets import locked_bucket

FIRST = random.Random(1).randbytes(1 << 18)
SECOND = random.Random(2).randbytes(1 << 18)


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)


def age(server: S3Server, bucket: str, by: timedelta = DAY) -> None:
    """Ages the server's own files, which is what it tells the time of an object by."""
    for path in (server.folder.parent / "data" / bucket).rglob("*"):
        if path.is_file():
            moment_ns = path.stat().st_mtime_ns - int(by.total_seconds() * 1e9)
            os.utime(path, ns=(moment_ns, moment_ns))


def story(tmp_path: Path, server: S3Server, bucket: str) -> Engine:
    engine = Engine(tmp_path, 4096, store=server.store(bucket))
    engine.back_up(FIRST, "bk-1")
    engine.back_up(SECOND, "bk-2", uid="volume-2")
    engine.open().forget(backups.BackupId("bk-1"))
    return engine


def whole(engine: Engine) -> None:
    assert engine.restore("bk-2") == SECOND
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []


def test_what_nothing_needs_goes_after_a_day_by_the_servers_clock(
    tmp_path: Path, server: S3Server
) -> None:
    bucket = server.new_bucket()
    engine = story(tmp_path, server, bucket)
    assert collect(engine).acts.packs_doomed > 3
    assert collect(engine).acts.packs_deleted == 0
    age(server, bucket)
    assert collect(engine).acts.packs_deleted > 3
    whole(engine)
    info = engine.store.head("lease")
    assert info is not None


def lockable_bucket(server: S3Server) -> str:
    return server.new_bucket({"x-amz-bucket-object-lock-enabled": "true"})


@pytest.mark.parametrize("new_bucket", [lockable_bucket, locked_bucket])
def test_a_locked_bucket_is_collected_and_nothing_is_written_over(
    tmp_path: Path, server: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """Also where all is retained for a day: what is deleted goes from the listings at once."""
    bucket = new_bucket(server)
    engine = story(tmp_path, server, bucket)
    before = {info.key: info.version for info in engine.store.list("")}
    packs_before = len(engine.object_names("packs/"))
    doomed = collect(engine).acts.packs_doomed
    assert doomed > 3
    age(server, bucket)
    assert collect(engine).acts.packs_deleted == doomed
    age(server, bucket)
    collect(engine)
    whole(engine)
    assert len(engine.object_names("packs/")) == packs_before - doomed
    after = {info.key: info.version for info in engine.store.list("")}
    kept = Counter(after[key] == version for key, version in before.items() if key in after)
    assert set(kept) == {True}


def test_who_may_not_delete_marks_and_somebody_else_deletes(
    tmp_path: Path, server: S3Server
) -> None:
    bucket = server.new_bucket()
    engine = story(tmp_path, server, bucket)
    administrator = engine.store
    engine.store = server.store(bucket, identity=server.writer_of(bucket, "writer-and-no-more"))
    marked = collect(engine)
    assert marked.acts.packs_doomed > 3
    age(server, bucket)
    with pytest.raises(errors.PermissionDenied, match="AccessDenied"):
        collect(engine)
    whole(engine)
    engine.store = administrator
    assert collect(engine).acts.packs_deleted == marked.acts.packs_doomed
    whole(engine)
