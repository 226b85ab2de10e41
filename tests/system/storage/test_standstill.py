"""Where more was promised than there is, sparse volumes stand still before a write fails."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mooring.agent import upkeep
from mooring.domain import errors, ids
from mooring.volumes.local.staging import Access
from support import guarded, verified_writer, watching_node
from support.appending_writer import Appender, block
from support.real_storage import MIB, Machine, spec

pytestmark = [pytest.mark.system, pytest.mark.timeout(540)]

POOL_BYTES = 1024 * MIB
SIZE_BYTES = 600 * MIB
BLOCKS = 2_000
PATIENCE_SECONDS = 120.0


@pytest.fixture
def unwatched(scratch: Path) -> Iterator[Machine]:
    """A machine whose pool promises much more than it has."""
    made = Machine(scratch / "a", image_size_bytes=POOL_BYTES, overcommit=watching_node.OVERCOMMIT)
    yield made
    made.opener.close()


@pytest.fixture
def machine(unwatched: Machine) -> Iterator[Machine]:
    """The same, with the watch over it."""
    watch = upkeep.space_watch(unwatched.node, lambda: None)
    watch.start()
    yield unwatched
    watch.stop()
    unwatched.node.space_watch.stop()


def _stage(machine: Machine, name: str) -> Path:
    machine.node.publisher.stage(ids.volume_id_for(name), machine.staging(name), Access())
    return Path(machine.staging(name))


def _unstage(machine: Machine, name: str) -> None:
    machine.node.publisher.unstage(ids.volume_id_for(name), machine.staging(name))


@contextmanager
def _filling(
    machine: Machine, name: str, count: int, synced_every: int = 1, rest_seconds: float = 0.0
) -> Iterator[Appender]:
    machine.node.create_volume(spec(name, SIZE_BYTES))
    log = machine.folder / f"{name}.log"
    path = _stage(machine, name) / "data"
    writer = Appender(path, log, count, synced_every, rest_seconds)
    try:
        yield writer
    finally:
        writer.kill()


def _told(machine: Machine, name: str) -> str:
    """What is wrong with a volume; empty if nothing is."""
    found = {one.record.spec.name: one.condition for one in machine.node.list_volumes()}[name]
    assert found.writes_wait == ("is full" in found.message)
    return found.message if found.abnormal else ""


def _stand_still(machine: Machine, *writers: Appender) -> None:
    """Waits until the volumes stand still, and so do their writers, none of which met an error."""

    def all_told() -> bool:
        assert [one.has_ended() for one in writers] == [None] * len(writers), "one met an error"
        return all("is full" in _told(machine, one.path.parent.name) for one in writers)

    guarded.until("the volumes to stand still", all_told, PATIENCE_SECONDS)

    def nobody_writes() -> bool:
        before = [one.written() for one in writers]
        time.sleep(0.7)
        assert [one.has_ended() for one in writers] == [None] * len(writers), "one met an error"
        return before == [one.written() for one in writers]

    guarded.until("the writers to stand still", nobody_writes, PATIENCE_SECONDS)


def _ballast(machine: Machine, count: int = 220) -> None:
    """A volume that nobody uses, with so many blocks in it."""
    machine.node.create_volume(spec("ballast", 850 * MIB))
    writer = Appender(
        _stage(machine, "ballast") / "data", machine.folder / "ballast.log", count, 20
    )
    assert writer.ends() == 0
    _unstage(machine, "ballast")


@pytest.mark.parametrize("synced_every", [1, 200])
def test_writers_wait_for_room_and_go_on_by_themselves(machine: Machine, synced_every: int) -> None:
    machine.node.create_volume(spec("reserved", 64 * MIB, preallocated=True))
    data = _stage(machine, "reserved") / "data"
    verified_writer.fill(data, BLOCKS)
    _ballast(machine)
    with (
        verified_writer.writing(data, machine.folder / "reserved.log", BLOCKS) as neighbour,
        _filling(machine, "one", 500, synced_every) as one,
        _filling(machine, "two", 500, synced_every) as two,
    ):
        _stand_still(machine, one, two)
        neighbour.wait_for_more()
        assert "is full" in machine.node.list_pools()[0].message
        snapshot_id = ids.snapshot_id_for("s", ids.volume_id_for("one"))
        with pytest.raises(errors.SpaceExhausted):
            machine.node.create_snapshot(snapshot_id, "s", freeze_timeout_seconds=10)
        before = one.written() + two.written()
        machine.node.delete_volume(ids.volume_id_for("ballast"))
        guarded.until(
            "the writers to go on",
            lambda: one.written() + two.written() > before,
            PATIENCE_SECONDS,
        )
        _stand_still(machine, one, two)
        neighbour.wait_for_more()
        one.kill()
        one.ends(PATIENCE_SECONDS)  # a killed pod ends although its volume stands still
        _unstage(machine, "one")
        _stage(machine, "one")
        assert one.wrong_blocks() == []
        _unstage(machine, "one")
        machine.node.delete_volume(ids.volume_id_for("one"))
        assert two.ends(PATIENCE_SECONDS) == 0
        neighbour.wait_for_more()
    _unstage(machine, "two")
    _stage(machine, "two")
    assert (two.acknowledged(), two.wrong_blocks()) == (500, [])
    guarded.until("the volume to be healthy", lambda: not _told(machine, "two"), 10)
    _unstage(machine, "two")
    _unstage(machine, "reserved")


def test_what_is_written_but_not_synced_has_its_room(machine: Machine) -> None:
    """A freeze writes back what the filesystem holds in memory, and needs room for all of it."""
    free_blocks = machine.node.list_pools()[0].capacity.free_bytes // MIB
    _ballast(machine, free_blocks - 330)
    machine.node.create_volume(spec("two", SIZE_BYTES))
    data = _stage(machine, "two") / "data"
    with data.open("wb", buffering=0) as file:
        for number in range(150):
            file.write(block(number))
        with _filling(machine, "one", 500, rest_seconds=0.03) as one:
            _stand_still(machine, one)
            assert "is full" in _told(machine, "two")
            machine.node.delete_volume(ids.volume_id_for("ballast"))
            guarded.until("room", lambda: not _told(machine, "two"), PATIENCE_SECONDS)
            os.fsync(file.fileno())
            one.kill()
            one.ends(PATIENCE_SECONDS)
            assert one.wrong_blocks() == []
    for name in ("one", "two"):
        _unstage(machine, name)
    with (_stage(machine, "two") / "data").open("rb") as file:
        assert all(file.read(MIB) == block(number) for number in range(150))
    _unstage(machine, "two")


def _leave_free(machine: Machine, size_bytes: int) -> None:
    """Lets somebody else write to the pool's disk, which no admission counts."""
    free_bytes = machine.node.list_pools()[0].capacity.free_bytes
    with (machine.folder / "state/pools/fast/others").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes - size_bytes)


def _agent(machine: Machine) -> guarded.Container:
    """A guard with an agent that has the machine's pool from now on."""
    machine.opener.close()
    records, log = machine.folder / "guard", machine.folder / "agent.log"
    command = (sys.executable, watching_node.__file__, machine.folder, POOL_BYTES)
    return guarded.Container("--folder", records, "--", *command, log=log)


def test_an_agent_killed_while_a_volume_stands_still_is_followed_by_one_that_looks_first(
    unwatched: Machine,
) -> None:
    """In between the writer goes on, at a pace that leaves some room for that time."""
    machine = unwatched
    with _filling(machine, "one", 500, rest_seconds=0.2) as one:
        _leave_free(machine, 110 * MIB)
        agent = _agent(machine)
        try:
            for _ in range(2):
                before = _waits(machine, one)
                os.kill(agent.child(), signal.SIGKILL)
                guarded.until("the thaw", lambda: not _held(machine), 10)
                guarded.until("the writer to go on", lambda b=before: one.written() > b, 10)
            _waits(machine, one)
        finally:
            one.kill()
            agent.signal(signal.SIGTERM)
            agent.ends()
        one.ends(PATIENCE_SECONDS)
        assert one.acknowledged() > 0
        assert one.wrong_blocks() == []
    machine.restart()
    _unstage(machine, "one")


def _held(machine: Machine) -> bool:
    """Whether the guard holds a freeze."""
    return any((machine.folder / "guard").glob("*.json"))


def _waits(machine: Machine, writer: Appender) -> int:
    """Waits until the guard holds a freeze and the writer waits; returns what it has written."""

    def seen() -> bool:
        assert writer.has_ended() is None, "it met an error"
        before = writer.written()
        held = _held(machine)
        time.sleep(0.7)
        return held and writer.written() == before

    guarded.until("the writer to wait", seen, PATIENCE_SECONDS)
    return writer.written()
