"""Backups against restic and borg: what a full one, a small change and a restore cost.

Everything is on one reflink pool: the image, the repositories, what is restored. In each round
every tool does the same to the same image, each round in another order, after the image or the
repository was read once, so that all meet the same caches.
"""

import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from mooring_dev.bench import backup_tools, images
from mooring_dev.bench.data_path import POOL, opened_pool, turned
from mooring_dev.bench.figures import Ratio, at_most, record, show
from mooring_dev.bench.timed import Timed

POOL_BYTES = 14 << 30
IMAGE_BYTES = 2 << 30
LARGE_BYTES = 20 << 30
ROUNDS = 3
_NULL = os.open(os.devnull, os.O_WRONLY)
NAMES = tuple(kind.name for kind in backup_tools.ALL)


@dataclass
class Seen:
    """Figures of one kind, by tool, one a round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Notes one."""
        self.values.setdefault(name, []).append(value)

    def plain(self, what: str, unit: str) -> list[Ratio]:
        """Returns Mooring's figures against each peer's, without a bound."""
        own = self.values[NAMES[0]]
        return [Ratio(f"{what}, {peer}", own, self.values[peer], unit) for peer in NAMES[1:]]

    def ratios(self, what: str, unit: str, bounds: Sequence[float | None]) -> list[Ratio]:
        """Returns Mooring's figures against each peer's, held against its bound."""
        pairs = zip(self.plain(what, unit), bounds, strict=True)
        return [at_most(ratio, bound) for ratio, bound in pairs if bound is not None]


@dataclass
class Figures:
    """All that is measured."""

    full: Seen = field(default_factory=Seen)
    full_cpu: Seen = field(default_factory=Seen)
    peak: Seen = field(default_factory=Seen)
    changed: Seen = field(default_factory=Seen)
    changed_own: Seen = field(default_factory=Seen)
    large: Seen = field(default_factory=Seen)
    large_own: Seen = field(default_factory=Seen)
    added: Seen = field(default_factory=Seen)
    added_small: Seen = field(default_factory=Seen)
    restored: Seen = field(default_factory=Seen)
    restored_cpu: Seen = field(default_factory=Seen)

    def ratios(self) -> list[Ratio]:
        """Returns the table; what has no target tells what bounds the rest."""
        return [
            *self.full.ratios("full", "s", (0.30, 0.40)),
            *self.full_cpu.plain("full, processor time", "s"),
            *self.changed.ratios("20 MiB changed", "s", (0.15, 0.15)),
            *self.changed_own.ratios("20 MiB changed, without start and key", "s", (0.05, 0.05)),
            *self.large.ratios("20 MiB changed on 20 GiB", "s", (0.03, 0.03)),
            *self.large_own.plain("20 MiB changed on 20 GiB, without start and key", "s"),
            *self.added.ratios("added by 160 writes of 128 KiB", "MiB", (0.15, 0.12)),
            *self.added_small.ratios("added by 5,120 writes of 4 KiB", "MiB", (0.26, 0.26)),
            *self.restored.ratios("restore", "s", (0.4, 0.4)),
            *self.restored_cpu.plain("restore, processor time", "s"),
            *self.peak.ratios("peak memory of the full backup", "MiB", (0.8, None)),
        ]


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the figures."""
    figures = Figures()
    with (
        tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as folder,
        opened_pool(Path(folder), POOL_BYTES),
    ):
        place = Path(folder) / "state" / "pools" / POOL / "bench"
        place.mkdir()
        images.collect_files(place / "files")
        for number in range(ROUNDS):
            console.print(f"  round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}")
            _round(place, number, figures)
        _large_rounds(place, figures, console)
    ratios = figures.ratios()
    show("backups / those of restic and borg", ratios, console)
    if keep:
        words = (
            "`make bench-backup`: whole processes, until all is on the disk, on an ext4 image of "
            "2 GiB (1.5 GiB used) on a reflink pool, against Debian's restic and borg "
            "(`fixed,4194304`, `zstd,1`)."
        )
        record("backup", words, ratios)
    return ratios


def _round(place: Path, number: int, figures: Figures) -> None:
    """A full backup, a restore, and two small changes, with each tool."""
    image = place / "image"
    images.make_image(image, IMAGE_BYTES, place / "files")
    tools = _tools(place, image)
    for tool in _in_turn(tools, number):
        done = _warm(tool.back_up, image)
        figures.full.add(tool.name, done.seconds)
        figures.full_cpu.add(tool.name, done.cpu_seconds)
        figures.peak.add(tool.name, done.peak_mib)
    images.scatter(image, 160, 128 << 10, number)
    _change(tools, number, figures.added, figures.changed, figures.changed_own)
    for tool in _in_turn(tools, number):
        _read(tool.repository)
        done, restored = tool.restore(place / "restored")
        figures.restored.add(tool.name, done.seconds)
        figures.restored_cpu.add(tool.name, done.cpu_seconds)
        if not filecmp.cmp(image, restored, shallow=False):
            raise RuntimeError(f"{tool.name} restored something else")
        shutil.rmtree(place / "restored")
    images.scatter(image, 5120, 4 << 10, number)
    _change(tools, number, figures.added_small)
    for tool in tools:
        shutil.rmtree(tool.folder)


def _large_rounds(place: Path, figures: Figures, console: Console) -> None:
    """The same small change on an image ten times as large, which is mostly a hole."""
    image = place / "image"
    images.make_image(image, LARGE_BYTES, place / "files")
    tools = _tools(place, image)
    for tool in tools:
        tool.back_up()
    for number in range(ROUNDS):
        console.print(f"  20 GiB: round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}")
        images.scatter(image, 160, 128 << 10, number)
        _change(tools, number, None, figures.large, figures.large_own)


def _tools(place: Path, image: Path) -> list[backup_tools.Tool]:
    tools: list[backup_tools.Tool] = [kind(place / kind.name, image) for kind in backup_tools.ALL]
    for tool in tools:
        tool.make()
    return tools


def _change(
    tools: list[backup_tools.Tool],
    number: int,
    added: Seen | None,
    seconds: Seen | None = None,
    own: Seen | None = None,
) -> None:
    for tool in _in_turn(tools, number):
        before = tool.stored_bytes()
        done = _warm(tool.back_up, tool.image)
        if added is not None:
            added.add(tool.name, (tool.stored_bytes() - before) / 2**20)
        if seconds is not None:
            seconds.add(tool.name, done.seconds)
        if own is not None:
            mine = isinstance(tool, backup_tools.Mooring)
            own.add(tool.name, backup_tools.own_seconds(done) if mine else done.seconds)


def _warm(act: Callable[[], Timed], image: Path) -> Timed:
    """Does something after the image was read once."""
    _read(image)
    return act()


def _in_turn(tools: list[backup_tools.Tool], number: int) -> list[backup_tools.Tool]:
    by_name = {tool.name: tool for tool in tools}
    return [by_name[name] for name in turned(NAMES, number)]


def _read(path: Path) -> None:
    """Reads what is data in a file, or in the files of a folder, into the page cache."""
    for each in path.rglob("*") if path.is_dir() else [path]:
        if not each.is_file():
            continue
        with each.open("rb", buffering=0) as file:
            while os.sendfile(_NULL, file.fileno(), None, 1 << 24):
                pass


if __name__ == "__main__":
    run(Console(), keep=True)
