"""Whoever dies while a volume is frozen: the writers in it go on within ten seconds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.host import freezing
from mooring.domain import errors, ids
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import guarded, real_storage
from support.guarded import Container, Writer
from support.real_storage import MIB, Machine, spec

pytestmark = pytest.mark.system
_SHORT_FREEZE_SECONDS = 2.0
"""Long enough for a busy disk to be frozen in."""

ONE = ids.volume_id_for("one")
LIMIT_SECONDS = 10.0
FREEZE_SECONDS = 50
"""Much longer than the limit, so that no timer helps."""


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def volume(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    with real_storage.mounted(scratch, request.param, 512 * MIB) as point:
        yield point
        freezing.thaw(point)


@pytest.fixture
def writer(volume: Path, scratch: Path) -> Iterator[Writer]:
    with guarded.writing(volume, scratch) as found:
        yield found


class Pod:
    """The node pod: a guard with a process that has the volume frozen, and a standby beside it."""

    def __init__(self, volume: Path, folder: Path, seconds: float = FREEZE_SECONDS) -> None:
        self.records, self.lives = folder / "guard", folder / "lives"
        self.log = folder / "log"
        self._freezer = (sys.executable, "-c", guarded.FREEZER, volume, self.lives, seconds)
        self.guard = self.start_guard()
        self.standby = self.start_standby()

    def start_guard(self) -> Container:
        return Container("--folder", self.records, "--", *self._freezer, log=self.log)

    def start_standby(self) -> Container:
        return Container("--standby", "--folder", self.records, log=self.log)

    def recorded(self) -> list[Path]:
        return list(self.records.glob("*.json"))

    def end(self) -> None:
        self.guard.end()
        self.standby.end()


@pytest.fixture
def pod(volume: Path, scratch: Path, writer: Writer) -> Iterator[Pod]:
    """A pod that has frozen the volume; the writer waits."""
    made = Pod(volume, scratch)
    try:
        guarded.until("the freeze", lambda: made.recorded() and writer.waits(), 20)
        yield made
    finally:
        made.end()


def _goes_on(writer: Writer, pod: Pod) -> None:
    assert writer.longest_seconds() < LIMIT_SECONDS
    guarded.until("the record's end", lambda: not pod.recorded(), 5)


def test_a_killed_agent_is_thawed_for_and_started_again(pod: Pod, writer: Writer) -> None:
    before = pod.guard.child()
    os.kill(before, signal.SIGKILL)
    guarded.until("the next agent", lambda: pod.guard.child() != before, 1)
    _goes_on(writer, pod)
    guarded.until("its life", lambda: pod.lives.read_text().count("\n") == 2, 10)
    pod.guard.signal(signal.SIGTERM)
    assert pod.guard.ends() == 128 + signal.SIGTERM


def test_a_killed_guard_leaves_the_thaw_to_the_standby(pod: Pod, writer: Writer) -> None:
    pod.guard.signal(signal.SIGKILL)
    pod.guard.ends()
    _goes_on(writer, pod)


def test_a_killed_standby_changes_nothing_and_its_successor_stands_by(
    pod: Pod, writer: Writer
) -> None:
    agent = pod.guard.child()
    pod.standby.signal(signal.SIGKILL)
    pod.standby.ends()
    pod.standby = pod.start_standby()
    assert writer.waits(), "the freeze is its agent's, who lives"
    assert pod.guard.child() == agent
    pod.guard.signal(signal.SIGKILL)
    pod.guard.ends()
    _goes_on(writer, pod)


def test_a_killed_standby_keeps_nobody_from_the_end_of_a_freeze(
    volume: Path, scratch: Path, writer: Writer
) -> None:
    pod = Pod(volume, scratch, seconds=_SHORT_FREEZE_SECONDS)
    try:
        guarded.until("the freeze", lambda: pod.recorded() and writer.waits(), 20)
        pod.standby.signal(signal.SIGKILL)
        pod.standby.ends()
        _goes_on(writer, pod)
    finally:
        pod.end()


def test_guard_and_standby_killed_are_made_up_for_by_the_next_guard(
    pod: Pod, writer: Writer
) -> None:
    for container in (pod.standby, pod.guard):
        container.signal(signal.SIGKILL)
        container.ends()
    assert writer.waits()
    pod.guard = pod.start_guard()
    _goes_on(writer, pod)


def test_a_stopped_pod_thaws_first(pod: Pod, writer: Writer) -> None:
    for container in (pod.standby, pod.guard):
        container.signal(signal.SIGTERM)
    _goes_on(writer, pod)
    assert pod.guard.ends() == 128 + signal.SIGTERM
    assert pod.standby.ends() == 0


def test_a_guard_that_hangs_is_made_up_for_when_the_time_is_up(
    volume: Path, scratch: Path, writer: Writer
) -> None:
    pod = Pod(volume, scratch, seconds=1)
    try:
        guarded.until("the freeze", lambda: pod.recorded() and writer.waits(), 20)
        pod.guard.signal(signal.SIGSTOP)
        assert writer.longest_seconds() < LIMIT_SECONDS
    finally:
        pod.end()


def test_what_keeps_failing_at_its_start_is_given_up_with_its_exit_code(scratch: Path) -> None:
    guard = Container("--", "sh", "-c", "exit 7", log=scratch / "log")
    assert guard.ends() == 7
    log = (scratch / "log").read_text()
    assert log.count("is started again") == 4
    assert "giving up" in log


def test_orphans_are_reaped(scratch: Path) -> None:
    guard = Container("--", "sh", "-c", "(sleep 0.2 &) ; exec sleep 60", log=scratch / "log")
    try:
        children = Path(f"/proc/{guard.first}/task/{guard.first}/children")
        guarded.until("the orphan", lambda: len(children.read_text().split()) == 2, 10)
        guarded.until("its end", lambda: len(children.read_text().split()) == 1, 10)
    finally:
        guard.end()


def test_two_guards_on_one_folder_are_refused(scratch: Path) -> None:
    first = Container("--folder", scratch / "guard", "--", "sleep", "60", log=scratch / "log")
    try:
        guarded.until("its socket", (scratch / "guard/guard.sock").exists, 10)
        second = Container("--folder", scratch / "guard", "--", "true", log=scratch / "log")
        assert second.ends() == 1
    finally:
        first.end()
    assert "another guard" in (scratch / "log").read_text()


def test_a_freeze_lasts_as_long_as_it_is_extended(volume: Path) -> None:
    began = time.monotonic()
    with freezing.frozen(volume, timeout_seconds=_SHORT_FREEZE_SECONDS) as freeze:
        while time.monotonic() - began < 1.5 * _SHORT_FREEZE_SECONDS:
            freeze.extend(_SHORT_FREEZE_SECONDS)
            time.sleep(0.05)


def test_what_extends_a_freeze_too_late_learns_it(volume: Path) -> None:
    def forget() -> None:
        with freezing.frozen(volume, timeout_seconds=_SHORT_FREEZE_SECONDS) as freeze:
            freeze.extend(0.3)
            time.sleep(1.5 * _SHORT_FREEZE_SECONDS)
            with pytest.raises(errors.HostFailure, match="has ended"):
                freeze.extend(1)

    with pytest.raises(errors.HostFailure, match="thawed before"):
        forget()


def test_a_freeze_without_a_short_end_is_refused(scratch: Path) -> None:
    with (
        pytest.raises(errors.InvalidInput, match="at most 60"),
        freezing.frozen(scratch, timeout_seconds=3600),
    ):
        pytest.fail("frozen for an hour")


def test_what_somebody_else_froze_is_neither_unmounted_nor_grown(machine: Machine) -> None:
    machine.node.create_volume(spec("one"))
    staging, target = machine.staging("one"), machine.target("one")
    publisher = machine.node.publisher
    publisher.stage(ONE, staging, Access())
    publisher.publish(ONE, Publication(staging, target, Access()))
    subprocess.run(["fsfreeze", "-f", staging], check=True)
    try:
        with pytest.raises(errors.Busy, match="frozen"):
            publisher.node_expand(ONE, target)
        publisher.unpublish(ONE, target)  # the staging mount still shows it
        with pytest.raises(errors.Busy, match="fsfreeze -u"):
            publisher.unstage(ONE, staging)
        assert staging in real_storage.mounts_below(machine.folder)
        with pytest.raises(errors.InUse):
            machine.node.delete_volume(ONE)
    finally:
        freezing.thaw(Path(staging))
    publisher.unstage(ONE, staging)
    machine.node.delete_volume(ONE)
