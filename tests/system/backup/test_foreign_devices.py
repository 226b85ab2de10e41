"""Devices of other drivers, as a mover gets them: real filesystems, and what is none."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mooring.domain import errors
from mooring_cli import exits
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

SIZE_BYTES = 384 << 20
MAKERS = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}


@pytest.fixture
def movers(tmp_path: Path) -> MoverFolder:
    folder = MoverFolder(tmp_path)
    folder.run("probe", repository={"initialize": True})
    return folder


@contextmanager
def attached(backing: Path, sector_bytes: int, *more: str) -> Iterator[Path]:
    sector = ["--sector-size", str(sector_bytes)]
    command = ["losetup", "--find", "--show", *sector, *more, str(backing)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def image(tmp_path: Path, filesystem: str, sector_bytes: int) -> Path:
    backing = tmp_path / "disk"
    with backing.open("wb") as file:
        file.truncate(SIZE_BYTES)
    with attached(backing, sector_bytes) as device:
        subprocess.run([*MAKERS[filesystem], str(device)], check=True, capture_output=True)
    return backing


def spec(device: Path, mode: str = "Filesystem") -> dict[str, Any]:
    volume = {"uid": "pv-1", "foreignMode": mode}
    return {"device": str(device), "backupId": "one", "volume": volume}


@pytest.mark.parametrize("sector_bytes", [512, 4096])
@pytest.mark.parametrize("filesystem", sorted(MAKERS))
def test_all_of_a_filesystem_is_found_and_restored(
    tmp_path: Path, movers: MoverFolder, filesystem: str, sector_bytes: int
) -> None:
    backing = image(tmp_path, filesystem, sector_bytes)
    with attached(backing, sector_bytes) as device:
        result = movers.run("backup", **spec(device))
    assert result["filesystem"] == filesystem
    assert result["bytesTotal"] == SIZE_BYTES
    assert result["sectorSizeBytes"] == sector_bytes
    out = tmp_path / "out"
    out.touch()
    movers.run("restore", device=str(out), backupId="one", verify=True)
    assert out.read_bytes() == backing.read_bytes()


def test_a_copy_with_larger_sectors_keeps_those_of_its_filesystem(
    tmp_path: Path, movers: MoverFolder
) -> None:
    backing = image(tmp_path, "xfs", 512)
    with attached(backing, 4096) as device:
        assert movers.run("backup", **spec(device))["sectorSizeBytes"] == 512


def test_a_device_that_ends_early_is_no_backup(tmp_path: Path, movers: MoverFolder) -> None:
    backing = image(tmp_path, "ext4", 512)
    with attached(backing, 512, "--sizelimit", str(SIZE_BYTES // 2)) as device:
        code, said = movers.attempt("backup", **spec(device))
    assert (code, said["reason"]) == (exits.exit_code(errors.DataCorrupt()), "DataCorrupt")
    assert not (movers.repository / "manifests").exists()


def test_an_archive_in_place_of_an_image_is_no_backup(tmp_path: Path, movers: MoverFolder) -> None:
    backing = tmp_path / "archive"
    backing.write_bytes(b"\x1f\x8b\x08\0" + bytes(1 << 20))
    with attached(backing, 512) as device:
        code, said = movers.attempt("backup", **spec(device))
        assert (code, said["reason"]) == (exits.exit_code(errors.Unsupported()), "Unsupported")
        result = movers.run("backup", **spec(device, "Block"))
    assert result["bytesTotal"] == backing.stat().st_size // 512 * 512
    assert result["filesystem"] is None
