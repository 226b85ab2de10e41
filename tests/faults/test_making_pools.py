"""The making of a pool, broken off at each system call that changes something.

Whatever a kill or an error leaves: a pool that is put there is adopted with its volumes, and where
none is, the making is begun anew. No device and no space is left of what was broken off.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.domain import ids
from support import fault_report, new_pools, real_storage, syscall_faults
from support.real_storage import MIB
from support.syscall_faults import KILL, Point

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

SHORT = int(os.environ.get("MOORING_FAULT_POINTS", "0"))
IMAGE = ids.ImageId("one")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with real_storage.scratch() as folder:
        yield folder


def _points(scratch: Path) -> list[Point]:
    log, folder = scratch / "calls", scratch / "unharmed"
    ending = syscall_faults.run(new_pools.make, folder, log=log)
    assert (ending.killed, ending.error) == (False, None)
    _put_away(folder)
    return syscall_faults.points(log, ending.pid)


def _put_away(folder: Path) -> None:
    opener = new_pools.opener(folder)
    opener.open()
    opener.unmount()
    left = sorted(one.name for one in (folder / "pool").iterdir())
    assert left == ["lock", "pool.img"]
    assert real_storage.attached_below(folder) == []
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", [KILL, "error=EIO", "error=ENOSPC"])
def test_what_is_put_there_afterwards_is_adopted(
    scratch: Path, what: str, request: pytest.FixtureRequest
) -> None:
    old, points = scratch / "old", _points(scratch)
    first = new_pools.opener(old)
    first.open().images.allocate(IMAGE, 8 * MIB, preallocate=True)
    first.unmount()
    chosen = points
    if SHORT and len(points) > SHORT:
        chosen = [points[(2 * i + 1) * len(points) // (2 * SHORT)] for i in range(SHORT)]
    line = f"make a pool: {what} at {len(chosen)} of {len(points)} points"
    request.config.stash.setdefault(fault_report.LINES, []).append(line)
    begun_anew = 0
    for number, point in enumerate(chosen):
        folder = scratch / str(number)
        syscall_faults.run(new_pools.make, folder, fault=(point, what))
        if not (folder / "pool" / "pool.img").exists():
            begun_anew += 1
            (folder / "pool").mkdir(parents=True, exist_ok=True)
            (old / "pool" / "pool.img").rename(folder / "pool" / "pool.img")
            opener = new_pools.opener(folder)
            assert opener.open().images.images().keys() == {IMAGE}, point
            opener.unmount()
            assert real_storage.attached_below(folder) == [], point
            (folder / "pool" / "pool.img").rename(old / "pool" / "pool.img")
            shutil.rmtree(folder / "state", ignore_errors=True)  # as on a node that never had it
        _put_away(folder)
    assert begun_anew or SHORT
