"""Clocks that jump, forward or back: retention drops nothing new, and parents are the newest."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import capture, devices, progress
from mooring.domain import backups
from mooring.domain.backups import BackupId
from mooring.planning.retention import KeepRules
from mooring.ports import blobstores
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import collect
from support.set_clock import SetClock

YEARS = timedelta(days=4000)
HOUR = timedelta(hours=1)
RULES = [KeepRules(last=1), KeepRules(hourly=2, daily=1), KeepRules(yearly=1)]


class ClockedStore(MemoryBlobStore):
    """Says of each object that it was written when some clock says so."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.clock = clock

    def _store(self, key: str, data: blobstores.Buffer) -> str:
        version = super()._store(key, data)
        info, content = self._objects[key]
        self._objects[key] = (replace(info, modified_at=self.clock.now()), content)
        return version


class Machine:
    """A machine whose clock jumps, and a store with a clock of its own, or with the machine's."""

    def __init__(self, folder: Path, *, shared: bool) -> None:
        store = ClockedStore(SetClock())
        self.engine = Engine(folder, store=store)
        self.clock = self.engine.clock
        if shared:
            store.clock = self.clock
        self._clocks = [self.clock] if shared else [self.clock, store.clock]
        self._content = bytearray(16 * SMALL_CHUNK)

    def jump(self, by: timedelta) -> None:
        self.clock.moment += by

    def wait(self, time: timedelta) -> None:
        for clock in self._clocks:
            clock.moment += time

    def back_up(self, name: str, parent: str | None = "latest") -> str | None:
        """Makes a backup an hour later; returns its parent."""
        self.wait(HOUR)
        self._content[0] += 1
        made = self.engine.back_up(bytes(self._content), name, parent=parent)
        return made.manifest.parent

    def prune(self, rules: KeepRules) -> list[str]:
        """Drops what retention does not keep; returns what is left."""
        collect(self.engine, keep=rules)
        return [name.removeprefix("manifests/") for name in self.engine.object_names("manifests/")]


@pytest.fixture(params=[False, True], ids=["bucket", "folder"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    return Machine(tmp_path, shared=request.param)


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_a_backup_of_the_future_pushes_out_nothing_that_is_made_later(
    machine: Machine, rules: KeepRules
) -> None:
    machine.back_up("bk-1")
    machine.jump(YEARS)
    machine.back_up("bk-jump")
    assert "bk-jump" in machine.prune(rules)
    machine.jump(-YEARS)
    for name in ("bk-2", "bk-3", "bk-4"):
        machine.back_up(name)
        assert name in machine.prune(rules)


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("parent", ["latest", None])
def test_a_clock_set_back_makes_no_new_backup_an_old_one(
    machine: Machine, rules: KeepRules, parent: str | None
) -> None:
    machine.back_up("bk-1")
    machine.jump(-YEARS)
    for name in ("bk-back-1", "bk-back-2"):
        machine.back_up(name, parent)
        assert name in machine.prune(rules)
    machine.jump(YEARS)
    machine.back_up("bk-2")
    assert "bk-2" in machine.prune(rules)


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_what_was_made_while_a_clock_was_set_back_outlives_the_first_prune_after(
    machine: Machine, rules: KeepRules
) -> None:
    machine.back_up("bk-1")
    machine.jump(-YEARS)
    machine.back_up("bk-back-1")
    machine.back_up("bk-back-2")
    machine.jump(YEARS)
    assert machine.prune(rules) == ["bk-1", "bk-back-1", "bk-back-2"]
    machine.back_up("bk-2")
    assert {"bk-back-2", "bk-2"} <= set(machine.prune(rules))


def test_a_full_backup_made_while_a_clock_was_set_back_is_kept_by_the_clock_of_a_bucket(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path, shared=False)
    machine.back_up("bk-1")
    machine.jump(-YEARS)
    machine.back_up("bk-back", None)
    machine.jump(YEARS)
    assert machine.prune(KeepRules(last=1)) == ["bk-1", "bk-back"]


def test_what_a_jump_left_goes_once_the_clock_can_be_believed(machine: Machine) -> None:
    machine.back_up("bk-1")
    machine.jump(YEARS)
    machine.back_up("bk-jump")
    machine.jump(-YEARS - 3 * HOUR)
    machine.back_up("bk-back")
    machine.jump(3 * HOUR)
    machine.back_up("bk-2")
    machine.wait(2 * YEARS)
    machine.back_up("bk-3")
    machine.back_up("bk-4")
    rules = KeepRules(last=2)
    assert {"bk-back", "bk-3", "bk-4"} <= set(machine.prune(rules))
    assert machine.prune(rules) == ["bk-3", "bk-4"]


def test_what_is_kept_for_its_clock_says_so(machine: Machine) -> None:
    machine.back_up("bk-1")
    machine.jump(-YEARS)
    machine.back_up("bk-back")
    machine.jump(YEARS)
    report = collect(machine.engine, keep=KeepRules(last=1))
    (verdicts,) = report.verdicts.values()
    why = {verdict.point.backup_id: verdict.reasons for verdict in verdicts}
    assert "is before what it builds on was made" in " ".join(why[BackupId("bk-back")])


def test_after_a_jump_forward_new_backups_build_on_each_other(machine: Machine) -> None:
    machine.back_up("bk-1")
    machine.jump(YEARS)
    assert machine.back_up("bk-jump") == "bk-1"
    machine.jump(-YEARS)
    machine.back_up("bk-2")
    assert machine.back_up("bk-3") == "bk-2"
    assert machine.back_up("bk-4") == "bk-3"


def test_after_a_clock_was_set_back_new_backups_build_on_each_other(machine: Machine) -> None:
    machine.back_up("bk-1")
    machine.jump(-YEARS)
    assert machine.back_up("bk-2") == "bk-1"
    assert machine.back_up("bk-3") == "bk-2"
    machine.jump(YEARS)
    assert machine.back_up("bk-4") == "bk-3"
    assert machine.back_up("bk-5") == "bk-4"


def late(engine: Engine, name: str, content: bytes, moment: datetime) -> capture.BackupOutcome:
    """Makes a backup of a snapshot that is older than now."""
    image = engine.folder / "late"
    image.write_bytes(content)
    with devices.VolumeSource(image) as source:
        request = capture.BackupRequest(
            backup_id=backups.BackupId(name),
            volume=backups.VolumeFacts("volume-1", len(content)),
            point_in_time=moment,
        )
        return capture.back_up(engine.open(), source, request, progress.Watch())


@pytest.mark.parametrize("has_earlier", [True, False])
def test_a_late_backup_of_an_older_snapshot_has_no_wrong_clock(
    tmp_path: Path, has_earlier: bool
) -> None:
    engine = Engine(tmp_path)
    content = random.Random(1).randbytes(40 * 512)
    if has_earlier:
        engine.back_up(content, "w")
    moment = engine.clock.now()
    engine.clock.advance(7200)
    engine.back_up(content, "y")
    made = late(engine, "x", content, moment).manifest
    assert made.parent == ("w" if has_earlier else None)
    assert made.stats.chunks_sent == 0  # what it is compared with saves all the same
    engine.clock.advance(60)
    assert engine.back_up(content, "z").manifest.parent == "y"
    report = collect(engine, keep=KeepRules(last=3), dry_run=True)
    (verdicts,) = report.verdicts.values()
    reasons = {one.point.backup_id: one.reasons for one in verdicts}
    assert reasons["x"] == ("last 3 of 3",)
    assert not [why for whys in reasons.values() for why in whys if "clock" in why]
