"""Ctrl-C and SIGTERM end a command soon, also one that waits for a store that hangs."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring_dev.s3_server import ADMINISTRATOR, S3Server
from support.command_line import CommandLine
from support.fault_proxy import Break, FaultProxy
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

MIB = 1 << 20
IMAGE = os.urandom(40 * MIB)
SOON_SECONDS = 10.0
AT_ONCE_SECONDS = 2.0
SMALL_PACKS = """
from mooring.backup import pack_writer
from mooring.backup.format import packs
pack_writer.SEGMENT_INTERVAL_SECONDS = 0.0
packs.TARGET_BYTES = 4 << 20
"""


class Bucket:
    """A repository in a bucket behind a proxy, an image, and a command line."""

    def __init__(self, server: S3Server, proxy: FaultProxy, folder: Path) -> None:
        self.name = server.new_bucket()
        self.server = server
        self.store = server.store(self.name)
        self.login = ADMINISTRATOR.write_to(folder / "login")
        self.location = str(server.location(self.name, endpoint=proxy.endpoint))
        environment = {
            "MOORING_REPOSITORY": self.location,
            "MOORING_STORE_CREDENTIALS": str(self.login),
            "AWS_ENDPOINT_URL": proxy.endpoint,
        }
        self.cli = CommandLine(folder, environment, before=SMALL_PACKS)
        self.image = folder / "image"
        self.image.write_bytes(IMAGE)

    def names(self, prefix: str) -> list[str]:
        return [info.key for info in self.store.list(prefix)]


@pytest.fixture
def bucket(server: S3Server, proxy: FaultProxy, tmp_path: Path) -> Bucket:
    return Bucket(server, proxy, tmp_path)


def stop(
    process: "subprocess.Popen[str]", hanging: Callable[[], int], number: int, times: int = 1
) -> tuple[float, str]:
    """Signals a process that waits for the store; returns how long it took, and what it said."""
    deadline = time.monotonic() + 60
    while not hanging():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing hangs"
        time.sleep(0.05)
    time.sleep(0.5)
    began = time.monotonic()
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        for turn in range(times):
            if turn:
                time.sleep(0.3)
            process.send_signal(number)
        _, said = process.communicate(timeout=30)
    return time.monotonic() - began, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_whose_store_hangs_is_stopped_and_goes_on_later(
    bucket: Bucket, proxy: FaultProxy, number: int
) -> None:
    sent = 0

    def rule(method: str, path: str) -> Break | None:
        nonlocal sent
        sent += method == "PUT" and "/packs/" in path
        return Break.HANG if sent > 4 else None

    proxy.rule = rule
    process = bucket.cli.start("backup", bucket.image)
    seconds, said = stop(process, lambda: sent > 4, number)
    assert (process.returncode, seconds < SOON_SECONDS) == (12, True), (seconds, said)
    assert "Traceback" not in said
    assert "try: the same command again" in said
    proxy.heal()
    assert bucket.names("manifests/") == []
    unfinished = bucket.server.request("GET", f"/{bucket.name}", query="uploads=")
    assert b"<Upload>" not in unfinished
    made = bucket.cli.json("backup", bucket.image)
    assert made["bytesSent"] < len(IMAGE)
    bucket.cli.json("restore", made["backupId"], bucket.image.with_name("restored"))
    assert bucket.image.with_name("restored").read_bytes() == IMAGE


def test_a_restore_whose_store_hangs_is_stopped(bucket: Bucket, proxy: FaultProxy) -> None:
    bucket.cli.json("backup", bucket.image, "--id", "bk-1")
    target = bucket.image.with_name("restored")
    hanging = proxy.break_off(Break.HANG, "GET", "/packs/")
    process = bucket.cli.start("restore", "bk-1", target)
    seconds, said = stop(process, hanging, signal.SIGINT)
    assert (process.returncode, seconds < SOON_SECONDS) == (12, True), (seconds, said)
    assert not target.exists()
    proxy.heal()
    bucket.cli.json("restore", "bk-1", target)
    assert target.read_bytes() == IMAGE


@pytest.mark.parametrize("words", [("backups",), ("repo", "check"), ("repo", "prune")])
def test_a_command_that_waits_for_an_answer_itself_is_stopped(
    bucket: Bucket, proxy: FaultProxy, words: tuple[str, ...]
) -> None:
    hanging = proxy.break_off(Break.HANG, "GET", "manifests")
    process = bucket.cli.start(*words)
    seconds, said = stop(process, hanging, signal.SIGINT)
    assert (process.returncode, seconds < SOON_SECONDS) == (12, True), (seconds, said)


def test_a_second_signal_ends_at_once(bucket: Bucket, proxy: FaultProxy) -> None:
    hanging = proxy.break_off(Break.HANG, "PUT", "/packs/")
    process = bucket.cli.start("backup", bucket.image)
    seconds, said = stop(process, hanging, signal.SIGINT, times=2)
    assert (process.returncode, seconds < AT_ONCE_SECONDS) == (12, True), (seconds, said)


def test_a_mover_whose_store_hangs_says_that_it_was_stopped(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    folder = tmp_path / "mover"
    folder.mkdir()
    movers = MoverFolder(folder)
    hanging = proxy.break_off(Break.HANG, "PUT", "/packs/")
    process = movers.start(
        "backup",
        SMALL_PACKS,
        repository={
            "type": "bucket",
            "url": bucket.location,
            "credentials": str(bucket.login),
            "keyFile": str(tmp_path / "key"),
        },
        device=str(bucket.image),
        backupId="bk-1",
        volume={"uid": "volume-1"},
    )
    seconds, said = stop(process, hanging, signal.SIGTERM)
    assert (process.returncode, seconds < SOON_SECONDS) == (12, True), (seconds, said)
    message = json.loads((folder / "termination-log").read_text())
    assert (message["outcome"], message["reason"]) == ("Failed", "Cancelled")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_does_not_hang_ends_at_once_and_leaves_no_unfinished_upload(
    tmp_path: Path, number: int
) -> None:
    cli = CommandLine(tmp_path)
    image = tmp_path / "image"
    image.write_bytes(IMAGE)
    process = cli.start("backup", image, "--limit-rate", "4Mi")
    uploads = tmp_path / "repo" / ".uploads"
    seconds, said = stop(process, lambda: uploads.exists() and any(uploads.iterdir()), number)
    assert (process.returncode, seconds < AT_ONCE_SECONDS) == (12, True), (seconds, said)
    assert list(uploads.iterdir()) == []
