"""What joining the pieces of a volume costs a writer in it: fsynced writes with and without it.

Each round begins with a volume that random writes after a snapshot have scattered, and times
fsynced writes of 4 KiB in it twice: while nothing else is done, and while its pieces are joined.
Which of the two comes first changes from round to round. Both are in one process of their own.
"""

import mmap
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mooring.domain import ids
from mooring.planning import fragmentation
from mooring.volumes.local.node import LocalNode
from mooring_dev.bench.data_path import mounted_volume, opened_pool
from mooring_dev.bench.figures import Ratio, Table, record, show, show_table

ROUNDS = 5
QUIET_SECONDS = 8.0
DATA_BYTES = 256 << 20
SCATTERED_WRITES = 20_000
BLOCK_BYTES = 4096
VOLUME = ids.volume_id_for("sparse")


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of single fsynced writes, sorted."""

    values: tuple[float, ...]

    def at(self, share: float) -> float:
        """Returns a quantile."""
        return self.values[min(len(self.values) - 1, int(len(self.values) * share))]


@dataclass(frozen=True)
class Joined:
    """What one round of joining did."""

    before: int
    after: int
    seconds: float
    copy_before_seconds: float
    copy_after_seconds: float


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the figures."""
    quiet: list[Latencies] = []
    busy: list[Latencies] = []
    joined: list[Joined] = []
    with (
        tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as folder,
        opened_pool(Path(folder)) as node,
    ):
        place = mounted_volume(node, Path(folder), preallocated=False)
        try:
            _fill(place / "data")
            for number in range(ROUNDS):
                console.print(f"  round {number + 1} of {ROUNDS}")
                _round(node, place / "data", number, (quiet, busy, joined))
        finally:
            node.publisher.unstage(VOLUME, str(place))
    ratios = [
        Ratio(f"fsynced 4 KiB write, {name}", _each(busy, share), _each(quiet, share), "ms")
        for name, share in (
            ("median", 0.5),
            ("99 of 100", 0.99),
            ("worst of each round, their median", 1.0),
        )
    ]
    rounds = _rounds(joined)
    show("writes while pieces are joined / while nothing is done", ratios, console)
    show_table("joining", rounds, console)
    if keep:
        words = (
            "`make bench-defrag`: fsynced writes of 4 KiB in a volume with ext4 while its pieces "
            "are joined at the default pace, against the same writes while nothing is done."
        )
        record("defrag", words, ratios, rounds)
    return ratios


def _each(rounds: list[Latencies], share: float) -> list[float]:
    return [one.at(share) for one in rounds]


def _rounds(joined: list[Joined]) -> Table:
    def middle(of: Callable[[Joined], float]) -> float:
        return statistics.median(of(one) for one in joined)

    return Table(
        ("a volume of 256 MiB of data, scattered (median)", "before", "after"),
        (
            ("pieces", f"{middle(lambda one: one.before):,.0f}",
             f"{middle(lambda one: one.after):,.0f}"),
            ("time of a snapshot", f"{middle(lambda one: one.copy_before_seconds):.2f} s",
             f"{middle(lambda one: one.copy_after_seconds):.2f} s"),
            ("time of joining", "", f"{middle(lambda one: one.seconds):.0f} s"),
        ),
    )  # fmt: skip


def _round(
    node: LocalNode,
    data: Path,
    number: int,
    results: tuple[list[Latencies], list[Latencies], list[Joined]],
) -> None:
    quiet, busy, joined = results
    _snapshot(node, f"before-{number}")
    _scatter(data, number)
    copy_before_seconds = _snapshot(node, f"scattered-{number}")
    for name in (f"before-{number}", f"scattered-{number}"):
        node.delete_snapshot(ids.snapshot_id_for(name, VOLUME))
    kinds = ("quiet", "busy") if number % 2 == 0 else ("busy", "quiet")
    for kind in kinds:
        if kind == "quiet":
            quiet.append(_while(data, lambda: time.sleep(QUIET_SECONDS)))
        else:
            busy.append(_while(data, lambda: joined.append(_join(node))))
    copy_after_seconds = _snapshot(node, f"after-{number}")
    node.delete_snapshot(ids.snapshot_id_for(f"after-{number}", VOLUME))
    last = joined.pop()
    joined.append(
        Joined(last.before, last.after, last.seconds, copy_before_seconds, copy_after_seconds)
    )


def _snapshot(node: LocalNode, name: str) -> float:
    began = time.monotonic()
    node.create_snapshot(ids.snapshot_id_for(name, VOLUME), name, freeze_timeout_seconds=30)
    return time.monotonic() - began


def _join(node: LocalNode) -> Joined:
    began = time.monotonic()
    task = node.defragmentation(fragmentation.Policy())
    (outcome,) = task.run_once(_rest)
    if outcome.before is None or outcome.after is None:
        raise RuntimeError(f"the pieces were not joined: {outcome.ended_by}")
    return Joined(outcome.before, outcome.after, time.monotonic() - began, 0.0, 0.0)


def _rest(seconds: float) -> bool:
    time.sleep(max(0.0, seconds))
    return False


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(DATA_BYTES >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def _scatter(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    buffer = mmap.mmap(-1, BLOCK_BYTES)
    buffer.write(os.urandom(BLOCK_BYTES))
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        for _ in range(SCATTERED_WRITES):
            os.pwritev(descriptor, [buffer], dice.randrange(DATA_BYTES // BLOCK_BYTES) << 12)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _while(path: Path, act: Callable[[], object]) -> Latencies:
    """Times writes in another process for as long as something is done in this one."""
    with subprocess.Popen(
        [sys.executable, "-m", "mooring_dev.bench.defrag", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        act()
        told, _ = writer.communicate()
    return Latencies(tuple(sorted(float(line) for line in told.splitlines())))


def _write(path: Path) -> None:
    dice = random.Random(3)
    seen = []
    os.set_blocking(0, False)
    descriptor = os.open(path, os.O_RDWR)
    while sys.stdin.buffer.read(1) != b"":
        content = os.urandom(BLOCK_BYTES)
        began = time.perf_counter()
        os.pwrite(descriptor, content, dice.randrange(DATA_BYTES // BLOCK_BYTES) * BLOCK_BYTES)
        os.fsync(descriptor)
        seen.append((time.perf_counter() - began) * 1e3)
    os.close(descriptor)
    print("\n".join(map(str, seen)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _write(Path(sys.argv[1]))
    else:
        run(Console(), keep=True)
