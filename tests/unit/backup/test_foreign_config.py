"""The `config` of another repository that the same key opens: nothing is written, or taken away."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mooring.backup import inspection, progress, prune, repair
from mooring.domain import errors
from support.backup_engine import SMALL_CHUNK, Engine
from support.dying_store import DyingStore, Killed

IMAGE = random.Random(1).randbytes(700 * SMALL_CHUNK)
CHANGED = random.Random(2).randbytes(SMALL_CHUNK) + IMAGE[SMALL_CHUNK:]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path)
    engine.back_up(IMAGE, "bk-1")
    return engine


def objects(engine: Engine) -> dict[str, bytes]:
    return {
        info.key: engine.store.get(info.key, limit_bytes=1 << 30) for info in engine.store.list("")
    }


def back_up(engine: Engine) -> None:
    engine.back_up(CHANGED, "bk-2")


def back_up_without_parent(engine: Engine) -> None:
    engine.back_up(CHANGED, "bk-2", parent=None)


def collect(engine: Engine) -> None:
    prune.prune(engine.open(), prune.PruneRequest(), progress.Watch())


def plan(engine: Engine) -> None:
    prune.prune(engine.open(), prune.PruneRequest(dry_run=True), progress.Watch())


def mend(engine: Engine) -> None:
    repair.repair(engine.open(), repair.RepairRequest(drop_damaged=True), progress.Watch())


def check(engine: Engine) -> None:
    inspection.check_repository(engine.open(), progress.Watch())


@pytest.mark.parametrize("act", [back_up, back_up_without_parent, collect, plan, mend, check])
def test_nothing_is_done_under_a_config_that_opens_nothing(
    engine: Engine, tmp_path: Path, act: Callable[[Engine], None]
) -> None:
    own = engine.store.get("config", limit_bytes=1 << 20)
    other = Engine(tmp_path)
    other.back_up(IMAGE, "bk-1")
    engine.overwrite("config", other.store.get("config", limit_bytes=1 << 20))
    before = objects(engine)
    with pytest.raises(errors.AnotherRepository, match="put back the right one"):
        act(engine)
    assert objects(engine) == before
    engine.overwrite("config", own)
    outcome = engine.back_up(CHANGED, "bk-2")
    assert outcome.manifest.parent == "bk-1"
    assert engine.restore("bk-1") == IMAGE
    assert engine.restore("bk-2") == CHANGED


@pytest.mark.parametrize("act", [back_up, collect, mend, check])
def test_one_damaged_session_in_a_new_repository_is_no_other_repository(
    tmp_path: Path, act: Callable[[Engine], None]
) -> None:
    engine = Engine(tmp_path)
    real, engine.store = engine.store, DyingStore(engine.store, 1)
    with pytest.raises(Killed):
        engine.back_up(IMAGE, "bk-1")
    engine.store = real
    (session,) = engine.object_names("sessions/")
    assert engine.object_names() == ["config", session]
    engine.damage(session, lambda data: data.__setitem__(60, data[60] ^ 1))
    act(engine)
    engine.back_up(CHANGED, "bk-2")
    assert engine.restore("bk-2") == CHANGED


def test_packs_tell_damage_from_another_config(engine: Engine) -> None:
    for prefix in ("sessions/", "manifests/", "index/"):
        for key in engine.object_names(prefix):
            engine.damage(key, lambda data: data.__setitem__(60, data[60] ^ 1))
    engine.back_up(CHANGED, "bk-2")
    assert engine.restore("bk-2") == CHANGED


def test_what_does_not_open_is_named(engine: Engine, tmp_path: Path) -> None:
    other = Engine(tmp_path)
    engine.overwrite("config", other.store.get("config", limit_bytes=1 << 20))
    with pytest.raises(errors.AnotherRepository, match=engine.object_names("sessions/")[0]):
        back_up(engine)


@pytest.mark.parametrize("harmed", ["sessions/", "manifests/"])
def test_a_damaged_object_is_no_other_repository(engine: Engine, harmed: str) -> None:
    for key in engine.object_names(harmed):
        engine.damage(key, lambda data: data.__setitem__(60, data[60] ^ 1))
    engine.store.put("sessions/readme", b"of somebody else")
    engine.back_up(CHANGED, "bk-2")
    assert engine.restore("bk-2") == CHANGED
