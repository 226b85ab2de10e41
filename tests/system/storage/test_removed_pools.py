"""Pools that are emptied, taken out of the configuration, or missing when the agent starts."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.domain import errors, ids, pools, volumes
from mooring.planning import pool_ownership
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
        self.opener = registry.NodeOpener(
            configured, self.folder / "state", registry.Wishes(forgotten=frozenset(forgotten))
        )
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
def disk(scratch: Path) -> Iterator[Path]:
    """A filesystem of its own, so that the machine's free space plays no part."""
    with real_storage.mounted(scratch, "ext4") as point:
        yield point


@pytest.fixture
def node(disk: Path) -> Iterator[Node]:
    made = Node(disk)
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
        use=pools.PoolUse.EVACUATING,
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
        f"pool {LEAVING} was let go: nobody uses it; its folder is left as it is"
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


def test_a_pool_that_shall_go_elsewhere_is_let_go_once_nobody_uses_it(node: Node) -> None:
    node.create("one")
    status = node.status()
    assert status
    node.start(STAYING, LEAVING, forgotten=(status.pool_uuid,))
    image = node.folder / LEAVING / "images" / ONE
    loops = registry.kernel_host().loops
    device = loops.attach(image, sector_size_bytes=4096, read_only=False)
    assert node.local.pool_watch.check(now=True) == []
    kept = node.status()
    assert kept
    assert "once no pod on the node uses it" in kept.message
    loops.detach(device.path, image)
    assert "let go" in node.local.pool_watch.check(now=True)[0]
    assert node.status() is None

    node.start(STAYING, LEAVING, forgotten=(status.pool_uuid,))
    refused = node.status()
    assert refused
    assert "take it out there to use it" in refused.message
    node.start(STAYING, LEAVING)
    assert [one.record.spec.volume_id for one in node.local.list_volumes()] == [ONE]


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


class Fleet:
    """What the other nodes say of a pool."""

    def __init__(self) -> None:
        self.sighting = pools.Sighting(None, pools.OwnerState.SILENT)

    def look(self, pool_uuid: str, owner: ids.NodeName) -> pools.Sighting:
        del pool_uuid, owner
        return self.sighting


@pytest.mark.parametrize("kind", ["folder", "embedded", "image alone"])
def test_a_disk_that_comes_to_another_node_is_adopted_once_nobody_else_has_it(
    disk: Path, kind: str
) -> None:
    embedded = kind != "folder"
    fleet, there, here = Fleet(), disk / "there", disk / "here"

    def agent(name: str, folder: Path) -> tuple[registry.NodeOpener, LocalNode]:
        configuration = PoolConfiguration(
            LEAVING,
            pools.PoolBackend.REFLINK if embedded else pools.PoolBackend.DIRECTORY,
            folder,
            400 * MIB if embedded else None,
        )
        wishes = registry.Wishes(registry.Ownership(ids.NodeName(name), fleet))
        opener = registry.NodeOpener([configuration], disk / f"state-{name}", wishes)
        clock = registry.system_clock()
        return opener, LocalNode(ids.NodeName(name), opener.open(), ThreadLocks(), clock)

    opener, node = agent("node-a", there)
    node.create_volume(replace(real_storage.spec("one", 16 * MIB), pool=LEAVING))
    opener.unmount()
    there.rename(here)
    if kind == "image alone":
        (here / "owner.json").unlink()
    opener, node = agent("node-b", here)
    assert "does not answer" in node.list_pools()[0].message
    mounted = real_storage.attached_below(here)
    assert not mounted, "a pool that may be used elsewhere does not stay mounted"
    with pytest.raises(errors.HostFailure, match="belongs to node node-a"):
        node.delete_volume(ONE)

    fleet.sighting = pools.Sighting(None, pools.OwnerState.GONE)
    assert node.pool_watch.check(now=True) == [f"pool {LEAVING} is open again"]
    assert [one.record.spec.volume_id for one in node.list_volumes()] == [ONE]
    assert node.list_pools()[0].adopted_from == ("node-a",)
    opener.unmount()

    fleet.sighting = pools.Sighting(ids.NodeName("node-b"), pools.OwnerState.SILENT)
    opener, node = agent("node-a", there)
    assert "serves on node node-b now" in node.list_pools()[0].message
    assert node.list_pools()[0].pool_uuid == "", "what is not there is not claimed"
    opener.close()


def test_the_original_of_an_adopted_copy_is_known_by_what_both_nodes_say(disk: Path) -> None:
    """It opens, because it was its own node's all along: what tells is who says that it adopted."""
    fleet, there, here = Fleet(), disk / "there", disk / "here"

    def agent(name: str, folder: Path) -> tuple[registry.NodeOpener, pools.PoolStatus]:
        configuration = PoolConfiguration(LEAVING, pools.PoolBackend.DIRECTORY, folder)
        wishes = registry.Wishes(registry.Ownership(ids.NodeName(name), fleet))
        opener = registry.NodeOpener([configuration], disk / f"state-{name}", wishes)
        clock = registry.system_clock()
        node = LocalNode(ids.NodeName(name), opener.open(), ThreadLocks(), clock)
        return opener, node.list_pools()[0]

    opener, _ = agent("node-a", there)
    opener.close()
    shutil.copytree(there, here)
    fleet.sighting = pools.Sighting(None, pools.OwnerState.GONE)
    copy_opener, copy = agent("node-b", here)
    fleet.sighting = pools.Sighting(ids.NodeName("node-b"), pools.OwnerState.SILENT)
    opener, original = agent("node-a", there)
    assert copy.pool_uuid == original.pool_uuid
    assert pool_ownership.originals([original, copy]) == {"node-a": "node-b"}
    opener.close()
    copy_opener.close()


def test_a_pool_that_an_earlier_version_left_on_a_full_disk_is_opened(disk: Path) -> None:
    configuration = PoolConfiguration(LEAVING, pools.PoolBackend.DIRECTORY, disk / "pool")
    wishes = registry.Wishes(registry.Ownership(ids.NodeName("node-a"), Fleet()))
    opener = registry.NodeOpener([configuration], disk / "state", wishes)
    opener.open()
    opener.close()
    (disk / "pool" / "owner.json").unlink()
    shutil.rmtree(disk / "state" / "known-pools")
    with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    opened = registry.NodeOpener([configuration], disk / "state", wishes)
    assert not opened.open().failed_pools
    assert not (disk / "state" / "known-pools").exists(), "there was no room for it"
    opened.close()
    (disk / "filling").unlink()
    again = registry.NodeOpener([configuration], disk / "state", wishes)
    again.open()
    again.close()
    assert list((disk / "state" / "known-pools").iterdir())


def test_a_copy_of_a_pool_is_not_used_beside_it(node: Node) -> None:
    node.create("one")
    node.stop()
    shutil.copytree(node.folder / LEAVING, node.folder / "copy")
    node.start(STAYING, LEAVING, ids.PoolName("copy"))
    failed = [one for one in node.local.list_pools() if not one.healthy]
    assert [one.name for one in failed] == ["copy"]
    assert "under the name leaving" in failed[0].message
    assert len(node.local.list_volumes()) == 1
