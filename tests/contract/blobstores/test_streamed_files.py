"""A file that is written past the kernel's cache holds what was written, whatever the disk says."""

import errno
import fcntl
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.adapters.blobstores import streamed_file

MIB = 1 << 20
SIZES = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 3 * MIB), st.just(MIB)), max_size=6)


def _write(path: Path, sizes: Sequence[int]) -> bytes:
    """Writes pieces of those sizes to a new file; returns all that was written."""
    wanted = b"".join(os.urandom(min(size, 4096)).ljust(size, b"x") for size in sizes)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        streamed = streamed_file.StreamedFile(file)
        start = 0
        for size in sizes:
            streamed.write(wanted[start : start + size])
            start += size
        streamed.finish()
        os.fsync(file)
    finally:
        os.close(file)
    return wanted


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES)
def test_it_holds_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("streamed") / "file"
    assert _write(path, sizes) == path.read_bytes()


def test_a_large_one_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    _write(path, [5 * MIB + 100])
    told = subprocess.run(
        ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert int(told.stdout) < MIB


def _short(write: Callable[[int, memoryview], int]) -> Callable[[int, memoryview], int]:
    """A disk that takes less than it is given, and then not even whole pages."""
    lengths = iter([100_000, 4096, 77])

    def some(file: int, data: memoryview) -> int:
        length = next(lengths, len(data))
        direct = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT
        return write(file, data[: length // 4096 * 4096 if direct else length])

    return some


def _refusing(write: Callable[[int, memoryview], int]) -> Callable[[int, memoryview], int]:
    """A filesystem that lets a file be opened for direct writes, and takes none."""

    def buffered(file: int, data: memoryview) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no direct writes here")
        return write(file, data)

    return buffered


@pytest.mark.parametrize("disk", [_short, _refusing])
def test_a_disk_that_wants_it_otherwise_gets_it_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[..., Callable[..., int]]
) -> None:
    monkeypatch.setattr(os, "write", disk(os.write))
    path = tmp_path / "file"
    assert _write(path, [3 * MIB, 5, 2 * MIB, 123]) == path.read_bytes()


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        _write(tmp_path / "file", [2 * MIB])
