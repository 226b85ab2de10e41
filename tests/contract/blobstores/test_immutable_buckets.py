"""Buckets that keep what is in them: versions, object lock, and identities without all rights."""

import contextlib
import random
import re
import urllib.parse
from pathlib import Path

import pytest

from mooring.backup import inspection, progress
from mooring.domain import errors
from mooring_dev.s3_server import S3Server
from support.backup_engine import Engine
from support.locked_buckets import locked_bucket

FIRST = random.Random(1).randbytes(1 << 20)
SECOND = FIRST[:-4096] + random.Random(2).randbytes(4096)


def versions_of(server: S3Server, bucket: str) -> list[tuple[str, str]]:
    """Returns key and version of every version, delete markers left out."""
    answer = server.request("GET", f"/{bucket}", query="versions=").decode()
    found = re.findall(r"<Version>(.*?)</Version>", answer, re.DOTALL)
    return [
        (
            re.findall(r"<Key>(.*?)</Key>", text)[0],
            re.findall(r"<VersionId>(.*?)</VersionId>", text)[0],
        )
        for text in found
    ]


def test_committed_objects_are_never_written_again(tmp_path: Path, server: S3Server) -> None:
    bucket = locked_bucket(server)
    engine = Engine(tmp_path, store=server.store(bucket))
    for number, content in enumerate((FIRST, SECOND, FIRST)):
        engine.back_up(content, f"bk-{number}")
        engine.back_up(content, f"bk-{number}")  # a retry of a command that had finished
    assert engine.restore("bk-1") == SECOND
    assert inspection.check_repository(engine.open(), progress.Watch(), full=True).healthy
    keys = [key for key, _ in versions_of(server, bucket)]
    assert len(keys) > 10
    assert len(set(keys)) == len(keys)


def test_what_is_locked_outlives_its_administrator(tmp_path: Path, server: S3Server) -> None:
    bucket = locked_bucket(server)
    engine = Engine(tmp_path, store=server.store(bucket))
    engine.back_up(FIRST, "bk-1")
    before = versions_of(server, bucket)
    for key, version in before:
        path = urllib.parse.quote(f"/{bucket}/{key}")
        status, answer = server.ask("DELETE", path, query=f"versionId={version}")
        assert status == 403, answer
    assert versions_of(server, bucket) == before
    assert engine.restore("bk-1") == FIRST


def test_one_of_many_racing_writers_is_let_through_where_all_is_locked(server: S3Server) -> None:
    """What a trial or a lease replaces stays as a version, and hinders nothing."""
    bucket = locked_bucket(server)
    store = server.store(bucket)
    assert store.conditional_writes()
    assert list(store.list("")) == []
    assert len(versions_of(server, bucket)) >= 8
    assert server.store(bucket).conditional_writes()


@pytest.fixture
def writer(tmp_path: Path, server: S3Server) -> Engine:
    """A repository whose writer may not delete."""
    bucket = server.new_bucket()
    identity = server.writer_of(bucket, f"writer-{tmp_path.name}")
    return Engine(tmp_path, store=server.store(bucket, identity=identity))


def test_who_may_not_delete_writes_and_restores(writer: Engine) -> None:
    writer.back_up(FIRST, "bk-1")
    writer.back_up(SECOND, "bk-2")
    assert writer.restore("bk-1") == FIRST
    assert writer.restore("bk-2") == SECOND
    assert writer.store.conditional_writes()


def test_who_may_not_delete_forgets_nothing(writer: Engine) -> None:
    writer.back_up(FIRST, "bk-1")
    with pytest.raises(errors.PermissionDenied, match="AccessDenied"):
        writer.open().forget(writer.open().backup_ids()[0])
    for key in writer.object_names():
        with contextlib.suppress(errors.PermissionDenied):
            writer.store.delete(key)
        with pytest.raises(errors.AlreadyExists):
            writer.store.put(key, b"something else")
    assert writer.restore("bk-1") == FIRST
