"""The real engine on a real S3 server, with everything between them that goes wrong on networks.

Each time: a clear error or success, never a backup that lacks bytes or a restore that is not equal,
and when the trouble is over, the same command finishes.
"""

import dataclasses
import random
import threading
from pathlib import Path

import pytest

from mooring.adapters.blobstores import object_clients
from mooring.adapters.blobstores.object_store import ObjectBlobStore
from mooring.domain import errors
from mooring.ports import blobstores
from mooring_dev.s3_server import Identity, S3Server
from support import fault_proxy
from support.backup_engine import Engine
from support.fault_proxy import Break, FaultProxy, Refuse, Slow

IMAGE = random.Random(7).randbytes(1 << 20)
LIMIT = 1 << 20
IMPATIENT = object_clients.Limits(
    connect_seconds=4, answer_seconds=2, least_bytes_per_second=2 << 20, patience_seconds=0.5
)
PERSISTENT = dataclasses.replace(IMPATIENT, patience_seconds=60)


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.new_bucket()


@pytest.fixture
def store(server: S3Server, proxy: FaultProxy, bucket: str) -> ObjectBlobStore:
    """Repeats what fails for as long as any test lasts."""
    return server.store(bucket, prefix="volumes", endpoint=proxy.endpoint, limits=PERSISTENT)


@pytest.fixture
def hasty_store(server: S3Server, proxy: FaultProxy, bucket: str) -> ObjectBlobStore:
    """Gives up soon."""
    return server.store(bucket, prefix="volumes", endpoint=proxy.endpoint, limits=IMPATIENT)


@pytest.fixture
def engine(tmp_path: Path, store: ObjectBlobStore) -> Engine:
    return Engine(tmp_path, chunk_size_bytes=4096, store=store)


@pytest.fixture
def hasty_engine(tmp_path: Path, hasty_store: ObjectBlobStore) -> Engine:
    return Engine(tmp_path, chunk_size_bytes=4096, store=hasty_store)


LASTING = [
    (Refuse(403, "AccessDenied"), errors.PermissionDenied),
    (Refuse(500, "InternalError"), errors.Unreachable),
    (Refuse(503, "SlowDown"), errors.Unreachable),
    (Break.RESET, errors.Unreachable),
    (Break.HANG, errors.Unreachable),
]
ENDED_ONES = [Refuse(500, "InternalError"), Refuse(503, "SlowDown"), Refuse(429, "TooMany")]
ENDED_ONES_OF_NETWORKS = [Break.RESET, Break.LOSE, Break.HANG, Slow(0.3)]


@pytest.mark.parametrize("part", ["/packs/", "/manifests/"])
@pytest.mark.parametrize(
    ("fault", "expected"), [*LASTING, (Refuse(507, "QuotaExceeded"), errors.SpaceExhausted)]
)
def test_a_backup_that_cannot_be_written_fails_and_is_finished_later(
    hasty_engine: Engine,
    proxy: FaultProxy,
    part: str,
    fault: fault_proxy.Fault,
    expected: type[errors.MooringError],
) -> None:
    broken = proxy.break_off(fault, "PUT", part)
    with pytest.raises(expected) as raised:
        hasty_engine.back_up(IMAGE, "bk-1")
    assert broken() >= 1
    assert "s3://" in str(raised.value)
    proxy.heal()
    assert hasty_engine.object_names("manifests/") == []
    hasty_engine.back_up(IMAGE, "bk-1")
    assert hasty_engine.restore("bk-1") == IMAGE


@pytest.mark.parametrize(("fault", "expected"), [*LASTING, (Break.TRUNCATE, errors.Unreachable)])
def test_a_restore_that_cannot_read_fails(
    hasty_engine: Engine,
    proxy: FaultProxy,
    fault: fault_proxy.Fault,
    expected: type[errors.MooringError],
) -> None:
    hasty_engine.back_up(IMAGE, "bk-1")
    broken = proxy.break_off(fault, "GET", "/packs/")
    with pytest.raises(expected):
        hasty_engine.restore("bk-1")
    assert broken() >= 1
    proxy.heal()
    assert hasty_engine.restore("bk-1") == IMAGE


@pytest.mark.parametrize("part", ["/config", "/packs/", "/manifests/"])
def test_an_answer_that_is_shorter_than_it_was_never_passes(
    hasty_engine: Engine, proxy: FaultProxy, part: str
) -> None:
    hasty_engine.back_up(IMAGE, "bk-1")
    broken = proxy.break_off(Break.SHORTEN, "GET", part)
    with pytest.raises((errors.DataCorrupt, errors.Unreachable)):
        hasty_engine.restore("bk-1")
    assert broken() >= 1


def test_an_index_that_comes_cut_short_is_done_without(
    hasty_engine: Engine, proxy: FaultProxy
) -> None:
    hasty_engine.back_up(IMAGE, "bk-1")
    broken = proxy.break_off(Break.SHORTEN, "GET", "/index/")
    assert hasty_engine.restore("bk-1") == IMAGE
    assert broken() >= 1


@pytest.mark.parametrize("fault", [*ENDED_ONES, *ENDED_ONES_OF_NETWORKS])
@pytest.mark.parametrize("part", ["/packs/", "/manifests/"])
def test_a_backup_outlives_trouble_that_passes(
    engine: Engine, proxy: FaultProxy, fault: fault_proxy.Fault, part: str
) -> None:
    broken = proxy.break_off(fault, "PUT", part, times=1)
    engine.back_up(IMAGE, "bk-1")
    assert broken() == 1
    proxy.heal()
    assert engine.object_names("manifests/") == ["manifests/bk-1"]
    assert engine.restore("bk-1") == IMAGE


@pytest.mark.parametrize("fault", [*ENDED_ONES, *ENDED_ONES_OF_NETWORKS, Break.TRUNCATE])
def test_a_restore_outlives_trouble_that_passes(
    engine: Engine, proxy: FaultProxy, fault: fault_proxy.Fault
) -> None:
    engine.back_up(IMAGE, "bk-1")
    broken = proxy.break_off(fault, "GET", "/packs/", times=2)
    assert engine.restore("bk-1") == IMAGE
    assert broken() == 2


@pytest.mark.parametrize("fault", [Refuse(500, "InternalError"), Break.TRUNCATE, Break.RESET])
def test_a_listing_is_whole_or_fails(
    store: ObjectBlobStore,
    hasty_store: ObjectBlobStore,
    proxy: FaultProxy,
    fault: fault_proxy.Fault,
) -> None:
    for number in range(5):
        store.put(f"manifests/{number}", b"x")
    proxy.break_off(fault, "GET", "list-type=2", times=1)
    assert len(list(store.list("manifests/"))) == 5
    proxy.break_off(fault, "GET", "list-type=2")
    with pytest.raises(errors.Unreachable):
        list(hasty_store.list("manifests/"))


@pytest.mark.parametrize("refusal", [Refuse(401, "Unauthorized"), Refuse(403, "AccessDenied")])
def test_a_listing_that_is_refused_is_no_bad_input(
    store: ObjectBlobStore, proxy: FaultProxy, refusal: Refuse
) -> None:
    proxy.break_off(refusal, "GET", "list-type=2")
    with pytest.raises(errors.PermissionDenied, match=refusal.code):
        list(store.list("manifests/"))


def test_a_listing_goes_on_behind_what_was_seen(
    store: ObjectBlobStore, proxy: FaultProxy, server: S3Server, bucket: str
) -> None:
    folder = server.folder.parent / "data" / bucket / "volumes" / "packs"
    folder.mkdir(parents=True)
    expected = [f"packs/{number:04d}" for number in range(2500)]
    for key in expected:
        (folder / key.removeprefix("packs/")).touch()
    pages = 0

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        nonlocal pages
        pages += "list-type=2" in path
        return Break.RESET if pages == 2 else None

    proxy.rule = rule
    assert [info.key for info in store.list("packs/")] == expected
    assert pages > 3


def test_a_lost_answer_to_a_creation_is_no_conflict(
    store: ObjectBlobStore, proxy: FaultProxy
) -> None:
    broken = proxy.break_off(Break.LOSE, "PUT", "/config", times=1)
    store.put("config", b"mine")
    assert broken() == 1
    with pytest.raises(errors.AlreadyExists):
        store.put("config", b"mine")
    proxy.break_off(Break.RESET, "PUT", "/config", times=1)
    with pytest.raises(errors.AlreadyExists):
        store.put("config", b"other")
    assert store.get("config", limit_bytes=LIMIT) == b"mine"


def test_a_lost_answer_to_a_replacement_is_no_conflict(
    store: ObjectBlobStore, proxy: FaultProxy
) -> None:
    store.put("lease", b"first")
    proxy.break_off(Break.LOSE, "PUT", "/lease", times=1)
    second = store.replace("lease", b"second", version=version_of(store, "lease"))
    assert version_of(store, "lease") == second
    proxy.break_off(Break.RESET, "PUT", "/lease", times=1)
    store.replace("lease", b"third", version=second)
    with pytest.raises(errors.PreconditionFailed):
        store.replace("lease", b"fourth", version=second)


def version_of(store: blobstores.BlobStore, key: str) -> str:
    info = store.head(key)
    assert info is not None
    return info.version


@pytest.mark.parametrize("requests", [3, 8, 12])
def test_a_store_that_vanishes_in_the_middle(
    hasty_engine: Engine, proxy: FaultProxy, requests: int
) -> None:
    hasty_engine.back_up(IMAGE, "bk-1")
    changed = IMAGE[:-5000] + random.Random(8).randbytes(5000)
    left = requests

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        nonlocal left
        left -= 1
        return None if left >= 0 else Break.RESET

    proxy.rule = rule
    with pytest.raises(errors.Unreachable):
        hasty_engine.back_up(changed, "bk-2")
    proxy.heal()
    assert hasty_engine.object_names("manifests/") == ["manifests/bk-1"]
    hasty_engine.back_up(changed, "bk-2")
    assert hasty_engine.restore("bk-2") == changed
    assert hasty_engine.restore("bk-1") == IMAGE


def test_a_bucket_that_vanishes_in_the_middle(
    engine: Engine, proxy: FaultProxy, server: S3Server, bucket: str
) -> None:
    data = server.folder.parent / "data" / bucket

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        if method == "PUT" and "/index/" in path and data.exists():
            data.rename(data.with_name(f"{bucket}-taken-away"))
        return None

    proxy.rule = rule
    with pytest.raises(errors.Unreachable, match="Make the bucket first"):
        engine.back_up(IMAGE, "bk-1")


def test_credentials_that_are_rotated_in_the_middle(
    tmp_path: Path, server: S3Server, proxy: FaultProxy, bucket: str
) -> None:
    old, new = (server.new_identity(f"rotated-{word}", role="admin") for word in ("old", "new"))
    store = server.store(bucket, endpoint=proxy.endpoint, identity=old, limits=PERSISTENT)
    engine = Engine(tmp_path, chunk_size_bytes=4096, store=store)
    taken_away = threading.Event()

    def rule(method: str, path: str) -> fault_proxy.Fault | None:
        if method == "PUT" and "/packs/" in path and not taken_away.is_set():
            taken_away.set()
            server.administer("delete-user", "--access", old.access_key)
            appear = lambda: new.write_to(server.folder / old.access_key)  # noqa: E731
            threading.Timer(1.0, appear).start()
        return None

    proxy.rule = rule
    engine.back_up(IMAGE, "bk-1")
    assert taken_away.is_set()
    assert engine.restore("bk-1") == IMAGE


def test_credentials_that_never_worked_are_refused_at_once(
    server: S3Server, proxy: FaultProxy, bucket: str
) -> None:
    store = server.store(
        bucket, endpoint=proxy.endpoint, identity=Identity("nobody", "nothing"), limits=IMPATIENT
    )
    for call in (
        lambda: store.put("config", b"x"),
        lambda: store.head("config"),
        lambda: store.get("config", limit_bytes=LIMIT),
        lambda: list(store.list("")),
        lambda: store.delete("config"),
    ):
        with pytest.raises(errors.PermissionDenied, match="InvalidAccessKeyId"):
            call()


def test_no_message_holds_a_secret(server: S3Server, proxy: FaultProxy, bucket: str) -> None:
    identity = server.new_identity("teller")
    store = server.store(bucket, endpoint=proxy.endpoint, identity=identity, limits=IMPATIENT)
    for fault, _ in LASTING:
        proxy.break_off(fault, "PUT", "/")
        with pytest.raises(errors.MooringError) as raised:
            store.put("config", b"x")
        assert identity.secret_key not in str(raised.value)
        assert "Signature" not in str(raised.value)
