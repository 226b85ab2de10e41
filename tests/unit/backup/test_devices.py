"""What a backup reads of a sparse file."""

import errno
import mmap
import os
import subprocess
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


def _resident_bytes(path: Path) -> int:
    argv = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def test_whole_pages_are_read_past_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "image"
    content = os.urandom(4 * MIB + 100)
    path.write_bytes(content)  # and is not on the disk yet
    with devices.VolumeSource(path) as source, mmap.mmap(-1, 2 * MIB) as room:
        with memoryview(room) as view:
            for start in (0, 2 * MIB):
                source.read_into(view, start)
                assert view == content[start : start + 2 * MIB]
        os.fsync(source.fileno())
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with memoryview(room) as view:
            source.read_into(view, MIB)
            assert _resident_bytes(path) == 0
            source.read_into(view[:100], 4 * MIB)
            assert view[:100] == content[4 * MIB :]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_direct_read_that_fails_is_repeated_only_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"x" * MIB)
    read = os.preadv

    def refused(file: int, buffers: list[memoryview], offset: int) -> int:
        if Path(f"/proc/self/fd/{file}").readlink() == path and file != source.fileno():
            raise OSError(code, "no direct reads")
        return read(file, buffers, offset)

    with devices.VolumeSource(path) as source, mmap.mmap(-1, MIB) as room:
        monkeypatch.setattr(os, "preadv", refused)
        with memoryview(room) as view:
            if code == errno.EIO:
                with pytest.raises(errors.HostFailure, match="read byte 0 of"):
                    source.read_into(view, 0)
            else:
                source.read_into(view, 0)
                assert bytes(view) == b"x" * MIB
