"""Servers that ignore the conditions of a write: found out, said, and no collector trusts them."""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from mooring.backup import mover, mover_spec, repository
from mooring.backup.format import slots
from mooring_dev import s3_server
from mooring_dev.s3_server import ADMINISTRATOR, S3Server
from support.command_line import CommandLine
from support.fault_proxy import Careless, Fault, FaultProxy
from support.set_clock import SetClock

CREATION = frozenset({"if-none-match"})
REPLACEMENT = frozenset({"if-match"})


def sign(method: str, target: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
    path, _, query = target.partition("?")
    return s3_server.signed(method, urllib.parse.unquote(path), query, body, headers, ADMINISTRATOR)


FORGETFUL = [
    Careless(sign),
    Careless(sign, CREATION),
    Careless(sign, REPLACEMENT),
    Careless(sign, CREATION, looks=True),
]
NAMES = ["knows none", "creates always", "replaces always", "looks before it creates"]


def make_careless(proxy: FaultProxy, fault: Fault) -> None:
    proxy.rule = lambda method, _: fault if method == "PUT" else None


def environment(server: S3Server, proxy: FaultProxy, folder: Path) -> dict[str, str]:
    location = server.location(server.new_bucket(), endpoint=proxy.endpoint)
    return {
        "MOORING_REPOSITORY": str(location),
        "MOORING_STORE_CREDENTIALS": str(ADMINISTRATOR.write_to(folder / "login")),
        "MOORING_KEY_FILE": str(folder / "key"),
    }


@pytest.mark.parametrize("fault", FORGETFUL, ids=NAMES)
def test_the_command_line_says_so_and_collects_only_by_a_word(
    server: S3Server, proxy: FaultProxy, tmp_path: Path, fault: Fault
) -> None:
    make_careless(proxy, fault)
    where = environment(server, proxy, tmp_path)
    (tmp_path / "image").write_bytes(b"content" * 9000)
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "config").touch()  # what makes it make nothing by itself
    shell = CommandLine(tmp_path, where)
    assert shell.json("repo", "init")["conditionalWrites"] is False
    shell.json("backup", tmp_path / "image", "--id", "bk-1")
    before = names(server, where)
    for command in ("prune", "repair"):
        code, said = shell.fails("repo", command)
        assert (code, "--exclusive" in said) == (5, True), said
    assert names(server, where) == before
    assert shell.json("repo", "prune", "--exclusive")["backupsDropped"] == 0
    shell.json("restore", "bk-1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"content" * 9000


def names(server: S3Server, where: dict[str, str]) -> list[str]:
    bucket = where["MOORING_REPOSITORY"].removeprefix("s3://").partition("?")[0].strip("/")
    return [info.key for info in server.store(bucket).list("")]


@pytest.mark.parametrize("fault", [*FORGETFUL, None], ids=[*NAMES, "knows all"])
def test_a_probe_says_so(
    server: S3Server, proxy: FaultProxy, tmp_path: Path, fault: Fault | None
) -> None:
    if fault is not None:
        make_careless(proxy, fault)
    (tmp_path / "key").write_bytes(bytes(range(32)))
    spec = {"repository": {"path": "/", "keyFile": str(tmp_path / "key"), "initialize": True}}
    read = mover_spec.ProbeSpec.model_validate_json(json.dumps(spec))
    store = server.store(server.new_bucket(), endpoint=proxy.endpoint)
    answer: dict[str, Any] = mover.probe(read, store, repository.Surroundings(SetClock()))
    assert answer["conditionalWrites"] is (fault is None)
    repository.open_repository(
        store, slots.Unlock(secret=bytes(range(32))), repository.Surroundings(SetClock())
    )
