"""Single files out of a backup in a bucket, and all that can go wrong on the way to them."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import syscalls
from mooring_dev.bench import images
from mooring_dev.s3_server import ADMINISTRATOR, Identity, S3Server
from support import fault_proxy
from support.command_line import CommandLine
from support.fault_proxy import Break, Fault, FaultProxy, Refuse
from support.looking_into import Mounting, nothing_left

pytestmark = pytest.mark.system

MIB = 1 << 20
BIG = os.urandom(40 * MIB)
IMPATIENT = """
import functools
from mooring.adapters.blobstores import object_clients
limits = object_clients.Limits(patience_seconds=1.0)
object_clients.BucketAccess = functools.partial(object_clients.BucketAccess, limits=limits)
"""
"""The store's silence is waited for a second, and not two minutes."""


@pytest.fixture(scope="module")
def wire(server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy.running(server.port) as running:
        yield running


@pytest.fixture
def proxy(wire: FaultProxy) -> Iterator[FaultProxy]:
    wire.seen.clear()
    yield wire
    wire.heal()


class Bucket:
    """A backup of a filesystem in a bucket, and what makes its objects hard to have."""

    def __init__(self, server: S3Server, wire: FaultProxy, folder: Path) -> None:
        name = server.new_bucket()
        self.store = server.store(name)
        environment = {
            "MOORING_REPOSITORY": str(server.location(name, endpoint=wire.endpoint)),
            "MOORING_STORE_CREDENTIALS": str(ADMINISTRATOR.write_to(folder / "login")),
        }
        self.shell = CommandLine(folder, environment, before=IMPATIENT)
        self.environment = environment

    @contextlib.contextmanager
    def without(self, prefix: str) -> Iterator[None]:
        """Takes objects away for a while."""
        taken = {
            info.key: self.store.get(info.key, limit_bytes=1 << 30)
            for info in self.store.list(prefix)
        }
        assert taken
        for key in taken:
            self.store.delete(key)
        yield
        for key, data in taken.items():
            self.store.put(key, data)


@pytest.fixture(scope="module")
def bucket(server: S3Server, wire: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    folder = tmp_path_factory.mktemp("bucket")
    data = folder / "files" / "data"
    data.mkdir(parents=True)
    (data / "big").write_bytes(BIG)
    (data / "small").write_text("small")
    images.make_image(folder / "image", 128 * MIB, folder / "files")
    made = Bucket(server, wire, folder)
    made.shell.json("backup", folder / "image", "--id", "bk-1")
    return made


def test_a_file_comes_out_for_what_it_costs(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    (listed,) = bucket.shell.json("backups")
    assert (listed["backupId"], listed["filesystem"]) == ("bk-1", "ext4")
    done = bucket.shell.json("extract", "bk-1", "/data/small", "--to", tmp_path)
    assert (tmp_path / "small").read_text() == "small"
    assert done["bytesRead"] < len(BIG) // 4
    assert len(proxy.seen) < 60
    assert {method for method, _ in proxy.seen} <= {"GET", "HEAD"}
    with nothing_left():
        bucket.shell.json("extract", "bk-1", "/data/big", "--to", tmp_path)
    assert (tmp_path / "big").read_bytes() == BIG


def test_a_bucket_is_a_folder_until_umount(bucket: Bucket, proxy: FaultProxy, point: Path) -> None:
    with nothing_left():
        mounting = Mounting(bucket.shell, point)
        assert sorted(path.name for path in (point / "data").iterdir()) == ["big", "small"]
        assert (point / "data/big").read_bytes() == BIG
        with pytest.raises(OSError, match="Read-only"):
            (point / "data/new").touch()
        syscalls.unmount(point)
        assert mounting.end() == 0
    assert {method for method, _ in proxy.seen} <= {"GET", "HEAD"}


def commands(point: Path, to: Path) -> list[tuple[str | Path, ...]]:
    """Each command that looks into a backup."""
    return [
        ("extract", "bk-1", "/data/big", "--to", to),
        ("mount", "bk-1", point),
        ("restore", "bk-1", to / "restored"),
        ("backups",),
    ]


def refused(shell: CommandLine, command: tuple[str | Path, ...], code: int, *words: str) -> None:
    with nothing_left():
        found, said = shell.fails(*command)
    assert found == code, (command, found, said)
    assert all(word in said for word in words), (command, said)
    assert "try: " in said


def test_what_does_not_open_it_is_said(
    server: S3Server, bucket: Bucket, point: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    other = bucket.shell.folder / "other-key"
    other.write_text("1f" * 32 + "\n")
    other.chmod(0o600)
    for command in commands(point, to):
        refused(bucket.shell, (*command, "--key-file", other), 6, "key")
    for stranger, word in (
        (Identity("nobody", "nothing"), "InvalidAccessKeyId"),
        (Identity(ADMINISTRATOR.access_key, "a-guess"), "SignatureDoesNotMatch"),
        (server.new_identity("guest"), "AccessDenied"),
    ):
        login = {
            "MOORING_STORE_CREDENTIALS": str(stranger.write_to(tmp_path / stranger.secret_key))
        }
        shell = bucket.shell.with_environment(login)
        for command in commands(point, to):
            refused(shell, command, 6, word, "credentials")
    nowhere = {
        "MOORING_REPOSITORY": bucket.environment["MOORING_REPOSITORY"].replace("bucket-", "no-")
    }
    for command in commands(point, to):
        refused(bucket.shell.with_environment(nowhere), command, 11, "NoSuchBucket")
    assert not list(to.iterdir())


@pytest.mark.parametrize(
    ("prefix", "code", "words"),
    [
        ("packs/", 8, "is missing from s3://"),
        ("manifests/", 3, "there is no backup bk-1 in s3://"),
        ("config", 3, "there is no repository in s3://"),
    ],
)
def test_what_is_missing_is_said(
    bucket: Bucket, point: Path, tmp_path: Path, prefix: str, code: int, words: str
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    with bucket.without(prefix):
        for command in commands(point, to)[:3]:
            refused(bucket.shell, command, code, words)
    assert not list(to.iterdir())
    bucket.shell.json("extract", "bk-1", "/data/big", "--to", to)
    assert (to / "big").read_bytes() == BIG


def test_a_missing_index_is_done_without(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.without("index/"):
        bucket.shell.json("extract", "bk-1", "/data/big", "--to", tmp_path)
    assert (tmp_path / "big").read_bytes() == BIG


MISSING = Refuse(404, "NoSuchKey")


def vanish(proxy: FaultProxy, fault: Fault, after: int) -> None:
    """Lets some reads of packs through, and then nothing; where packs are gone, no pack."""
    seen = 0
    packs_alone = fault == MISSING

    def rule(method: str, path: str) -> Fault | None:
        nonlocal seen
        of_pack = "/packs/" in path
        seen += of_pack
        return fault if seen > after and (of_pack or not packs_alone) else None

    proxy.rule = rule


GONE = [
    (Break.RESET, 11, "the same command again"),
    (Refuse(404, "NoSuchBucket"), 11, "the same command again"),
    (Refuse(503, "SlowDown"), 11, "the same command again"),
    (MISSING, 8, "mooring repo check"),
    (Refuse(403, "AccessDenied"), 6, "mooring repo info"),
]


@pytest.mark.parametrize(("fault", "code", "words"), GONE)
def test_a_store_that_vanishes_ends_an_extraction(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path, fault: Fault, code: int, words: str
) -> None:
    vanish(proxy, fault, 12)
    command = ("extract", "bk-1", "/data/big", "--to", tmp_path)
    refused(bucket.shell, command, code, "s3://", f"try: {words}")
    assert not list(tmp_path.iterdir())
    proxy.heal()
    bucket.shell.json(*command)
    assert (tmp_path / "big").read_bytes() == BIG


def healed(path: Path) -> bytes:
    """Reads a file whose store is back; for some seconds it is not asked."""
    ends = time.monotonic() + 60
    while True:
        try:
            return path.read_bytes()
        except OSError:
            assert time.monotonic() < ends, "reads go on failing"
            time.sleep(0.5)


@pytest.mark.parametrize(("fault", "code", "words"), GONE)
def test_a_store_that_vanishes_fails_reads_and_is_told_at_the_end(
    bucket: Bucket, proxy: FaultProxy, point: Path, fault: Fault, code: int, words: str
) -> None:
    """Whoever reads a file gets an error and no wrong byte; what it was is said when it ends."""
    with nothing_left():
        mounting = Mounting(bucket.shell, point)
        assert (point / "data/small").read_text() == "small"
        vanish(proxy, fault, 0)
        with pytest.raises(OSError, match="Input/output"):
            (point / "data/big").read_bytes()
        proxy.heal()
        assert healed(point / "data/big") == BIG
        syscalls.unmount(point)
        _, said = mounting.process.communicate(timeout=60)
    assert mounting.process.returncode == code, said
    assert "s3://" in said
    assert f"try: {words}" in said
