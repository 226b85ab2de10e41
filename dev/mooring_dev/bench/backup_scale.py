"""What a backup costs as a volume grows: Mooring against itself, and against its libraries alone.

Volumes of 200 GiB are sparse; one of 40 GiB that is fully mapped shares its blocks with itself,
twenty times the same 2 GiB, so that it fits on any disk.
"""

import fcntl
import os
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console

from mooring_dev.bench import backup_tools, images
from mooring_dev.bench.data_path import POOL, opened_pool
from mooring_dev.bench.figures import Ratio, at_most, record, show
from mooring_dev.bench.timed import Timed

POOL_BYTES = 14 << 30
GIB = 1 << 30
ROUNDS = 3
CHUNK_BYTES = 64 << 10
_CLONE_RANGE = 0x4020940D


def run(console: Console, *, keep: bool) -> list[Ratio]:
    """Measures, prints, and with `keep` records the figures."""
    with (
        tempfile.TemporaryDirectory(prefix="mooring-bench-", dir="/var/tmp") as folder,
        opened_pool(Path(folder), POOL_BYTES),
    ):
        place = Path(folder) / "state" / "pools" / POOL / "bench"
        place.mkdir()
        images.collect_files(place / "files")
        ratios = [*_sparse(place, console), _mapped(place, console)]
    show("backups as a volume grows", ratios, console)
    if keep:
        words = "`make bench-scale-backup`: `mooring backup --track` against itself on less."
        record("backup-scale", words, ratios)
    return ratios


def _sparse(place: Path, console: Console) -> list[Ratio]:
    """The same files on 2 GiB and on 200 GiB; and what the libraries cost by themselves."""
    tools = {}
    full: dict[int, list[Timed]] = {2: [], 200: []}
    for size in full:
        image = place / f"image-{size}"
        images.make_image(image, size * GIB, place / "files")
        tools[size] = backup_tools.Mooring(place / f"of-{size}", image)
        tools[size].make()
    alone, changed = [], {2: list[Timed](), 200: list[Timed]()}
    for number in range(ROUNDS):
        for size, tool in tools.items():
            console.print(f"  {size} GiB: round {number + 1}, load {os.getloadavg()[0]:.1f}")
            full[size].append(_anew(tool))
            images.scatter(tool.image, 160, 128 << 10, number)
            changed[size].append(tool.back_up())
        alone.append(_libraries(tools[2].image))
    for size, tool in tools.items():
        shutil.rmtree(tool.folder)
        (place / f"image-{size}").unlink()

    def each(found: list[Timed], of: Callable[[Timed], float]) -> list[float]:
        return [of(one) for one in found]

    large, small = (each(changed[size], lambda one: one.seconds) for size in (200, 2))
    most, less = (each(full[size], lambda one: one.peak_mib) for size in (200, 2))
    processor = each(full[2], lambda one: one.cpu_seconds)
    return [
        at_most(Ratio("20 MiB changed, 200 GiB / 2 GiB, sparse", large, small, "s"), 1.3),
        at_most(Ratio("peak memory, 200 GiB / 2 GiB", most, less, "MiB"), 1.2),
        at_most(Ratio("processor of a full / of its libraries alone", processor, alone, "s"), 1.3),
    ]


def _anew(tool: backup_tools.Mooring) -> Timed:
    """Makes a full backup into an empty repository."""
    for name in ("repository", "track"):
        shutil.rmtree(tool.folder / name, ignore_errors=True)
    tool.make()
    return tool.back_up()


def _libraries(image: Path) -> float:
    """Returns the seconds that hash, compression and encryption of all data take, and no more."""
    packer, cipher = zstandard.ZstdCompressor(level=1), AESGCM(bytes(32))
    target = memoryview(bytearray(CHUNK_BYTES + 16))
    whole = memoryview(bytearray(CHUNK_BYTES))
    began = time.process_time()
    with image.open("rb", buffering=0) as file:
        position, number = 0, 0
        while position < image.stat().st_size:
            try:
                found = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position = found // CHUNK_BYTES * CHUNK_BYTES
            chunk = whole[: os.preadv(file.fileno(), [whole], position)]
            blake3(chunk, key=bytes(32)).digest()
            packed = packer.compress(chunk)
            stored = chunk if len(packed) >= len(chunk) else packed
            cipher.encrypt_into(number.to_bytes(12, "big"), stored, b"", target[: len(stored) + 16])
            position += len(chunk)
            number += 1
    return time.process_time() - began


def _mapped(place: Path, console: Console) -> Ratio:
    """The same random writes all over 2 GiB and all over 40 GiB of data."""
    piece = place / "piece"
    dice = random.Random(1)
    with piece.open("wb") as file:
        for _ in range(2 * GIB >> 20):
            file.write(dice.randbytes(512 << 10).hex().encode())
    added = []
    for size in (40, 2):
        console.print(f"  {size} GiB of data, load {os.getloadavg()[0]:.1f}")
        image = place / "image"
        _repeat(piece, image, size // 2)
        tool = backup_tools.Mooring(place / f"mapped-{size}", image)
        tool.make()
        tool.back_up()
        images.scatter(image, 5120, 4 << 10, 1)
        before = tool.stored_bytes()
        tool.back_up()
        added.append((tool.stored_bytes() - before) / 2**20)
        image.unlink()
    name = "added by 5,120 writes of 4 KiB, 40 GiB / 2 GiB, mapped (one round)"
    return at_most(Ratio(name, [added[0]], [added[1]], "MiB"), 1.15)


def _repeat(piece: Path, image: Path, times: int) -> None:
    with piece.open("rb") as source, image.open("wb") as target:
        length = os.fstat(source.fileno()).st_size
        for number in range(times):
            words = struct.pack("=qQQQ", source.fileno(), 0, length, number * length)
            fcntl.ioctl(target.fileno(), _CLONE_RANGE, words)


if __name__ == "__main__":
    run(Console(), keep=True)
