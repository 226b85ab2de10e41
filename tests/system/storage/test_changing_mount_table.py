"""The mount table is read as a whole, however it changes meanwhile."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters.host import commands, mounts
from mooring.domain import errors

pytestmark = pytest.mark.system

TABLE = Path("/proc/self/mountinfo")


class ChangingTable(type(TABLE)):  # type: ignore[misc]
    """The kernel's table, in which something is mounted after each of the first readings."""

    places: list[Path]

    def open(self, *arguments: Any, **options: Any) -> io.BufferedReader:
        table = self

        class Reading(io.BufferedReader):
            def read(self, *size: Any) -> bytes:
                found = super().read(*size)
                if table.places:
                    _mount(table.places.pop())
                return found

        return Reading(io.FileIO(str(self)))


def _mount(place: Path) -> None:
    place.mkdir()
    commands.run(["mount", "-t", "tmpfs", "none", str(place)])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for mounted in tmp_path.iterdir():
        commands.run(["umount", str(mounted)])


def test_what_was_mounted_meanwhile_is_there(place: Path) -> None:
    table = ChangingTable(TABLE)
    table.places = [place / "second", place / "first"]
    found = {mount.target for mount in mounts.KernelMounts(table).table()}
    assert {place / "first", place / "second"} <= found


def test_a_table_that_never_stands_still_is_not_believed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_READINGS", 3)
    table = ChangingTable(TABLE)
    table.places = [place / str(number) for number in range(4)]
    with pytest.raises(errors.Busy, match="try again"):
        mounts.KernelMounts(table).table()
