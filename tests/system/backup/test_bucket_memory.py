"""The memory of a backup into a bucket, and of its restore, does not grow with the volume.

Packs are held until they are sent, so the store is slower than the disk: as many are under way as
there may ever be.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring_dev import s3_server
from mooring_operator.builders import jobs
from support import fault_proxy, sparse_images
from support.fault_proxy import Trickle
from support.mover_process import MoverFolder

pytestmark = pytest.mark.system

MIB = 1 << 20
SIZES = {"s": (512 * MIB, 320 * MIB), "l": (8192 * MIB, 512 * MIB)}
"""Of the volume and of the data in it; the smaller one has more packs than are ever under way."""
SLOW = Trickle(20 * MIB)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A new bucket behind a line that is slower than any disk, as a mover is told of it."""
    with (
        s3_server.running(tmp_path / "server") as server,
        fault_proxy.running(server.port) as proxy,
    ):
        proxy.break_off(SLOW, "PUT", "/packs/")
        location = server.location(server.new_bucket(), endpoint=proxy.endpoint)
        login = s3_server.ADMINISTRATOR.write_to(tmp_path / "login")
        yield {"type": "bucket", "url": str(location), "credentials": str(login)}


def memory_limit_kib() -> int:
    text = jobs.MoverSettings("mooring").limits["memory"]
    assert text.endswith("Mi")
    return int(text.removesuffix("Mi")) << 10


def test_memory_is_flat_and_well_below_a_movers_limit(
    tmp_path: Path, bucket: dict[str, Any]
) -> None:
    movers = MoverFolder(tmp_path)
    movers.run("probe", repository={**bucket, "initialize": True})
    peaks_kib: dict[str, list[int]] = {"backup": [], "incremental": [], "restore": []}

    def run(what: str, command: str, **fields: Any) -> None:
        movers.run(command, repository=bucket, **fields)
        peaks_kib[what].append(movers.peak_kib(command))

    for name, (size_bytes, data_bytes) in SIZES.items():
        image, out = tmp_path / "image", tmp_path / "out"
        sparse_images.write(image, size_bytes, data_bytes)
        out.touch()
        common = {"device": str(image), "volume": {"uid": f"volume-{name}"}}
        run("backup", "backup", backupId=f"bk-{name}1", **common)
        run("incremental", "backup", backupId=f"bk-{name}2", **common)
        run("restore", "restore", device=str(out), backupId=f"bk-{name}2")
        image.unlink()
        out.unlink()
    for small, large in peaks_kib.values():
        assert large <= 1.2 * small, peaks_kib
        assert large <= memory_limit_kib() // 2, peaks_kib
