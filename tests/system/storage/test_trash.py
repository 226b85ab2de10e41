"""Deleted volumes on real pools: they come back whole, and make room when it is needed."""

import os
from pathlib import Path

import pytest

from mooring.domain import errors, ids, pools, volumes
from mooring.volumes.local.publish import Publication
from mooring.volumes.local.staging import Access
from support import real_storage
from support.real_storage import MIB, Machine, spec, write_synced

ONE = ids.volume_id_for("one")
CONTENT = os.urandom(3 * MIB)


def _publish(machine: Machine, volume_id: ids.VolumeId, name: str) -> Path:
    staging, target = machine.staging(name), machine.target(name)
    machine.node.publisher.stage(volume_id, staging, Access())
    machine.node.publisher.publish(volume_id, Publication(staging, target, Access()))
    return Path(target)


def _deleted(machine: Machine, name: str, size_bytes: int) -> None:
    """Makes a preallocated volume, writes into it as a pod does, and deletes it."""
    machine.node.create_volume(spec(name, size_bytes, preallocated=True))
    write_synced(_publish(machine, ids.volume_id_for(name), name) / "data", CONTENT)
    real_storage.take_away(machine, name)


@pytest.mark.parametrize("backend", [pools.PoolBackend.REFLINK, pools.PoolBackend.DIRECTORY])
def test_it_comes_back_beside_one_that_was_made_anew(
    scratch: Path, backend: pools.PoolBackend
) -> None:
    size_bytes = 512 * MIB if backend is pools.PoolBackend.REFLINK else None
    machine = Machine(scratch / "a", backend, size_bytes)
    _deleted(machine, "one", 64 * MIB)
    with pytest.raises(errors.NotFound):
        machine.node.publisher.stage(ONE, machine.staging("one"), Access())
    machine.restart()
    (trashed,) = real_storage.trashed(machine)
    machine.node.create_volume(spec("one", 64 * MIB))
    anew = _publish(machine, ONE, "anew")
    assert not (anew / "data").exists()
    machine.node.undelete_volume(trashed.spec.volume_id)
    machine.restart()
    back = _publish(machine, trashed.spec.volume_id, "back")
    assert (back / "data").read_bytes() == CONTENT
    assert not (anew / "data").exists()
    machine.opener.close()


def test_the_oldest_makes_room_and_no_more_than_is_needed(scratch: Path) -> None:
    machine = Machine(scratch / "a", image_size_bytes=512 * MIB)
    before = machine.node.list_pools()[0]
    for name in ("first", "second", "third"):
        _deleted(machine, name, 96 * MIB)
    machine.restart()
    pool = machine.node.list_pools()[0]
    assert before.available_bytes - pool.available_bytes < 8 * MIB
    assert before.capacity.free_bytes - pool.capacity.free_bytes > 280 * MIB
    machine.node.create_volume(spec("new", 200 * MIB, preallocated=True))
    assert [one.spec.name for one in _by_age(machine)] == ["second", "third"]
    with pytest.raises(errors.SpaceExhausted):
        machine.node.create_volume(spec("large", 400 * MIB, preallocated=True))
    assert [one.spec.name for one in _by_age(machine)] == ["second", "third"]
    machine.node.expand_volume(ids.volume_id_for("new"), 360 * MIB)
    assert not _by_age(machine)
    machine.opener.close()


def _by_age(machine: Machine) -> list[volumes.VolumeRecord]:
    def deleted_at(record: volumes.VolumeRecord) -> str:
        return "" if record.trashing is None else record.trashing.deleted_at.isoformat()

    return sorted(real_storage.trashed(machine), key=deleted_at)


@pytest.mark.parametrize("older", [False, True], ids=["nothing older", "one older"])
def test_a_deletion_on_a_full_pool_makes_room(scratch: Path, older: bool) -> None:
    machine = Machine(scratch / "a", image_size_bytes=512 * MIB)
    if older:
        _deleted(machine, "old", 64 * MIB)
    machine.node.create_volume(spec("one", 64 * MIB, preallocated=True))
    write_synced(_publish(machine, ONE, "one") / "data", CONTENT)
    _fill(machine.folder / "state/pools/fast")
    real_storage.take_away(machine, "one")
    assert machine.node.list_pools()[0].capacity.free_bytes > 50 * MIB
    assert [one.spec.name for one in real_storage.trashed(machine)] == (["one"] if older else [])
    machine.opener.close()


def _fill(folder: Path) -> None:
    """Takes every block of a pool, down to those of a record."""
    for number, size_bytes in enumerate((MIB, 4096)):
        with (folder / f"images/.others{number}").open("wb", buffering=0) as file:
            try:
                while file.write(os.urandom(size_bytes)):
                    pass
            except OSError:
                os.fsync(file.fileno())
