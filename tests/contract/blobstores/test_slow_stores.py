"""The real engine on a real S3 server behind a line that is slow, and stays slow.

What a line of the least bandwidth carries gets through, however long it takes; less than that ends
in a clear error, and a broken large write is repeated like any other.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.adapters.blobstores import object_clients
from mooring.domain import errors
from mooring_dev.s3_server import S3Server
from support import fault_proxy
from support.backup_engine import Engine
from support.fault_proxy import Break, FaultProxy, Slow, Trickle

IMAGE = random.Random(9).randbytes(1 << 20)
QUARTER_MIB = Trickle(256 << 10)
"""The image takes 4 s, longer than any pause may last in these tests."""

MakeEngine = Callable[[object_clients.Limits], Engine]


@pytest.fixture
def make_engine(tmp_path: Path, server: S3Server, proxy: FaultProxy) -> MakeEngine:
    def make(limits: object_clients.Limits) -> Engine:
        store = server.store(server.new_bucket(), endpoint=proxy.endpoint, limits=limits)
        return Engine(tmp_path, chunk_size_bytes=4096, store=store)

    return make


def limits_of(least_bytes_per_second: int, answer_seconds: float = 2) -> object_clients.Limits:
    return object_clients.Limits(
        answer_seconds=answer_seconds,
        least_bytes_per_second=least_bytes_per_second,
        patience_seconds=1,
    )


def test_a_backup_and_its_restore_get_through_a_line_that_stays_slow(
    make_engine: MakeEngine, proxy: FaultProxy
) -> None:
    engine = make_engine(limits_of(least_bytes_per_second=64 << 10))
    broken = proxy.break_off(QUARTER_MIB, "PUT", "/packs/")
    engine.back_up(IMAGE, "bk-1")
    assert broken() == len(engine.object_names("packs/"))  # each at the first try
    proxy.break_off(QUARTER_MIB, "GET", "/packs/")
    assert engine.restore("bk-1") == IMAGE


def test_a_line_that_is_too_slow_for_a_backup_ends_it_with_a_clear_error(
    make_engine: MakeEngine, proxy: FaultProxy
) -> None:
    engine = make_engine(limits_of(least_bytes_per_second=2 << 20, answer_seconds=1))
    broken = proxy.break_off(QUARTER_MIB, "PUT", "/packs/")
    with pytest.raises(errors.Unreachable, match=r"s3://.*slower than 2048 KiB/s"):
        engine.back_up(IMAGE, "bk-1")
    assert broken() >= 3
    assert engine.object_names("manifests/") == []
    proxy.heal()
    engine.back_up(IMAGE, "bk-1")
    assert engine.restore("bk-1") == IMAGE


def test_a_line_that_is_too_slow_for_a_restore_ends_it_with_a_clear_error(
    make_engine: MakeEngine, proxy: FaultProxy
) -> None:
    engine = make_engine(limits_of(least_bytes_per_second=64 << 20, answer_seconds=1))
    engine.back_up(IMAGE, "bk-1")
    broken = proxy.break_off(QUARTER_MIB, "GET", "/packs/")
    with pytest.raises(errors.Unreachable, match="s3://"):
        engine.restore("bk-1")
    assert broken() >= 3
    proxy.heal()
    assert engine.restore("bk-1") == IMAGE


def test_a_large_write_that_took_longer_than_the_patience_is_repeated(
    make_engine: MakeEngine, proxy: FaultProxy
) -> None:
    engine = make_engine(limits_of(least_bytes_per_second=1 << 20))
    broken = proxy.break_off(Break.HANG, "PUT", "/packs/", times=1)
    engine.back_up(IMAGE, "bk-1")
    assert broken() == 1
    assert engine.restore("bk-1") == IMAGE


def test_a_store_that_is_away_after_a_long_write_is_waited_for(
    make_engine: MakeEngine, proxy: FaultProxy
) -> None:
    engine = make_engine(
        object_clients.Limits(
            answer_seconds=1, least_bytes_per_second=256 << 10, patience_seconds=6
        )
    )
    tries = 0

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        nonlocal tries
        if method != "PUT" or "/packs/" not in path:
            return None
        tries += 1
        if tries == 1:
            return Break.HANG  # until the time for its bytes is over
        return Break.RESET if tries < 5 else Slow(0)

    proxy.rule = rule
    engine.back_up(IMAGE, "bk-1")
    assert tries >= 5
    assert engine.restore("bk-1") == IMAGE
