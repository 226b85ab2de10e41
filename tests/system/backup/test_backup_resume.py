"""A killed first backup of a volume goes on near where it was, told by counted bytes."""

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.command_line import CommandLine
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

SIZE = 160 << 20
PACK = 4 << 20
# Small packs, and a segment after each in place of one a minute: the volume is small too.
OFTEN = f"""
from mooring.backup import pack_writer
from mooring.backup.format import packs
pack_writer.SEGMENT_INTERVAL_SECONDS = 0.0
packs.TARGET_BYTES = {PACK}
"""
IN_FLIGHT = 6 * PACK
"""The open pack, those on their way to the store, and what a segment does not name yet."""


def make_image(path: Path) -> bytes:
    dice = random.Random(41)
    content = b"".join(dice.randbytes(1 << 20) for _ in range(SIZE >> 20))
    path.write_bytes(content)
    return content


def killed_at(movers: MoverFolder, sent_bytes: int, spec: dict[str, Any]) -> int:
    """Runs a backup, kills it once it has sent so much, and returns what it had sent then."""
    sent = 0
    with movers.start("backup", OFTEN, progressIntervalSeconds=0, **spec) as process:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            sent = max(sent, int(entry.get("bytesSent", 0)))
            if sent >= sent_bytes:
                break
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return sent


def test_each_attempt_goes_on_where_the_one_before_was(tmp_path: Path) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={"initialize": True})
    image = tmp_path / "image"
    content = make_image(image)
    spec = {"device": str(image), "backupId": "bk-1", "volume": {"uid": "volume-1"}}
    first = killed_at(movers, SIZE // 3, spec)
    second = killed_at(movers, SIZE // 4, spec)
    result = movers.run("backup", OFTEN, **spec)
    sent = first + second + int(result["bytesSent"])
    assert SIZE <= sent <= SIZE + 2 * IN_FLIGHT, (first, second, result["bytesSent"])
    assert result["bytesSent"] <= SIZE - first - second + 2 * IN_FLIGHT < SIZE
    target = tmp_path / "restored"
    target.touch()
    movers.run("restore", device=str(target), backupId="bk-1", verify=True)
    assert target.read_bytes() == content


def test_the_same_command_again_goes_on_and_nobody_names_an_id(tmp_path: Path) -> None:
    image = tmp_path / "image"
    content = make_image(image)
    cli = CommandLine(tmp_path, before=OFTEN)
    process = cli.start("backup", image)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("repo/index/*/d*"))) < SIZE // PACK // 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it sends nothing"
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    made = cli.json("backup", image)
    assert made["bytesSent"] <= SIZE * 2 // 3 + IN_FLIGHT, made
    assert not cli.run("restore", made["backupId"], tmp_path / "restored").returncode
    assert (tmp_path / "restored").read_bytes() == content
