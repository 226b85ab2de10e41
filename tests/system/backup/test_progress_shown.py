"""What a person at a terminal and a reader of a mover's log see of a backup under way."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

MIB = 1 << 20
SIZE = 6 * MIB
RATE = "2Mi"
LEAST_SECONDS = 2.0  # nothing is waited for before the first read, nor after the last one
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


class Terminal:
    """A command at a terminal of its own, which is also the one that Ctrl-C comes from."""

    def __init__(self, cli: CommandLine, *words: str | Path) -> None:
        self._ours, theirs = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL + cli._script, *map(str, words)],
            env=cli._environment | {"TERM": "xterm", "COLUMNS": "120"},
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, pattern: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert time.monotonic() < end, f"no {pattern} in {self.said!r}"
            assert self._read(), f"it ended without {pattern}: {self.said!r}"

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def wait(self) -> int:
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(60)

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 60)[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # what the other side of a terminal looks like once it is closed
            return False
        self.said += data.decode(errors="replace")
        return bool(data)


_OWN_TERMINAL = f"import fcntl; fcntl.ioctl(0, {termios.TIOCSCTTY}, 0)\n"


def test_a_bar_at_a_terminal_shows_share_bytes_rate_and_time_left(
    cli: CommandLine, image: Path
) -> None:
    terminal = Terminal(cli, "backup", image, "--limit-rate", RATE)
    began = time.monotonic()
    assert terminal.wait() == 0, terminal.said
    assert time.monotonic() - began >= LEAST_SECONDS
    assert "backing up" in terminal.said
    shares = [int(share) for share in re.findall(r"(\d+)%", terminal.said)]
    assert shares[-1] == 100
    assert any(0 < share < 100 for share in shares)
    assert "6.0/6.0 MiB" in terminal.said
    assert re.search(r"[1-9]\d*\.\d MB/s", terminal.said)
    assert re.search(r"0:00:0[0-9]", terminal.said)
    assert terminal.said.rindex(SHOWN) > terminal.said.rindex(HIDDEN)


def test_ctrl_c_at_a_terminal_stops_it_and_gives_the_cursor_back(
    cli: CommandLine, image: Path
) -> None:
    terminal = Terminal(cli, "backup", image, "--limit-rate", "64Ki")
    terminal.read_until(r"[1-9]\d*%")
    terminal.press(b"\x03")
    assert terminal.wait() == 12, terminal.said
    assert terminal.said.rindex(SHOWN) > terminal.said.rindex(HIDDEN)
    assert "asked to stop" in terminal.said


def test_what_is_no_terminal_gets_no_bar_and_the_limit_holds_there_too(
    cli: CommandLine, image: Path
) -> None:
    began = time.monotonic()
    done = cli.run("backup", image, "--limit-rate", RATE, "-o", "json")
    assert time.monotonic() - began >= LEAST_SECONDS
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["durationSeconds"] >= LEAST_SECONDS


def test_a_movers_log_has_the_rate_and_the_time_that_is_left(tmp_path: Path, image: Path) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={"initialize": True})
    seen: list[tuple[float, dict[str, float]]] = []
    with movers.start(
        "backup",
        progressIntervalSeconds=0,
        bytesPerSecond=2 * MIB,
        device=str(image),
        backupId="bk-1",
        volume={"uid": "volume-1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            if entry["event"] == "progress":
                seen.append((time.monotonic(), entry))
    assert process.returncode == 0
    end = seen[-1][0]
    assert end - seen[0][0] >= LEAST_SECONDS - 0.5
    last = seen[-1][1]
    assert (last["bytesRead"], last["percent"], last["secondsLeft"]) == (SIZE, 100.0, 0)
    assert MIB <= last["bytesPerSecond"] <= SIZE / (LEAST_SECONDS - 0.5)
    halfway = [(at, entry) for at, entry in seen if 30 < entry["percent"] < 90]
    assert halfway
    for at, entry in halfway:
        assert entry["secondsLeft"] > 0
        assert abs(entry["secondsLeft"] - (end - at)) <= 2.0, (entry, end - at)
