"""What prune, check and repair do while their store fails, and what must be true afterwards."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from mooring.backup import inspection, lease, progress, prune, repair
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import collection
from support.backup_engine import Engine
from support.collecting import DAY, collect

CHUNK = 4096
PACK_BYTES = 64 << 10
FORGOTTEN = random.Random(1).randbytes(60 * CHUNK)
NEEDED = {
    "bk-2": FORGOTTEN[: 20 * CHUNK] + random.Random(2).randbytes(30 * CHUNK),
    "bk-3": random.Random(3).randbytes(30 * CHUNK),
}
WASTE = collection.CollectionLimits(waste=0.2)
Age = Callable[[Engine, timedelta], None]


@dataclass(frozen=True)
class Act:
    """One of the three.

    Attributes:
        prepare: Brings a repository where it has much to do.
        run: Does it.
        is_done: Whether it has, told from the repository.
    """

    prepare: Callable[[Engine, Age], None]
    run: Callable[[Engine], Any]
    is_done: Callable[[Engine], bool]


def use_small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "TARGET_BYTES", PACK_BYTES)


def tell_story(engine: Engine) -> None:
    """Two backups that are needed, and one that shares chunks with them and is not."""
    engine.back_up(FORGOTTEN, "bk-1")
    for number, (name, content) in enumerate(NEEDED.items(), 1):
        engine.back_up(content, name, uid=f"volume-{number}")
    engine.open().forget(backups.BackupId("bk-1"))


def is_whole(engine: Engine) -> bool:
    """Tells whether a check finds nothing, and all that is needed comes back as it was."""
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    assert report.problems == []
    return are_restorable(engine)


def are_restorable(engine: Engine) -> bool:
    return all(engine.restore(name) == content for name, content in NEEDED.items())


def _mark_and_age(engine: Engine, age: Age) -> None:
    collect(engine, limits=WASTE)
    age(engine, DAY)


def _prune(engine: Engine) -> prune.PruneReport:
    return collect(engine, limits=WASTE)


def _is_collected(engine: Engine) -> bool:
    return is_whole(engine) and collect(engine, limits=WASTE).acts.packs_deleted == 0


def _check(engine: Engine) -> None:
    report = inspection.check_repository(engine.open(), progress.Watch(), full=True)
    if not report.healthy:
        raise errors.DataCorrupt(report.problems[0])


def _flip_a_segment(engine: Engine, _: Age) -> None:
    key = next(name for name in engine.object_names("index/") if name.startswith("index/bk-2"))
    engine.damage(key, lambda data: data.__setitem__(-1, data[-1] ^ 1))


def _repair(engine: Engine) -> repair.RepairReport:
    request = repair.RepairRequest(full=True, drop_damaged=True)
    report = repair.repair(engine.open(), request, progress.Watch())
    assert report.damaged == {}  # nothing that does not answer counts as lost
    assert report.packs_given_up == 0
    return report


ACTS = {
    "prune": Act(_mark_and_age, _prune, _is_collected),
    "check": Act(lambda engine, age: None, _check, is_whole),
    "repair": Act(_flip_a_segment, _repair, is_whole),
}


def fails(act: Act, engine: Engine, expected: type[errors.MooringError]) -> bool:
    """Does it while the store fails, and tells whether it said so; nothing else may be said."""
    try:
        act.run(engine)
    except expected:
        return True
    return False


def retry(act: Act, engine: Engine, age: Age) -> None:
    """Does it again when the store is back; a lease that could not be given back runs out."""
    try:
        act.run(engine)
    except errors.Busy:
        age(engine, lease.EXPIRES)
        act.run(engine)


def spread(count: int, points: int) -> list[int]:
    """Returns numbers of calls, evenly spread."""
    chosen = min(points, count)
    return sorted({(2 * i + 1) * count // (2 * chosen) for i in range(chosen)})
