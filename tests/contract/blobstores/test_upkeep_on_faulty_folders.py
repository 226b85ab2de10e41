"""Prune, check and repair in a folder whose filesystem fails at any call, as an NFS mount may."""

import errno
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.domain import errors
from support import collecting, upkeep_under_faults
from support.backup_engine import Engine
from support.faulty_filesystem import FaultyFilesystem

POINTS = {"alone": 12, "with all that follow": 6}


@pytest.fixture
def filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyFilesystem:
    upkeep_under_faults.use_small_packs(monkeypatch)
    return FaultyFilesystem(tmp_path / "mounts", monkeypatch)


def repository(folder: Path, number: int, act: upkeep_under_faults.Act) -> Engine:
    """A repository in a folder of its own, below the one whose calls fail."""
    place = folder / "mounts" / str(number)
    place.mkdir(parents=True)
    engine = Engine(folder, upkeep_under_faults.CHUNK, store=DirectoryBlobStore(place))
    upkeep_under_faults.tell_story(engine)
    act.prepare(engine, age)
    assert engine.store.conditional_writes()  # tried once, and not at the points below
    return engine


def age(engine: Engine, by: timedelta) -> None:
    collecting.age(engine.store, by)


@pytest.mark.parametrize("what", POINTS)
@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("name", upkeep_under_faults.ACTS)
def test_upkeep_survives_a_filesystem_that_fails_at_any_call(
    tmp_path: Path, filesystem: FaultyFilesystem, name: str, error: int, what: str
) -> None:
    act = upkeep_under_faults.ACTS[name]
    clean = repository(tmp_path, 0, act)
    filesystem.begin()
    act.run(clean)
    count = len(filesystem.calls)
    assert act.is_done(clean)
    failed = 0
    for point in upkeep_under_faults.spread(count, POINTS[what]):
        engine = repository(tmp_path, point + 1, act)
        filesystem.fail_at(point, error, all_after=what != "alone")
        failed += upkeep_under_faults.fails(act, engine, errors.Unreachable)
        filesystem.begin()
        if name != "repair":
            assert upkeep_under_faults.are_restorable(engine)
        upkeep_under_faults.retry(act, engine, age)
        assert act.is_done(engine)
    assert failed > POINTS[what] // 2
