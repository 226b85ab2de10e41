"""Commands whose repository's folder does not answer any more: said soon, and not for ever."""

import random
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

IMAGE = random.Random(1).randbytes(1 << 20)
HANGING = """
import os, time
from mooring.adapters.blobstores import call_watch
call_watch.CallWatch.__init__.__defaults__ = (call_watch.SilenceLimits(0.2, 2.0),)
os.fsync = lambda _: time.sleep(600)
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    image.write_bytes(IMAGE)
    return image


def test_a_command_says_what_it_waits_for_and_gives_up(tmp_path: Path, image: Path) -> None:
    commands = CommandLine(tmp_path)
    hanging = CommandLine(tmp_path, before=HANGING)
    done = hanging.run("backup", image, "--id", "bk-1")
    assert done.returncode == 11, done.stderr
    assert f"{tmp_path}/repo has not answered for 0 s" in done.stderr
    assert "It is waited for." in done.stderr
    assert done.stderr.endswith("try: the same command again: what was sent is kept\n")
    assert commands.json("backups") == []
    assert commands.run("backup", image, "--id", "bk-1").returncode == 0


def test_a_mover_says_what_it_waits_for_and_gives_up(tmp_path: Path, image: Path) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={"initialize": True})
    fields = {"device": str(image), "volume": {"uid": "volume-1"}, "backupId": "bk-1"}
    code, result = movers.attempt("backup", HANGING, **fields)
    assert code == 11, result
    assert result["reason"] == "Unreachable"
    assert f"{movers.repository} has not answered for 2 s (to write " in result["message"]
    left = (tmp_path / "termination-log").read_text()
    assert "is it a mount whose server is away?" in left
    movers.run("backup", **fields)
