"""What a backup reads of a sparse file."""

import os
from pathlib import Path

import pytest

from mooring.backup import devices
from mooring.domain import errors

MIB = 1 << 20


def test_holes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        for place in (8, 9, 40):
            file.seek(place * MIB)
            file.write(b"x" * MIB)
    if path.stat().st_blocks * 512 >= 64 * MIB:
        pytest.skip("this filesystem keeps no holes")
    with devices.VolumeSource(path) as source:
        found = [(one.offset_bytes, one.end_bytes) for one in source.data_ranges()]
    read = {place for start, end in found for place in range(start // MIB, -(-end // MIB))}
    assert {8, 9, 40} <= read < set(range(64))
    assert found == sorted(found)


def test_a_file_that_shrinks_is_no_file_that_ends_in_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"x" * MIB)
    with devices.VolumeSource(path) as source:
        os.truncate(path, MIB // 2)
        with pytest.raises(errors.HostFailure, match="shrank"):
            list(source.data_ranges())
