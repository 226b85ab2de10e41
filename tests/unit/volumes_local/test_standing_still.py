"""A volume that stands still for lack of space is let go by what would make room."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.domain import errors, ids, volumes
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support.fake_storage import World, spec

ONE = ids.volume_id_for("one")
STAGE = "/k/plugins/kubernetes.io/csi/csi.mooring.dev/one/globalmount"
POD = Path("/k/pods/00000001-1111-2222-3333-444444444444")
TARGET = str(POD / "volumes/kubernetes.io~csi/one/mount")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def node(world: World) -> Iterator[LocalNode]:
    """A node with one staged volume; what stands still goes on afterwards."""
    made = world.node()
    made.create_volume(spec("one"))
    made.publisher.stage(ONE, STAGE, Access())
    yield made
    _standstill(made).let_go({ONE})


def _standstill(node: LocalNode):  # type: ignore[no-untyped-def]
    return node.space_watch._context.standstill


def _stands_still(world: World, node: LocalNode, mountpoint: str = STAGE) -> None:
    _standstill(node).hold(node.space_watch._context.host.freezes, {ONE: Path(mountpoint)})
    limit = time.monotonic() + 5
    while Path(mountpoint) not in world.kernel.frozen_at:
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_one_whose_kubelet_forgot_it_is_deleted(world: World, node: LocalNode) -> None:
    _stands_still(world, node)
    node.delete_volume(ONE)
    assert (world.kernel.mounts, world.kernel.devices, world.kernel.frozen_at) == ([], {}, set())
    (left,) = world.records.volumes.values()
    assert left.state is volumes.VolumeState.TRASHED


def test_one_that_somebody_else_froze_is_not(world: World, node: LocalNode) -> None:
    world.kernel.frozen_at.add(Path(STAGE))
    with pytest.raises(errors.Busy, match="not by Mooring"):
        node.delete_volume(ONE)
    assert world.records.volumes[ONE].state is volumes.VolumeState.READY
    world.kernel.frozen_at.clear()


def test_one_whose_pod_is_gone_is_let_go(world: World, node: LocalNode) -> None:
    node.publisher.publish(ONE, Publication(STAGE, TARGET, Access()))
    world.kernel.unmount(Path(STAGE))  # by a kubelet that died before the rest
    _stands_still(world, node, TARGET)
    identity = world.kernel.identity
    world.kernel.identity = (  # type: ignore[method-assign]
        lambda path: None if path == POD else identity(path)
    )
    node.forgotten.wait_seconds = 0
    (note,) = node.forgotten.check()
    assert "whose pod is gone" in note
    assert (world.kernel.mounts, world.kernel.frozen_at) == ([], set())
