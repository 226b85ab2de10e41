"""Pools that fail while they serve, and come back: what the watch does, and in which order."""

from dataclasses import dataclass, field

import pytest

from mooring.domain import errors, ids, volumes
from mooring.ports.pools import OpenPool
from mooring.volumes.local import context, pool_watch
from mooring.volumes.local.pool_watch import PoolWatch
from mooring.volumes.local.staging import Access
from support.fake_storage import POOL, SteppingClock, World, spec

ONE = ids.volume_id_for("one")
STAGING = "/k/staging"


@dataclass
class Door:
    """A pool that the test breaks and mends."""

    pool: OpenPool
    fault: str = ""
    opens: bool = True
    calls: list[str] = field(default_factory=list)

    def probe(self) -> None:
        if self.fault:
            raise errors.HostFailure(self.fault)

    def retire(self) -> None:
        self.calls.append("retire")

    def claimed(self) -> str:
        return "uuid"

    def give_up(self) -> None:
        self.calls.append("give up")

    def open(self) -> OpenPool:
        self.calls.append("open")
        if not self.opens:
            raise errors.HostFailure("its disk is gone")
        self.fault = ""
        return self.pool


@pytest.fixture
def watched() -> tuple[World, Door, PoolWatch, context.NodeContext]:
    """A node with one pool, and what looks after it."""
    world = World()
    node = world.node()
    door = Door(OpenPool(POOL, "uuid", world.images, world.records, 1.0))
    found: context.NodeContext = node._context
    return world, door, PoolWatch(found, {POOL: door}), found


Watched = tuple[World, Door, PoolWatch, context.NodeContext]


def test_it_serves_again_when_its_disk_answers_again(watched: Watched) -> None:
    _, door, watch, found = watched
    door.fault = "EIO"
    assert watch.check(now=True) == ["pool fast has failed: EIO"]
    assert not found.pools
    assert "EIO" in found.failed[0].message
    door.fault = ""
    assert watch.check(now=True) == ["pool fast works again"]
    assert not found.failed
    assert not door.calls


def test_it_is_not_let_go_while_a_device_carries_a_volume_of_it(watched: Watched) -> None:
    world, door, watch, found = watched
    node = world.node()
    node.create_volume(spec("one"))
    node.publisher.stage(ONE, STAGING, Access())
    door.fault = "EIO"
    watch.check(now=True)
    watch.check(now=True)
    assert not door.calls
    assert f"use 1 volumes of it ({ONE})" in found.failed[0].message
    node.publisher.unstage(ONE, STAGING)
    assert watch.check(now=True) == ["pool fast is open again"]
    assert door.calls == ["retire", "open"]


def test_what_was_under_way_is_ended_before_it_serves_again(watched: Watched) -> None:
    world, door, watch, found = watched
    door.fault = "EIO"
    watch.check(now=True)
    record = volumes.VolumeRecord(
        spec("one"), volumes.VolumeState.CREATING, formatted=False, created_at=SteppingClock().now()
    )
    world.records.volumes[ONE] = record
    door.opens = False
    assert watch.check(now=True) == []
    assert world.records.volumes == {ONE: record}
    assert found.failed[0].message == "its disk is gone"
    door.opens = True
    assert watch.check(now=True) == [
        f"{ONE}: took back an interrupted creation",
        "pool fast is open again",
    ]
    assert not world.records.volumes


def test_a_disk_that_does_not_answer_keeps_nobody_waiting(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, door, watch, found = watched
    monkeypatch.setattr(pool_watch._Probe, "ended", lambda _: False)
    assert watch.check(now=True) == []
    monkeypatch.setattr(pool_watch, "_SILENCE_SECONDS", 0.0)
    assert "does not answer" in watch.check(now=True)[0]
    watch.check(now=True)
    assert not door.calls
    monkeypatch.undo()
    assert watch.check(now=True) == ["pool fast works again"]
    assert found.pools


def test_a_pool_that_nothing_is_wrong_with_is_left_alone(watched: Watched) -> None:
    _, door, watch, found = watched
    assert watch.check() == []
    found.pools[POOL].guard.suspected = True
    assert watch.check() == []
    assert not found.pools[POOL].guard.suspected
    assert not door.calls
