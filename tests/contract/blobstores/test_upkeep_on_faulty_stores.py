"""Prune, check and repair on a real S3 server that refuses, fails or hangs in the middle.

Each request of a run, evenly spread, fails for good, alone or with all that follow: nothing that a
backup needs is gone, nothing that did not answer counts as damaged, and a retry finishes.
"""

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores import object_clients
from mooring.domain import errors
from mooring_dev.s3_server import S3Server
from support import fault_proxy, upkeep_under_faults
from support.backup_engine import Engine
from support.fault_proxy import Break, FaultProxy, Refuse

HASTY = object_clients.Limits(
    connect_seconds=4, answer_seconds=1, least_bytes_per_second=4 << 20, patience_seconds=0.5
)
FAULTS = {
    "403": (Refuse(403, "AccessDenied"), errors.PermissionDenied),
    "500": (Refuse(500, "InternalError"), errors.Unreachable),
    "hang": (Break.HANG, errors.Unreachable),
}
POINTS = {"alone": 4, "with all that follow": 2}


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    """How many requests each act makes when nothing fails, once it is known."""
    return {}


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    upkeep_under_faults.use_small_packs(monkeypatch)


class Repository:
    """One bucket, asked directly or through the proxy."""

    def __init__(
        self, folder: Path, server: S3Server, proxy: FaultProxy, act: upkeep_under_faults.Act
    ) -> None:
        self.bucket = server.new_bucket()
        self.data = server.folder.parent / "data" / self.bucket
        self.direct = server.store(self.bucket)
        self.proxied = server.store(self.bucket, endpoint=proxy.endpoint, limits=HASTY)
        self.engine = Engine(folder, upkeep_under_faults.CHUNK, store=self.direct)
        upkeep_under_faults.tell_story(self.engine)
        act.prepare(self.engine, self.age)
        self.proxied.conditional_writes()  # tried once, and not at the requests that count
        self.engine.store = self.proxied

    def heal(self, proxy: FaultProxy) -> None:
        proxy.heal()
        self.engine.store = self.direct

    def age(self, _: Engine, by: timedelta) -> None:
        """Ages the server's own files, which is what it tells the time of an object by."""
        for path in self.data.rglob("*"):
            if path.is_file():
                moment_ns = path.stat().st_mtime_ns - int(by.total_seconds() * 1e9)
                os.utime(path, ns=(moment_ns, moment_ns))


MakeRepository = Callable[[upkeep_under_faults.Act], Repository]


@pytest.fixture
def make(tmp_path: Path, server: S3Server, proxy: FaultProxy) -> MakeRepository:
    return lambda act: Repository(tmp_path, server, proxy, act)


def break_at(proxy: FaultProxy, fault: fault_proxy.Fault, number: int, *, all_after: bool) -> None:
    """Breaks one request with its repeats, or all from that one on."""
    lock = threading.Lock()
    count, broken = 0, ""

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        nonlocal count, broken
        with lock:
            count += 1
            if count - 1 == number:
                broken = f"{method} {path}"
            hit = count > number if all_after else broken == f"{method} {path}"
            return fault if hit else None

    proxy.rule = rule


@pytest.mark.parametrize("what", POINTS)
@pytest.mark.parametrize("named", FAULTS)
@pytest.mark.parametrize("name", upkeep_under_faults.ACTS)
def test_upkeep_survives_a_store_that_fails_at_any_request(
    make: MakeRepository,
    proxy: FaultProxy,
    counts: dict[str, int],
    name: str,
    named: str,
    what: str,
) -> None:
    act, (fault, expected) = upkeep_under_faults.ACTS[name], FAULTS[named]
    if name not in counts:
        clean = make(act)
        before = len(proxy.seen)
        act.run(clean.engine)
        counts[name] = len(proxy.seen) - before
        clean.heal(proxy)
        assert act.is_done(clean.engine)
    failed = 0
    for number in upkeep_under_faults.spread(counts[name], POINTS[what]):
        repository = make(act)
        break_at(proxy, fault, number, all_after=what != "alone")
        failed += upkeep_under_faults.fails(act, repository.engine, expected)
        repository.heal(proxy)
        if name != "repair":
            assert upkeep_under_faults.are_restorable(repository.engine)
        upkeep_under_faults.retry(act, repository.engine, repository.age)
        assert act.is_done(repository.engine)
    assert failed >= POINTS[what] // 2
