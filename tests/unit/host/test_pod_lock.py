"""The lock that tells a process whether another one of its pod lives."""

import signal
import subprocess
import sys
from pathlib import Path

from mooring.adapters.host import pod_lock

_HOLDER = (
    "import sys, pathlib\n"
    "from mooring.adapters.host import pod_lock\n"
    "print(pod_lock.take(pathlib.Path(sys.argv[1])), flush=True)\n"
    "sys.stdin.read()\n"
)


def test_it_is_held_until_its_holder_is_dead_even_while_that_is_stopped(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "True\n"
        first.send_signal(signal.SIGSTOP)
        assert not pod_lock.take(tmp_path)
        first.kill()
        first.wait(timeout=10)
    assert pod_lock.take(tmp_path)
