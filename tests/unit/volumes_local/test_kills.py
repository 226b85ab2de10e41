"""A process killed before any effect of any operation: its successor ends the work.

Each case is run once undisturbed, then killed before its first, second, ... effect. After a kill
a new process retries at once, or recovers first and then retries: both must lead to the very
state of the undisturbed run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mooring.domain import ids, volumes
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support.fake_storage import GIB, Killed, World, spec

ONE = ids.volume_id_for("one")
TWO = ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)
LATER = ids.snapshot_id_for("later", ONE)
BLOCK = Access(mode=volumes.VolumeMode.BLOCK)
STAGING = "/k/staging"
TARGET = "/k/pod/mount"


def _nothing(node: LocalNode) -> None:
    del node


def _create(node: LocalNode) -> None:
    node.create_volume(spec("one", preallocated=True))


def _create_block(node: LocalNode) -> None:
    node.create_volume(spec("one", mode=volumes.VolumeMode.BLOCK, filesystem=None))


def _stage(node: LocalNode) -> None:
    node.publisher.stage(ONE, STAGING, Access())


def _publish(node: LocalNode) -> None:
    node.publisher.publish(ONE, Publication(STAGING, TARGET, Access()))


def _publish_block(node: LocalNode) -> None:
    node.publisher.stage(ONE, STAGING, BLOCK)
    node.publisher.publish(ONE, Publication(STAGING, TARGET, BLOCK, read_only=True))


def _snapshot(node: LocalNode) -> None:
    node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=5)


def _clone(node: LocalNode) -> None:
    node.create_volume(
        spec("two", size_bytes=2 * GIB, source=volumes.Source(volume_id=ONE), preallocated=True)
    )


def _from_snapshot(node: LocalNode) -> None:
    node.create_volume(spec("two", source=volumes.Source(snapshot_id=SNAP)))


def _expand(node: LocalNode) -> None:
    node.expand_volume(ONE, 3 * GIB)


def _unstage(node: LocalNode) -> None:
    node.publisher.unstage(ONE, STAGING)


def _grown(node: LocalNode) -> None:
    _create(node)
    _stage(node)
    node.publisher.unstage(ONE, STAGING)
    _expand(node)


def _unpublish(node: LocalNode) -> None:
    node.publisher.unpublish(ONE, TARGET)
    node.publisher.unstage(ONE, STAGING)


def _fill(node: LocalNode) -> None:
    node.create_volume(spec("one", filling=True))
    node.exposures.expose(f"populate/{ONE}", TARGET, read_only=False, group_id=65532)
    node.exposures.unexpose(f"populate/{ONE}", TARGET)
    node.finish_filling(ONE)


def _expose_snapshot(node: LocalNode) -> None:
    node.exposures.expose(f"snapshot/{SNAP}", TARGET, read_only=True, group_id=65532)


def _unexpose_snapshot(node: LocalNode) -> None:
    node.exposures.unexpose(f"snapshot/{SNAP}", TARGET)


def _next_base(node: LocalNode) -> None:
    node.create_snapshot(LATER, "later", freeze_timeout_seconds=5)
    node.keep_base(LATER, volumes.BackupBase("repository", "bk-2"))


def _base(node: LocalNode) -> None:
    node.keep_base(SNAP, volumes.BackupBase("repository", "bk-1"))


def _delete(node: LocalNode) -> None:
    node.delete_volume(ONE)


def _undelete(node: LocalNode) -> None:
    for one in node.list_volumes():
        node.undelete_volume(one.record.spec.volume_id)


def _steps(*steps: Callable[[LocalNode], None]) -> Callable[[LocalNode], None]:
    def run(node: LocalNode) -> None:
        for step in steps:
            step(node)

    return run


@dataclass(frozen=True)
class Case:
    """What is there before, and the operation that is killed."""

    before: Callable[[LocalNode], None]
    act: Callable[[LocalNode], None]


CASES = {
    "create": Case(_nothing, _create),
    "create-block": Case(_nothing, _create_block),
    "stage": Case(_create, _stage),
    "stage-grown": Case(_grown, _stage),
    "publish": Case(_steps(_create, _stage), _publish),
    "publish-block": Case(_create_block, _publish_block),
    "unpublish": Case(_steps(_create, _stage, _publish), _unpublish),
    "unpublish-block": Case(_steps(_create_block, _publish_block), _unpublish),
    "snapshot": Case(_create, _snapshot),
    "snapshot-published": Case(_steps(_create, _stage, _publish), _snapshot),
    "base": Case(_steps(_create, _snapshot), _base),
    "next-base": Case(_steps(_create, _snapshot, _base), _next_base),
    "delete-with-base": Case(_steps(_create, _snapshot, _base), _delete),
    "clone": Case(_create, _clone),
    "clone-published": Case(_steps(_create, _stage), _clone),
    "from-snapshot": Case(_steps(_create, _stage, _snapshot), _from_snapshot),
    "expand": Case(_create, _expand),
    "expand-published": Case(_steps(_create, _stage), _expand),
    "delete": Case(_create, _delete),
    "delete-used": Case(_steps(_create, _stage, _unstage), _delete),
    "undelete": Case(_steps(_create, _stage, _unstage, _delete), _undelete),
    "delete-snapshot": Case(_steps(_create, _snapshot), lambda node: node.delete_snapshot(SNAP)),
    "fill": Case(_nothing, _fill),
    "expose": Case(_steps(_create, _snapshot), _expose_snapshot),
    "unexpose": Case(_steps(_create, _snapshot, _expose_snapshot), _unexpose_snapshot),
}


def _prepared(case: Case) -> World:
    world = World()
    world.kernel.grows_unmounted = True
    case.before(world.node())
    return world


@pytest.mark.parametrize("recovers", [False, True], ids=["retried", "recovered"])
@pytest.mark.parametrize("name", CASES)
def test_a_retry_after_a_kill_before_any_effect_ends_the_work(name: str, recovers: bool) -> None:
    case = CASES[name]
    undisturbed = _prepared(case)
    case.act(undisturbed.node())
    wanted = undisturbed.state()
    kills = 0
    while True:
        world = _prepared(case)
        world.killer.arm(kills + 1)
        try:
            case.act(world.node())
        except Killed:
            kills += 1
        else:
            break
        world.killer.disarm()
        successor = world.node()
        if recovers:
            notes = successor.recover()
            assert not [note for note in notes if "could not" in note]
        case.act(successor)
        assert world.state() == wanted, f"killed before effect {kills}"
    assert kills >= 1, "the operation has no effect to be killed before"


@pytest.mark.parametrize("name", ["create", "clone-published", "snapshot-published", "delete-used"])
def test_recovery_alone_leaves_nothing_half_done(name: str) -> None:
    case = CASES[name]
    before = _prepared(case).state()
    undisturbed = _prepared(case)
    case.act(undisturbed.node())
    fatal = 0
    while True:
        fatal += 1
        world = _prepared(case)
        world.killer.arm(fatal)
        try:
            case.act(world.node())
        except Killed:
            world.killer.disarm()
        else:
            break
        world.node().recover()
        assert world.state() in (before, undisturbed.state()), f"killed before effect {fatal}"
