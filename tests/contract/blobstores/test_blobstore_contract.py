"""What every blob store promises; see `mooring.ports.blobstores`."""

import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores import opening
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.domain import errors, store_locations
from mooring.ports import blobstores
from support import object_servers

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_servers.Servers]:
    with object_servers.Servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(params=["memory", "directory", "watched directory", "s3", "azure"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, servers: object_servers.Servers
) -> blobstores.BlobStore:
    kind: str = request.param
    if kind == "memory":
        return MemoryBlobStore()
    if kind == "directory":
        return DirectoryBlobStore(tmp_path)
    if kind == "watched directory":
        location = store_locations.FolderLocation(str(tmp_path))
        return opening.open_store(location, told=lambda error, is_final: None)
    if kind == "s3":
        return servers.s3.store(servers.s3.new_bucket(), prefix="team-a/Volumes")
    return servers.azure.store(servers.azure.new_container(), prefix="team-a/Volumes")


def test_what_is_put_is_got(store: blobstores.BlobStore) -> None:
    store.put("packs/ab/name-1.x", b"content")
    assert store.get("packs/ab/name-1.x", limit_bytes=LIMIT) == b"content"


@pytest.mark.parametrize("data", [b"", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
def test_any_buffer_can_be_put(store: blobstores.BlobStore, data: blobstores.Buffer) -> None:
    store.put("object", data)
    assert store.get("object", limit_bytes=LIMIT) == bytes(data)


def test_create_only_keeps_the_first(store: blobstores.BlobStore) -> None:
    store.put("config", b"first")
    with pytest.raises(errors.AlreadyExists):
        store.put("config", b"second")
    assert store.get("config", limit_bytes=LIMIT) == b"first"


def version_of(store: blobstores.BlobStore, key: str) -> str:
    info = store.head(key)
    assert info is not None
    return info.version


def test_an_object_is_replaced_as_it_was_read(store: blobstores.BlobStore) -> None:
    store.put("lease", b"first")
    second = store.replace("lease", b"second", version=version_of(store, "lease"))
    assert store.get("lease", limit_bytes=LIMIT) == b"second"
    assert version_of(store, "lease") == second
    store.replace("lease", b"third", version=second)
    assert [info.size_bytes for info in store.list("")] == [5]


def test_what_changed_since_is_not_replaced(store: blobstores.BlobStore) -> None:
    store.put("lease", b"first")
    first = version_of(store, "lease")
    store.replace("lease", b"other", version=first)
    with pytest.raises(errors.PreconditionFailed):
        store.replace("lease", b"mine!", version=first)
    assert store.get("lease", limit_bytes=LIMIT) == b"other"


def test_what_is_gone_is_not_replaced(store: blobstores.BlobStore) -> None:
    store.put("leases/one", b"first")
    version = version_of(store, "leases/one")
    store.delete("leases/one")
    with pytest.raises(errors.PreconditionFailed):
        store.replace("leases/one", b"second", version=version)
    with pytest.raises(errors.PreconditionFailed):
        store.replace("never/there", b"second", version=version)
    assert list(store.list("")) == []


def test_versions_do_not_come_back(store: blobstores.BlobStore) -> None:
    store.put("lease", b"00")
    seen = [version_of(store, "lease")]
    for turn in range(1, 50):
        seen.append(store.replace("lease", b"%02d" % turn, version=seen[-1]))
    store.delete("lease")
    store.put("lease", b"50")
    assert len({*seen, version_of(store, "lease")}) == 51


def test_of_racing_replacers_none_is_lost(store: blobstores.BlobStore) -> None:
    store.put("count", b"0 start")

    def count(name: int) -> None:
        for turn in range(10):
            while True:
                version = version_of(store, "count")
                number = int(store.get("count", limit_bytes=LIMIT).split()[0])
                content = b"%d %d-%d" % (number + 1, name, turn)
                with contextlib.suppress(errors.PreconditionFailed):
                    store.replace("count", content, version=version)
                    break

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert store.get("count", limit_bytes=LIMIT).split()[0] == b"40"


def test_conditions_hold_and_the_trial_leaves_nothing(store: blobstores.BlobStore) -> None:
    assert store.conditional_writes()
    assert list(store.list("")) == []


def test_of_racing_creators_one_wins(store: blobstores.BlobStore) -> None:
    start = threading.Barrier(8)
    won: list[bytes] = []

    def create(name: bytes) -> None:
        start.wait()
        try:
            store.put("config", name)
        except errors.AlreadyExists:
            return
        won.append(name)

    threads = [threading.Thread(target=create, args=(b"%d" % i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("config", limit_bytes=LIMIT) == won[0]


def test_an_upload_appears_at_its_commit(store: blobstores.BlobStore) -> None:
    upload = store.upload("packs/aa/one")
    buffer = bytearray(b"abc")
    upload.write(buffer)
    buffer[:] = b"xyz"  # the store must not look at it later
    upload.write(memoryview(b"def"))
    assert store.head("packs/aa/one") is None
    assert list(store.list("packs/")) == []
    upload.commit()
    upload.abandon()
    assert store.get("packs/aa/one", limit_bytes=LIMIT) == b"abcdef"


def test_an_abandoned_upload_leaves_nothing(store: blobstores.BlobStore) -> None:
    upload = store.upload("packs/aa/one")
    upload.write(b"abc")
    upload.abandon()
    upload.abandon()
    assert list(store.list("")) == []


def test_an_upload_never_replaces(store: blobstores.BlobStore) -> None:
    upload = store.upload("packs/aa/one")
    upload.write(b"late")
    store.put("packs/aa/one", b"early")
    with pytest.raises(errors.AlreadyExists):
        upload.commit()
    assert store.get("packs/aa/one", limit_bytes=LIMIT) == b"early"


def test_an_absent_object(store: blobstores.BlobStore) -> None:
    with pytest.raises(errors.NotFound):
        store.get("none/there", limit_bytes=LIMIT)
    with pytest.raises(errors.NotFound):
        store.get_range("none/there", 0, 1)
    assert store.head("none/there") is None
    store.delete("none/there")


def test_a_limit_is_a_limit(store: blobstores.BlobStore) -> None:
    store.put("manifests/huge", b"12345")
    assert store.get("manifests/huge", limit_bytes=5) == b"12345"
    with pytest.raises(errors.DataCorrupt):
        store.get("manifests/huge", limit_bytes=4)


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (3, 4), (9, 1), (4, 0)])
def test_ranges(store: blobstores.BlobStore, offset: int, length: int) -> None:
    store.put("object", b"0123456789")
    assert store.get_range("object", offset, length) == b"0123456789"[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (9, 2), (100, 1)])
def test_a_range_beyond_the_end(store: blobstores.BlobStore, offset: int, length: int) -> None:
    store.put("object", b"0123456789")
    with pytest.raises(errors.DataCorrupt):
        store.get_range("object", offset, length)


def test_listing_by_prefix(store: blobstores.BlobStore) -> None:
    for key in ("config", "sessions/a.1", "sessions/a.2", "sessions/ab.1", "index/a.1/d0"):
        store.put(key, key.encode())

    def listed(prefix: str) -> list[str]:
        return sorted(info.key for info in store.list(prefix))

    assert listed("") == ["config", "index/a.1/d0", "sessions/a.1", "sessions/a.2", "sessions/ab.1"]
    assert listed("sessions/a.") == ["sessions/a.1", "sessions/a.2"]
    assert listed("sessions/") == ["sessions/a.1", "sessions/a.2", "sessions/ab.1"]
    assert listed("index/a.1/") == ["index/a.1/d0"]
    assert listed("nothing/") == []


def test_a_listing_says_size_and_time(store: blobstores.BlobStore) -> None:
    store.put("object", b"12345")
    info = store.head("object")
    assert info is not None
    assert [info] == list(store.list(""))
    assert info.size_bytes == 5
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_deleted_is_gone_and_can_come_back(store: blobstores.BlobStore) -> None:
    store.put("manifests/one", b"1")
    store.delete("manifests/one")
    assert store.head("manifests/one") is None
    assert list(store.list("manifests/")) == []
    store.put("manifests/one", b"2")
    assert store.get("manifests/one", limit_bytes=LIMIT) == b"2"


@pytest.mark.parametrize("key", ["", "/etc", "a//b", "../x", "a/../b", "a/.b", "A", "a/b/", "a\0b"])
def test_a_key_that_is_none_is_refused(store: blobstores.BlobStore, key: str) -> None:
    for call in (
        lambda: store.put(key, b""),
        lambda: store.get(key, limit_bytes=LIMIT),
        lambda: store.head(key),
        lambda: store.delete(key),
        lambda: store.upload(key),
        lambda: store.replace(key, b"", version="1"),
    ):
        with pytest.raises(ValueError, match="no key"):
            call()


def test_a_location_is_shown(store: blobstores.BlobStore) -> None:
    assert store.location
