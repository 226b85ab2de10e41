"""Pools that are emptied, taken out of the configuration, or missing when the agent starts."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.domain import errors, ids, pools, volumes
from mooring.ports.pools import PoolConfiguration
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.local.node import LocalNode
from support import real_storage
from support.real_storage import MIB

pytestmark = pytest.mark.system

STAYING, LEAVING = ids.PoolName("staying"), ids.PoolName("leaving")
ONE = ids.volume_id_for("one")


class Node:
    """A node whose agent is started again with another configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opener: registry.NodeOpener | None = None
        self.local = self.start(STAYING, LEAVING)

    def start(
        self,
        *names: ids.PoolName,
        use: pools.PoolUse = pools.PoolUse.OPEN,
        forgotten: tuple[str, ...] = (),
    ) -> LocalNode:
        self.stop()
        backend = pools.PoolBackend.DIRECTORY
        configured = [
            PoolConfiguration(name, backend, self.folder / name, use=use) for name in names
        ]
        self.opener = registry.NodeOpener(configured, self.folder / "state", forgotten)
        self.local = LocalNode(
            ids.NodeName("node-a"), self.opener.open(), ThreadLocks(), registry.system_clock()
        )
        self.local.recover()
        return self.local

    def stop(self) -> None:
        if self.opener is not None:
            self.opener.close()

    def create(self, name: str) -> volumes.VolumeRecord:
        return self.local.create_volume(replace(real_storage.spec(name, 8 * MIB), pool=LEAVING))

    def status(self) -> pools.PoolStatus | None:
        found = self.local.list_pools()
        return next((one for one in found if one.name == LEAVING), None)


@pytest.fixture
def node(scratch: Path) -> Iterator[Node]:
    made = Node(scratch)
    yield made
    made.stop()


def test_a_pool_that_is_evacuated_takes_nothing_new_and_says_what_is_left(node: Node) -> None:
    node.create("one")
    node.start(STAYING, LEAVING, use=pools.PoolUse.EVACUATING)
    with pytest.raises(errors.SpaceExhausted, match="evacuated"):
        node.create("two")
    status = node.status()
    assert status
    assert (status.healthy, status.available_bytes) == (True, 0)
    assert status.evacuation == pools.Evacuation(
        removed=False,
        held_count=1,
        held=(
            pools.HeldItem(
                "Volume",
                ONE,
                "back it up and restore it into another pool, then delete its "
                "PersistentVolumeClaim",
            ),
        ),
    )
    node.local.expand_volume(ONE, 16 * MIB)
    node.local.delete_volume(ONE)
    assert "nothing is left in it" in node.local.list_pools()[0].message
    assert node.local.pool_watch.check(now=True) == [], "it stays as long as it is configured"


def test_a_pool_with_volumes_stays_after_it_was_taken_out_and_goes_when_it_is_empty(
    node: Node,
) -> None:
    node.create("one")
    node.start(STAYING)
    assert [one.record.spec.volume_id for one in node.local.list_volumes()] == [ONE]
    with pytest.raises(errors.SpaceExhausted, match="taken out of the node's configuration"):
        node.create("two")
    assert node.local.pool_watch.check(now=True) == []
    node.local.delete_volume(ONE)
    assert node.local.pool_watch.check(now=True) == [
        f"pool {LEAVING} was removed: it was empty; its folder is left as it is"
    ]
    assert node.status() is None
    node.start(STAYING)
    assert node.status() is None
    assert (node.folder / LEAVING / "pool.json").exists()


def test_of_a_pool_that_is_neither_configured_nor_there_nothing_is_said_to_be_gone(
    node: Node,
) -> None:
    node.create("one")
    status = node.status()
    assert status
    node.stop()
    (node.folder / LEAVING).rename(node.folder / "away")
    node.start(STAYING)
    with pytest.raises(errors.HostFailure, match="forgetPools"):
        node.local.delete_volume(ONE)
    assert not (node.folder / LEAVING).exists()
    node.start(STAYING, forgotten=(status.pool_uuid,))
    assert node.status() is None
    node.local.delete_volume(ONE)


def test_an_agent_that_starts_without_a_disk_makes_no_new_pool_where_it_was(node: Node) -> None:
    node.create("one")
    status = node.status()
    assert status
    node.stop()
    (node.folder / LEAVING).rename(node.folder / "away")
    (node.folder / LEAVING).mkdir()
    node.start(STAYING, LEAVING)
    assert list((node.folder / LEAVING).iterdir()) == []
    failed = node.status()
    assert failed
    assert "nothing new is made in its place" in failed.message
    (node.folder / LEAVING).rmdir()
    (node.folder / "away").rename(node.folder / LEAVING)
    node.local.pool_watch.check(now=True)
    assert [one.record.spec.volume_id for one in node.local.list_volumes()] == [ONE]


def test_a_copy_of_a_pool_is_not_used_beside_it(node: Node) -> None:
    node.create("one")
    node.stop()
    shutil.copytree(node.folder / LEAVING, node.folder / "copy")
    node.start(STAYING, LEAVING, ids.PoolName("copy"))
    failed = [one for one in node.local.list_pools() if not one.healthy]
    assert [one.name for one in failed] == ["copy"]
    assert "under the name leaving" in failed[0].message
    assert len(node.local.list_volumes()) == 1
