"""What the image and the loop device cost: fio inside a volume against fio on the pool itself.

Both run in the same pool, in turn, round by round, so that a machine whose speed drifts slows
both alike. Each round begins with another place, so that none is always the first after a pause.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mooring.adapters import registry
from mooring.domain import ids, pools, volumes
from mooring.ports.pools import NodeParts, PoolConfiguration
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.staging import Access
from mooring_dev.bench.figures import Ratio, at_least, record, show

POOL_BYTES = 6 << 30
VOLUME_BYTES = 2 << 30
FILE_BYTES = 1 << 30
ROUNDS = 9
SECONDS = 4
POOL = ids.PoolName("bench")


@dataclass(frozen=True)
class Workload:
    """One fio job.

    Attributes:
        name: For the table.
        mode: fio's `rw`.
        block_bytes: Size of each request.
        target: Least ratio wanted of a preallocated volume.
    """

    name: str
    mode: str
    block_bytes: int
    target: float


WORKLOADS = (
    Workload("4 KiB random read", "randread", 4 << 10, 0.85),
    Workload("4 KiB random write", "randwrite", 4 << 10, 0.85),
    Workload("1 MiB sequential read", "read", 1 << 20, 0.95),
    Workload("1 MiB sequential write", "write", 1 << 20, 0.95),
)


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the ratios."""
    with (
        tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as folder,
        opened_pool(Path(folder)) as node,
    ):
        pool = Path(folder) / "state" / "pools" / POOL
        places = {
            "preallocated": mounted_volume(node, Path(folder), preallocated=True),
            "sparse": mounted_volume(node, Path(folder), preallocated=False),
            "pool": pool,
        }
        try:
            ratios = measure(places, console)
        finally:
            for kind in ("preallocated", "sparse"):
                node.publisher.unstage(ids.volume_id_for(kind), str(places[kind]))
            (pool / "fio.dat").unlink(missing_ok=True)
    show("data path: fio in a volume / the same fio on the pool's filesystem", ratios, console)
    if keep:
        record(
            "data-path",
            "`make bench-data-path`: fio (libaio, direct, depth 16) in a volume with ext4, against "
            "the same fio on the XFS of its pool.",
            ratios,
        )
    return ratios


@contextmanager
def opened_pool(folder: Path, size_bytes: int = POOL_BYTES) -> Iterator[LocalNode]:
    """Makes a pool in one file, serves it, and takes it away."""
    configuration = PoolConfiguration(
        POOL, pools.PoolBackend.REFLINK, folder / "pool", size_bytes, 1.0
    )
    opener = registry.PoolOpener(configuration, folder / "state", registry.kernel_host())
    parts = NodeParts(registry.kernel_host(), (opener.open(),), ())
    try:
        yield LocalNode(ids.NodeName("bench"), parts, ThreadLocks(), registry.system_clock())
    finally:
        opener.unmount()


def mounted_volume(node: LocalNode, folder: Path, *, preallocated: bool) -> Path:
    """Makes a volume and mounts it, as the kubelet would have it staged."""
    name = "preallocated" if preallocated else "sparse"
    volume_id = ids.volume_id_for(name)
    node.create_volume(
        volumes.VolumeSpec(volume_id, name, POOL, VOLUME_BYTES, preallocated=preallocated)
    )
    staging = folder / name
    staging.mkdir()
    access = Access(volumes.VolumeMode.FILESYSTEM, volumes.FilesystemType.EXT4, ())
    node.publisher.stage(volume_id, str(staging), access)
    return staging


def measure(places: dict[str, Path], console: Console) -> list[Ratio]:
    """Runs every workload in every place, in turn, and pairs the figures."""
    for place in places.values():
        fio(place, Workload("", "write", 1 << 20, 0), seconds=60)  # lays the file out
    ratios = []
    for workload in WORKLOADS:
        seen: dict[str, list[float]] = {name: [] for name in places}
        for number in range(ROUNDS):
            console.print(f"  {workload.name}: round {number + 1} of {ROUNDS}")
            for name in turned(tuple(places), number):
                seen[name].append(fio(places[name], workload, seconds=SECONDS))
        for kind in ("preallocated", "sparse"):
            ratio = Ratio(f"{workload.name}, {kind}", seen[kind], seen["pool"], "MiB/s")
            if kind == "preallocated":
                ratio = at_least(ratio, workload.target)
            ratios.append(ratio)
    return ratios


def turned(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Returns the names in their order, beginning with another one in each round."""
    first = number % len(names)
    return names[first:] + names[:first]


def fio(place: Path, workload: Workload, *, seconds: int) -> float:
    """Runs fio in a folder and returns MiB/s."""
    laying_out = not workload.name
    command = [
        "fio", "--name=bench", f"--filename={place / 'fio.dat'}", f"--size={FILE_BYTES}",
        f"--rw={workload.mode}", f"--bs={workload.block_bytes}", "--ioengine=libaio", "--direct=1",
        "--iodepth=16", "--output-format=json", "--fallocate=none",
        *(["--end_fsync=1"] if laying_out else ["--time_based", f"--runtime={seconds}"]),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    job = json.loads(done.stdout)["jobs"][0]
    return float(job["read"]["bw"] + job["write"]["bw"]) / 1024


if __name__ == "__main__":
    run(Console(), keep=True)
