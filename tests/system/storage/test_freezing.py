"""A freeze ends, whatever happens to whoever asked for it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import freezing
from mooring.domain import errors, ids
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage
from support.real_storage import MIB, Machine, spec, write_synced

pytestmark = pytest.mark.system

ONE = ids.volume_id_for("one")

FREEZER = """
import sys, time
from pathlib import Path
from mooring.adapters.host import freezing
with freezing.frozen(Path(sys.argv[1]), timeout_seconds=float(sys.argv[2])):
    print("frozen", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def mountpoint(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with real_storage.mounted(scratch, request.param, 512 * MIB) as point:
        yield point
        freezing.thaw(point)


def _write(mountpoint: Path, timeout_seconds: float) -> bool:
    """Whether a write to a filesystem ends in time; a frozen one blocks the writer."""
    child = subprocess.Popen(["/bin/touch", str(mountpoint / f"written-{time.monotonic()}")])
    try:
        return child.wait(timeout=timeout_seconds) == 0
    except subprocess.TimeoutExpired:
        child.kill()
        freezing.thaw(mountpoint)
        child.wait(timeout=10)
        return False


def test_writers_wait_exactly_as_long_as_the_block_lasts(mountpoint: Path) -> None:
    with freezing.frozen(mountpoint, timeout_seconds=30):
        child = subprocess.Popen(["/bin/touch", str(mountpoint / "late")])
        time.sleep(0.3)
        assert child.poll() is None
    assert child.wait(timeout=5) == 0
    assert _write(mountpoint, 5)


def test_an_error_inside_the_block_thaws_and_is_kept(mountpoint: Path) -> None:
    with (
        pytest.raises(errors.SpaceExhausted),
        freezing.frozen(mountpoint, timeout_seconds=30),
    ):
        raise errors.SpaceExhausted("inside")
    assert _write(mountpoint, 5)


def test_the_watchdog_thaws_when_the_time_is_up_and_the_block_learns_it(mountpoint: Path) -> None:
    began = time.monotonic()

    def outlive() -> None:
        with freezing.frozen(mountpoint, timeout_seconds=0.5):
            assert _write(mountpoint, 10)  # waits for the watchdog
            assert time.monotonic() - began >= 0.4

    with pytest.raises(errors.HostFailure, match="expired"):
        outlive()
    assert _write(mountpoint, 5)


def test_the_watchdog_thaws_when_its_parent_is_killed(mountpoint: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FREEZER, str(mountpoint), "60"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "frozen\n"
        parent.send_signal(signal.SIGKILL)
    assert _write(mountpoint, 5)


def test_a_watchdog_that_is_killed_leaves_the_thaw_to_its_parent(mountpoint: Path) -> None:
    with freezing.frozen(mountpoint, timeout_seconds=30):
        for watchdog in _children_named("host.guard"):
            os.kill(watchdog, signal.SIGKILL)
        time.sleep(0.2)
    assert _write(mountpoint, 5)


def test_a_watchdog_that_was_told_to_end_thaws_and_the_block_learns_it(mountpoint: Path) -> None:
    def told() -> None:
        with freezing.frozen(mountpoint, timeout_seconds=30):
            for watchdog in _children_named("host.guard"):
                os.kill(watchdog, signal.SIGTERM)
            assert _write(mountpoint, 5)

    with pytest.raises(errors.HostFailure, match="thawed before"):
        told()


def test_what_is_frozen_already_is_refused(mountpoint: Path) -> None:
    with (
        freezing.frozen(mountpoint, timeout_seconds=30),
        pytest.raises(errors.HostFailure, match="EBUSY"),
        freezing.frozen(mountpoint, timeout_seconds=30),
    ):
        pytest.fail("frozen twice")
    assert _write(mountpoint, 5)


def test_a_freeze_that_just_ends_is_none_and_one_that_lasts_is_one(mountpoint: Path) -> None:
    with freezing.frozen(mountpoint, timeout_seconds=30):
        assert freezing.is_frozen(mountpoint)
    argv = [sys.executable, "-c", FREEZER, str(mountpoint), "30"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "frozen\n"
        end = threading.Timer(0.5, asker.kill)
        end.start()
        assert not freezing.is_frozen(mountpoint)
        end.join()
    assert _write(mountpoint, 5)


def test_a_snapshot_under_a_freeze_that_takes_too_long_is_no_snapshot(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    machine.node.publisher.publish(
        ONE, Publication(machine.staging("one"), machine.target("one"), Access())
    )
    snapshot_id = ids.snapshot_id_for("snap", ONE)
    with pytest.raises(errors.HostFailure):
        machine.node.create_snapshot(snapshot_id, "snap", freeze_timeout_seconds=1e-6)
    assert not machine.node.list_snapshots()
    write_synced(Path(machine.target("one")) / "data", b"goes on")
    assert machine.node.create_snapshot(snapshot_id, "snap", freeze_timeout_seconds=10)


def test_recovery_thaws_what_a_killed_agent_left_frozen(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    staging = Path(machine.staging("one"))
    subprocess.run(["fsfreeze", "-f", str(staging)], check=True)
    try:
        machine.restart()
        assert _write(staging, 5)
    finally:
        freezing.thaw(staging)


def _children_named(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            command = (entry.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and name.encode() in command:
            found.append(int(entry.parent.name))
    return found
