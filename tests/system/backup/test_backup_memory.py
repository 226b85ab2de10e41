"""The memory of a backup and of a restore does not grow with the volume."""

import random
from pathlib import Path

import pytest

from support.mover_process import MoverFolder

pytestmark = pytest.mark.system


def make_image(path: Path, size_bytes: int, data_bytes: int) -> None:
    """A sparse image whose data is spread over all of it, half of it compressible."""
    dice = random.Random(1)
    pieces = data_bytes >> 20
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for piece in range(pieces):
            file.seek(piece * (size_bytes // pieces))
            file.write(dice.randbytes(1 << 19) + b"some text " * 52428)


def peak_kib(movers: MoverFolder, command: str, **fields: object) -> int:
    movers.run(command, **fields)
    return movers.peak_kib(command)


def test_memory_is_flat_in_the_size_of_the_volume(tmp_path: Path) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={"initialize": True})
    peaks: dict[str, list[int]] = {"backup": [], "incremental": [], "restore": []}
    for name, size_bytes, data_bytes in (("s", 512 << 20, 256 << 20), ("l", 8 << 30, 512 << 20)):
        image, out = tmp_path / f"image-{name}", tmp_path / f"out-{name}"
        make_image(image, size_bytes, data_bytes)
        out.touch()
        common = {"device": str(image), "volume": {"uid": f"volume-{name}"}}
        peaks["backup"].append(peak_kib(movers, "backup", backupId=f"bk-{name}1", **common))
        peaks["incremental"].append(peak_kib(movers, "backup", backupId=f"bk-{name}2", **common))
        peaks["restore"].append(
            peak_kib(movers, "restore", device=str(out), backupId=f"bk-{name}2")
        )
        image.unlink()
        out.unlink()
    for small, large in peaks.values():
        assert large <= 1.2 * small, peaks
        assert large <= 160 << 10, peaks
