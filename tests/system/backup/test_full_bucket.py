"""A backup into a bucket whose server's disk is full."""

import random
from pathlib import Path

import pytest

from mooring.domain import errors
from mooring_dev import s3_server
from support.backup_engine import Engine

pytestmark = pytest.mark.system

FIRST = random.Random(1).randbytes(6 << 20)
SECOND = random.Random(2).randbytes(6 << 20)


def test_a_full_bucket_is_told_and_what_is_in_it_stays(tmp_path: Path) -> None:
    with s3_server.running(tmp_path / "server", room_bytes=10 << 20) as server:
        engine = Engine(tmp_path, store=server.store(server.new_bucket()))
        engine.back_up(FIRST, "bk-1")
        with pytest.raises(errors.SpaceExhausted, match="InsufficientStorage"):
            engine.back_up(SECOND, "bk-2", uid="volume-2")
        assert engine.object_names("manifests/") == ["manifests/bk-1"]
        assert engine.restore("bk-1") == FIRST
