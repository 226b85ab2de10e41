"""What collecting garbage takes as a repository grows: 5 million chunks against 50 thousand.

The real writer makes both, with tiny chunks, so that they fit on any disk. A pack holds as many of
them as it does of chunks of the usual size, so that there are as many packs as well.
"""

import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from mooring.backup.format import packs
from mooring.domain import backups
from mooring.planning import collection
from mooring_dev.bench import backup_tools
from mooring_dev.bench.figures import Ratio, at_most, record, show
from mooring_dev.bench.timed import Timed

LARGE_CHUNKS, SMALL_CHUNKS = 5_000_000, 50_000
CHUNK_BYTES = backups.MINIMUM_CHUNK_SIZE_BYTES
PACK_CHUNKS = packs.TARGET_BYTES // backups.DEFAULT_CHUNK_SIZE_BYTES
KEEP = ("--keep-last", "1")
WORDS = {
    "dry run": "a dry run, with retention",
    "doom": "dropping a backup, dooming and copying packs",
    "delete": "deleting packs a day later, and rewriting the index",
}
_PIECE_BYTES = 1 << 20


class TinyChunks(backup_tools.Mooring):
    """`mooring` with tiny chunks, and packs that hold only as many as of large ones."""

    script = (
        f"from mooring.backup.format import packs\npacks.MAXIMUM_BLOBS = {PACK_CHUNKS}\n"
        + backup_tools.Mooring.script
    )

    def make(self) -> None:
        """See `Tool`."""
        self.mooring("repo", "init", "--chunk-size", str(CHUNK_BYTES))

    def back_up(self) -> Timed:
        """See `Tool`."""
        return self.mooring("backup", str(self.image))

    def prune(self, *words: str) -> tuple[Timed, dict[str, Any]]:
        """Prunes, and returns what it said as well."""
        done = self.mooring("repo", "prune", *words, "-o", "json")
        return done, json.loads(done.output.rpartition("}")[0] + "}")


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the figures."""
    with tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as folder:
        large, small = (
            _collected(Path(folder) / str(count), count, console)
            for count in (LARGE_CHUNKS, SMALL_CHUNKS)
        )
    ratios = []
    for step, words in WORDS.items():
        most, less = [large[step].peak_mib], [small[step].peak_mib]
        ratios.append(at_most(Ratio(f"peak memory: {words}", most, less, "MiB"), 1.2))
    for step, words in WORDS.items():
        most, less = [large[step].seconds], [small[step].seconds]
        ratios.append(Ratio(f"time: {words}", most, less, "s"))
    title = f"collecting garbage, {LARGE_CHUNKS:,} chunks / {SMALL_CHUNKS:,}"
    show(title, ratios, console)
    if keep:
        words = f"`make bench-scale-backup`: `mooring repo prune`, {LARGE_CHUNKS:,} chunks against "
        record("collection", words + f"{SMALL_CHUNKS:,}.", ratios)
    return ratios


def _collected(folder: Path, count: int, console: Console) -> dict[str, Timed]:
    """Makes a repository of so many chunks, and returns what each step of collecting takes."""
    tool = TinyChunks(folder, folder / "image")
    tool.make()
    _fill(tool.image, count)
    tool.back_up()
    _change(tool.image, count)
    tool.back_up()
    done = {}
    for step, words, told in (
        ("dry run", ("--dry-run", *KEEP), ("bytesMarked",)),
        ("doom", KEEP, ("backupsDropped", "bytesMarked", "bytesCopied")),
        ("delete", (), ("bytesDeleted",)),
    ):
        if step == "delete":
            _age(tool.repository)
        done[step], report = tool.prune(*words)
        console.print(
            f"  {count:,} chunks in {len(report['packs']):,} packs: {step}: "
            f"{done[step].peak_mib:.0f} MiB, {done[step].seconds:.0f} s, "
            f"load {os.getloadavg()[0]:.1f}"
        )
        if not all(report[name] for name in told):
            raise RuntimeError(f"a collection did nothing that can be measured: {told}")
    tool.mooring("repo", "check")
    return done


def _fill(image: Path, count: int) -> None:
    """Writes chunks of which no two are alike."""
    left = count * CHUNK_BYTES
    with image.open("wb") as file:
        while left:
            left -= file.write(os.urandom(min(left, _PIECE_BYTES)))


def _change(image: Path, count: int) -> None:
    """Changes a tenth of all chunks in a row, and every second one of the next tenth."""
    tenth = count // 10
    with image.open("r+b") as file:
        for number in (*range(tenth), *range(tenth, 2 * tenth, 2)):
            file.seek(number * CHUNK_BYTES)
            file.write(os.urandom(CHUNK_BYTES))


def _age(repository: Path) -> None:
    """Makes every object as old as a second mark wants it."""
    by_ns = int((collection.MARKS_APART + timedelta(hours=1)).total_seconds() * 1e9)
    for path in repository.rglob("*"):
        if path.is_file():
            past_ns = path.stat().st_mtime_ns - by_ns
            os.utime(path, ns=(past_ns, past_ns))


if __name__ == "__main__":
    run(Console(), keep=True)
