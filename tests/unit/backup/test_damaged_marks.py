"""Any one mark or the lease damaged: tombstones, closings, marks of damage cost no data.

They are plain objects whose being there says it all, so damage that counts is one that is gone, or
one that stands for something else.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mooring.backup import inspection, progress, repair
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import retention
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect, collect_all
from support.dying_store import DyingStore, Killed

IMAGES = {
    f"volume-{number}": random.Random(number).randbytes(600 * SMALL_CHUNK) for number in "123"
}
BACKUPS = {"bk-1": "volume-1", "bk-2": "volume-2", "bk-3": "volume-3"}


def is_lost(engine: Engine, backup_id: str) -> bool:
    """Whether it does not come back; it never comes back as something else."""
    try:
        assert engine.restore(backup_id) == IMAGES[BACKUPS[backup_id]]
    except errors.DataCorrupt:
        return True
    return False


def mend(engine: Engine, *, full: bool = False) -> set[str]:
    request = repair.RepairRequest(full=full)
    return set(repair.repair(engine.open(), request, progress.Watch()).damaged)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two whole backups, a damaged one, one that was forgotten and one that was given up."""
    monkeypatch.setattr(packs, "TARGET_BYTES", 64 << 10)
    engine = Engine(tmp_path)
    for backup_id, uid in BACKUPS.items():
        before = engine.object_names("packs/")
        engine.back_up(IMAGES[uid], backup_id, uid=uid)
    rotten = next(key for key in engine.object_names("packs/") if key not in before)
    engine.damage(rotten, lambda data: data.__setitem__(1000, data[1000] ^ 1))
    real = engine.store
    engine.store = DyingStore(real, 3)
    with pytest.raises(Killed):
        engine.back_up(IMAGES["volume-3"][::-1], "bk-8", uid="volume-8")
    engine.store = real
    age(real, timedelta(days=8))
    engine.back_up(IMAGES["volume-1"][::-1], "bk-9", uid="volume-9")
    engine.open().forget(backups.BackupId("bk-9"))
    assert mend(engine, full=True) == {"bk-3"}
    collect(engine)
    for kind in ("tombstones/", "closed/"):
        assert len(engine.object_names(kind)) > 1
    for kind in ("damaged/", "lease"):
        assert len(engine.object_names(kind)) == 1
    return engine


def flip(engine: Engine, key: str, dice: random.Random) -> None:
    data = bytearray(engine.store.get(key, limit_bytes=1 << 20)) or bytearray(1)
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    engine.overwrite(key, bytes(data))


def empty(engine: Engine, key: str, _: random.Random) -> None:
    engine.overwrite(key, b"")


def delete(engine: Engine, key: str, _: random.Random) -> None:
    engine.store.delete(key)


def replace(engine: Engine, key: str, dice: random.Random) -> None:
    """By something that never was a mark."""
    engine.overwrite(key, dice.randbytes(100_000))


def stand_for_another(engine: Engine, key: str, dice: random.Random) -> None:
    """It is renamed, so that it says of something needed what was said of something else."""
    data = engine.store.get(key, limit_bytes=1 << 20)
    engine.store.delete(key)
    kind = key.partition("/")[0] + "/"
    if kind == "tombstones/":
        doomed = {name[-32:] for name in engine.object_names(kind)} | {key[-32:]}
        others = [name for name in engine.object_names("packs/") if name[-32:] not in doomed]
        engine.store.put(kind + dice.choice(others)[-32:], data)
    elif kind == "closed/":
        others = [name for name in engine.object_names("sessions/") if "/bk-1." in name]
        engine.store.put(kind + others[0].partition("/")[2], data)
    elif kind == "damaged/":
        engine.store.put("damaged/bk-1", data)
    else:
        engine.store.put("lease0", data)


@pytest.mark.parametrize("kind", ["tombstones/", "closed/", "damaged/", "lease"])
@pytest.mark.parametrize(
    "harm", [flip, empty, delete, replace, stand_for_another], ids=lambda one: one.__name__
)
def test_any_mark_damaged_costs_no_data(
    engine: Engine, kind: str, harm: Callable[[Engine, str, random.Random], None]
) -> None:
    dice = random.Random(f"{kind} {harm.__name__}")
    for key in (
        engine.object_names(kind) if kind == "tombstones/" else engine.object_names(kind)[:1]
    ):
        harm(engine, key, dice)
        if harm is stand_for_another:
            break
    age(engine.store, timedelta(minutes=16), "lease")  # nobody knows whose it is
    assert {name for name in BACKUPS if is_lost(engine, name)} == {"bk-3"}
    if kind == "damaged/" and harm in (delete, stand_for_another):
        with pytest.raises(errors.DataCorrupt, match="repo repair"):  # somebody is told
            collect(engine)
        age(engine.store, timedelta(minutes=16), "lease")
    assert mend(engine) == {"bk-3"}
    assert engine.object_names("damaged/") == ["damaged/bk-3"]
    for _ in range(3):
        collect(engine, keep=retention.KeepRules(last=5))
        age(engine.store)
        assert {name for name in BACKUPS if is_lost(engine, name)} == {"bk-3"}
    for number, (uid, image) in enumerate(IMAGES.items()):
        engine.back_up(image, f"bk-1{number}", uid=uid)
        assert engine.restore(f"bk-1{number}") == image
    engine.back_up(IMAGES["volume-3"][::-1], "bk-8", uid="volume-8")  # tried again
    assert mend(engine) == set()  # the volume had it still
    collect_all(engine)
    assert not any(is_lost(engine, name) for name in BACKUPS)
    for number, image in enumerate(IMAGES.values()):
        assert engine.restore(f"bk-1{number}") == image
    assert engine.restore("bk-8") == IMAGES["volume-3"][::-1]
    assert inspection.check_repository(engine.open(), progress.Watch(), full=True).problems == []
