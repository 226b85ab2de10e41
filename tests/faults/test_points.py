"""The fault harness itself: a fault strikes the call that it is meant for, and no other."""

from pathlib import Path

import pytest

from support import syscall_faults
from support.synced_twice import OWN_SYNCS, synced_twice
from support.syscall_faults import KILL, THREAD, Point

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def syncs(tmp_path: Path) -> list[Point]:
    """The calls of `fsync` as they are counted."""
    ending = syscall_faults.run(synced_twice, _fresh(tmp_path), log=tmp_path / "log")
    assert ending == syscall_faults.Ending(killed=False, error=None)
    assert not ending.struck
    return [
        one for one in syscall_faults.points(tmp_path / "log", ending.pid) if one.name == "fsync"
    ]


def _fresh(tmp_path: Path) -> Path:
    folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return folder


def test_each_process_has_its_own_points(syncs: list[Point]) -> None:
    assert [(one.program, one.start, one.number) for one in syncs] == [
        *[("", 1, number + 1) for number in range(OWN_SYNCS)],
        (THREAD, 1, 1),
        ("sync", 1, 1),
        ("sync", 2, 1),
    ]


@pytest.mark.parametrize(("what", "error"), [("error=EIO", "sync failed"), (KILL, "sync failed")])
@pytest.mark.parametrize("start", [1, 2])
def test_a_programs_point_strikes_that_program(
    tmp_path: Path, syncs: list[Point], start: int, what: str, error: str
) -> None:
    point = next(one for one in syncs if (one.program, one.start) == ("sync", start))
    folder = _fresh(tmp_path)
    ending = syscall_faults.run(synced_twice, folder, fault=(point, what), log=tmp_path / "log")
    assert (ending.killed, ending.struck) == (False, True)
    assert error in str(ending.error)
    assert (folder / f"own-{OWN_SYNCS - 1}").exists(), "its own calls were left alone"
    assert not (folder / "end").exists()


def test_its_own_point_strikes_itself(tmp_path: Path, syncs: list[Point]) -> None:
    folder = _fresh(tmp_path)
    fault = (syncs[1], KILL)
    ending = syscall_faults.run(synced_twice, folder, fault=fault, log=tmp_path / "log")
    assert ending.killed
    assert ending.struck
    assert sorted(path.name for path in folder.iterdir()) == ["own-0", "own-1"]
    fault = (syncs[1], "error=EIO")
    ending = syscall_faults.run(synced_twice, _fresh(tmp_path), fault=fault, log=tmp_path / "log")
    assert (ending.killed, ending.struck) == (False, True)
    assert "Input/output error" in str(ending.error)


@pytest.mark.parametrize("program", ["", "sync"])
def test_a_fault_that_was_not_met_is_told(tmp_path: Path, program: str) -> None:
    fault = (Point("fsync", 99, program), "error=EIO")
    ending = syscall_faults.run(synced_twice, _fresh(tmp_path), fault=fault, log=tmp_path / "log")
    assert ending == syscall_faults.Ending(killed=False, error=None)
    assert not ending.struck
