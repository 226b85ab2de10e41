"""SIGKILL at random moments: a retry ends the work, and nothing is left on the machine."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mooring.adapters.host import commands
from mooring.adapters.pools.pool_folder import FolderLock
from support import cycling_node, real_storage
from support.real_storage import MIB, Machine

pytestmark = pytest.mark.system

KILLS = 12


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, cycling_node.__file__, str(folder), "1000"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def _killed_after(folder: Path, seconds: float, seed: str) -> None:
    with _start(folder) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n", f"the successor could not start ({seed})"
        time.sleep(seconds)
        assert child.poll() is None, f"the node failed by itself ({seed})"
        child.send_signal(signal.SIGKILL)


@pytest.mark.timeout(600)
def test_kills_at_random_moments_leave_loops_and_mounts_at_baseline(scratch: Path) -> None:
    folder = scratch / "a"
    seed = int(os.environ.get("MOORING_TEST_SEED", "0")) or random.randrange(1 << 32)
    dice = random.Random(seed)
    for _ in range(KILLS):
        _killed_after(folder, dice.uniform(0.0, 1.2), f"MOORING_TEST_SEED={seed}")
    machine = Machine(folder, image_size_bytes=512 * MIB)
    assert not [note for note in machine.notes if "could not" in note]
    cycling_node.live(machine)
    (pool,) = machine.node.list_pools()
    assert pool.provisioned_bytes == 0
    images = machine.folder / "state/pools/fast/images"
    real_storage.empty_trash(machine)
    assert not list(images.iterdir())
    assert real_storage.mounts_below(machine.folder) == [str(images.parent)]
    assert len(real_storage.attached_below(folder)) == 1
    machine.stop()
    assert not real_storage.attached_below(folder)
    assert not real_storage.mounts_below(folder)


def test_a_child_that_outlives_the_kill_holds_no_lock(scratch: Path) -> None:
    """A tool that the agent started (mkfs) may run on; the successor must still get the pool."""
    folder = scratch / "a"
    machine = Machine(folder, image_size_bytes=512 * MIB)
    descriptors = commands.run(["ls", "-l", "/proc/self/fd"])
    assert str(folder) not in descriptors
    machine.stop()


_FORKED = """
import os, pathlib, signal, sys, time
from mooring.adapters.pools.pool_folder import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(float(sys.argv[2]))
"""


def test_a_child_that_is_no_program_yet_only_delays_the_successor(scratch: Path) -> None:
    """Between fork and exec a child still has the dead opener's lock, whose file closes at exec."""
    argv = [sys.executable, "-c", _FORKED, str(scratch), "0.5"]
    killed = subprocess.run(argv, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    began = time.monotonic()
    FolderLock(scratch).close()
    assert time.monotonic() - began > 0.1, "nobody had it any more, so this shows nothing"
