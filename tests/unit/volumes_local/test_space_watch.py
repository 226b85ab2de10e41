"""The watch over space: what one look waits for, and what it does not."""

import threading
import time
from collections.abc import Iterator

import pytest

from mooring.domain import ids
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, World, spec

ONE = ids.volume_id_for("one")


@pytest.fixture
def world() -> World:
    return World(capacity_bytes=10 * GIB)


@pytest.fixture
def node(world: World) -> Iterator[LocalNode]:
    """A node with one sparse volume in use, which is thawed at the end."""
    made = world.node()
    made.create_volume(spec("one"))
    made.publisher.stage(ONE, "/k/staging", Access())
    yield made
    made.space_watch.stop()


def fill(world: World, left_bytes: int) -> None:
    """Something else takes the pool's disk."""
    world.images.allocate(
        ids.ImageId("other"), world.images.capacity().free_bytes - left_bytes, preallocate=True
    )


def frozen(world: World) -> bool:
    limit = time.monotonic() + 5
    while not world.kernel.frozen_at and time.monotonic() < limit:
        time.sleep(0.01)
    return bool(world.kernel.frozen_at)


@pytest.fixture
def released(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, nothing of what the pool has promised is counted."""
    released = threading.Event()
    [book] = node._context.pools.values()
    budget = book.records.budget

    def slow_budget() -> object:
        released.wait(30)
        return budget()

    monkeypatch.setattr(book.records, "budget", slow_budget)
    return released


def test_a_look_does_not_wait_for_a_count(
    world: World, node: LocalNode, released: threading.Event
) -> None:
    fill(world, GIB // 2)
    began = time.monotonic()
    for _ in range(5):
        node.space_watch.check()
    assert time.monotonic() - began < 2
    assert not world.kernel.frozen_at, "there is more room than the mark asks for"
    released.set()


def test_what_is_not_counted_yet_may_be_wanted(
    world: World, node: LocalNode, released: threading.Event
) -> None:
    fill(world, 64 << 20)
    assert "is full" in node.space_watch.check()[0]
    assert frozen(world), "below the mark, the count would come too late"
    released.set()
    [book] = node._context.pools.values()
    world.images.remove(ids.ImageId("other"))
    limit = time.monotonic() + 10
    while book.standstill and time.monotonic() < limit:
        node.space_watch.check()
        time.sleep(0.05)
    assert not book.standstill


def test_a_count_that_fails_is_told_and_tried_again(
    world: World, node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    [book] = node._context.pools.values()

    def broken_budget() -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(book.records, "budget", broken_budget)
    fill(world, GIB // 2)
    notes = node.space_watch.check()
    assert any("cannot be counted" in note for note in notes)
    assert node.space_watch.check() == [], "not told ten times a second"
