"""The memory of a backup and of a restore does not grow with the volume."""

from pathlib import Path

import pytest

from support import sparse_images
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system


def peak_kib(movers: MoverFolder, command: str, **fields: object) -> int:
    movers.run(command, **fields)
    return movers.peak_kib(command)


def test_memory_is_flat_in_the_size_of_the_volume(tmp_path: Path) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={"initialize": True})
    peaks: dict[str, list[int]] = {"backup": [], "incremental": [], "restore": []}
    for name, size_bytes, data_bytes in (("s", 512 << 20, 256 << 20), ("l", 8 << 30, 512 << 20)):
        image, out = tmp_path / f"image-{name}", tmp_path / f"out-{name}"
        sparse_images.write(image, size_bytes, data_bytes)
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
