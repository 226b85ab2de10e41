"""The operations of a node's storage that are broken off at each of their system calls.

Each one starts from a machine that `before` brought about, and `after` takes everything away.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mooring.domain import errors, ids, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import fake_source, real_storage
from support.fake_source import FakeSource
from support.real_storage import MIB, Machine, spec

POOL_BYTES = 512 * MIB
SIZE_BYTES = 64 * MIB
LARGER_BYTES = 96 * MIB
CONTENT = b"what was acknowledged" * 1000
ONE, TWO = ids.volume_id_for("one"), ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)
MOVER_GROUP_ID = 65532


def open_machine(folder: Path) -> Machine:
    """Opens the machine as an agent does that starts."""
    return Machine(folder, image_size_bytes=POOL_BYTES, source=FakeSource)


def nothing(machine: Machine) -> None:
    """Leaves a machine as it is."""


def create(machine: Machine) -> None:
    machine.node.create_volume(spec("one", SIZE_BYTES, preallocated=True))


def stage(machine: Machine) -> None:
    machine.node.publisher.stage(ONE, machine.staging("one"), Access())


def publish(machine: Machine) -> None:
    publication = Publication(machine.staging("one"), machine.target("one"), Access())
    machine.node.publisher.publish(ONE, publication)


def unpublish(machine: Machine) -> None:
    machine.node.publisher.unpublish(ONE, machine.target("one"))


def unstage(machine: Machine) -> None:
    machine.node.publisher.unstage(ONE, machine.staging("one"))


def snapshot(machine: Machine) -> None:
    machine.node.create_snapshot(SNAP, "snap", freeze_timeout_seconds=20)


def delete_snapshot(machine: Machine) -> None:
    machine.node.delete_snapshot(SNAP)


def clone(machine: Machine) -> None:
    source = volumes.Source(volume_id=ONE)
    machine.node.create_volume(spec("two", LARGER_BYTES, source=source, preallocated=True))


def pull(machine: Machine) -> None:
    """A copy of a snapshot that lies on another node; it is asked for until it is whole."""
    source = volumes.Source(snapshot_id=ids.snapshot_id_for("far", ONE), node=fake_source.NODE)
    while True:
        with contextlib.suppress(errors.Busy):
            machine.node.create_volume(spec("two", LARGER_BYTES, None, source=source))
            return


def delete(machine: Machine) -> None:
    machine.node.delete_volume(ONE)


def undelete(machine: Machine) -> None:
    for one in machine.node.list_volumes():
        machine.node.undelete_volume(one.record.spec.volume_id)


def expand(machine: Machine) -> None:
    machine.node.expand_volume(ONE, LARGER_BYTES)


def fill(machine: Machine) -> None:
    """A restore's part: a volume that is made, opened for a mover, taken back and made Ready."""
    node, handle = machine.node, f"populate/{ONE}"
    made = node.create_volume(spec("one", SIZE_BYTES, preallocated=True, filling=True))
    if made.state is volumes.VolumeState.FILLING:
        node.exposures.expose(
            handle, machine.target("mover"), read_only=False, group_id=MOVER_GROUP_ID
        )
        node.exposures.unexpose(handle, machine.target("mover"))
    node.finish_filling(ONE)


def grown(machine: Machine) -> None:
    """A volume whose filesystem has yet to follow its image."""
    staged(machine)
    unstage(machine)
    expand(machine)


def created(machine: Machine) -> None:
    create(machine)


def staged(machine: Machine) -> None:
    create(machine)
    stage(machine)


def in_use(machine: Machine) -> None:
    staged(machine)
    publish(machine)
    real_storage.write_synced(Path(machine.target("one")) / "data", CONTENT)


def with_snapshot(machine: Machine) -> None:
    in_use(machine)
    snapshot(machine)


def again_in_use(machine: Machine, before: Callable[[Machine], None]) -> None:
    """Brings the mounts of a state back, as the kubelet does after a start of the machine."""
    if before in (staged, in_use, with_snapshot):
        stage(machine)
    if before in (in_use, with_snapshot):
        publish(machine)


def used(machine: Machine) -> None:
    staged(machine)
    unstage(machine)


def in_trash(machine: Machine) -> None:
    used(machine)
    delete(machine)


@dataclass(frozen=True)
class Operation:
    """One operation of the agent.

    Attributes:
        before: What it finds.
        act: What is broken off, and done again.
        resumes: Whether a start of the machine keeps what has been done of it.
    """

    before: Callable[[Machine], None]
    act: Callable[[Machine], None]
    resumes: bool = False

    def __call__(self, folder: Path) -> Callable[[], None]:
        """Opens the machine in a new process; returns what is done there under the fault."""
        machine = open_machine(folder)
        return lambda: self.act(machine)


INTENTS = "intents"
"""What only the next try reads: to all else, a volume whose formatting was begun is new."""

OPERATIONS = {
    "create": Operation(nothing, create),
    "clone": Operation(in_use, clone),
    "snapshot": Operation(in_use, snapshot),
    "delete snapshot": Operation(with_snapshot, delete_snapshot),
    "expand": Operation(in_use, expand),
    "stage": Operation(created, stage),
    "stage grown": Operation(grown, stage),
    "publish": Operation(staged, publish),
    "unpublish": Operation(in_use, unpublish),
    "unstage": Operation(staged, unstage),
    "delete": Operation(created, delete),
    "delete to the trash": Operation(used, delete),
    "undelete": Operation(in_trash, undelete),
    "free the trash": Operation(in_trash, real_storage.empty_trash),
    "fill": Operation(nothing, fill, resumes=True),
    "pull": Operation(nothing, pull, resumes=True),
}


def clear(machine: Machine) -> None:
    """Takes everything away again, whatever of it is there."""
    node = machine.node
    node.exposures.unexpose(f"populate/{ONE}", machine.target("mover"))
    real_storage.take_away(machine, "one", "two")
    node.delete_snapshot(SNAP)
    for one in node.list_volumes():
        node.delete_volume(one.record.spec.volume_id)  # brought back, so under an id of its own
    real_storage.empty_trash(machine)


def observe(machine: Machine) -> dict[str, object]:
    """Everything of a machine that outlives a process, without times, numbers and free space.

    The id of a volume that is, or was, in the trash holds a time, so it is left out too.
    """
    pool = machine.folder / "state/pools/fast"
    kernel = machine.host
    return {
        "volumes": [
            (replace(one.record.spec, volume_id=ONE), one.record.spec.volume_id in (ONE, TWO),
             one.record.state, one.record.formatted, one.record.growing_to_bytes,
             one.published, one.condition)
            for one in machine.node.list_volumes()
        ],
        INTENTS: [one.record.formatting for one in machine.node.list_volumes()],
        "snapshots": [
            (one.snapshot_id, one.size_bytes, one.state, one.formatted)
            for one in machine.node.list_snapshots()
        ],
        "files": sorted(
            (_plain(path.name), path.stat().st_size if path.parent.name == "images" else 0)
            for path in pool.rglob("*") if path.is_file()
        ),
        "promised": machine.node.list_pools()[0].provisioned_bytes,
        "mounts": [
            (str(mount.target), mount.filesystem, mount.options)
            for mount in kernel.mounts.table() if mount.target.is_relative_to(machine.folder)
        ],
        "blocks": [
            _blocks(mount.target)
            for mount in kernel.mounts.table() if mount.target.is_relative_to(machine.folder)
        ],
        "loops": sorted(
            (str(path.name), device.sector_size_bytes, device.read_only, device.size_bytes)
            for path in (pool / "images").iterdir()
            for device in kernel.loops.find_all(path)
        ),
        "targets": [name for name in ("one", "mover") if Path(machine.target(name)).exists()],
        "data": _data(machine),
        "copied": _copied(machine),
    }  # fmt: skip


def _plain(name: str) -> str:
    stem, dot, suffix = name.partition(".")
    own = not stem.startswith("vol-") or stem in (ONE, TWO)
    return name if own else f"trashed{dot}{suffix}"


def _blocks(mountpoint: Path) -> int:
    """Size of a mounted filesystem, so that one that did not grow is seen."""
    return os.statvfs(mountpoint).f_blocks


def _data(machine: Machine) -> bool | None:
    """Whether the published volume still has what was acknowledged; None if none is published."""
    file = Path(machine.target("one")) / "data"
    return file.read_bytes() == CONTENT if file.exists() else None


def _copied(machine: Machine) -> bool | None:
    """Whether a volume from another node holds what was sent; None if there is none, or not yet."""
    for one in machine.node.list_volumes():
        origin = one.record.spec.source
        if origin is not None and origin.node and one.record.state is volumes.VolumeState.READY:
            sent = fake_source.content()
            with machine.image(one.record.spec.volume_id).open("rb") as image:
                return image.read(len(sent)) == sent and not any(image.read())
    return None


def under_way(machine: Machine) -> bool:
    """Whether a volume is still being made, so that nobody can use it."""
    states = [one.record.state for one in machine.node.list_volumes()]
    return volumes.VolumeState.CREATING in states or volumes.VolumeState.FILLING in states
