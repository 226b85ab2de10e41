"""Images to back up: an ext4 with files of this machine, and changes as programs make them."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 4096
_RANDOM_BYTES = 300 << 20
_FILES_BYTES = 1200 << 20
_SOURCES = ("/usr/bin", "/usr/share", "/usr/lib")


def collect_files(folder: Path) -> None:
    """Fills a folder: 1.2 GiB of programs and texts, and 300 MiB that no tool shrinks."""
    folder.mkdir()
    with (folder / "random").open("wb") as file:
        for _ in range(_RANDOM_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    room = _FILES_BYTES
    for number, source in enumerate(_installed()):
        size = source.stat().st_size
        if size > room:
            continue
        target = folder / str(number // 1000)
        target.mkdir(exist_ok=True)
        shutil.copyfile(source, target / str(number))
        room -= max(size, _BLOCK_BYTES)
        if room < _BLOCK_BYTES:
            return


def _installed() -> Iterator[Path]:
    for source in _SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path


def make_image(path: Path, size_bytes: int, content: Path) -> None:
    """Makes an ext4 of that size with a folder's content; what no file has is a hole."""
    path.unlink(missing_ok=True)
    options = ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1", "-d", str(content)]
    subprocess.run(["mke2fs", *options, str(path), f"{size_bytes >> 10}k"], check=True)


def scatter(path: Path, count: int, length: int, seed: int) -> None:
    """Overwrites pieces of the data at random places with what is half as long when compressed."""
    dice = random.Random(seed)
    places = _data_blocks(path)
    with path.open("r+b", buffering=0) as file:
        for _ in range(count):
            file.seek(places[dice.randrange(len(places))] * _BLOCK_BYTES)
            file.write(dice.randbytes(length // 2).hex().encode())
        os.fsync(file.fileno())


def _data_blocks(path: Path) -> list[int]:
    """Returns the numbers of all blocks that are data and do not end the file."""
    blocks: list[int] = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 0
        while True:
            try:
                start = os.lseek(file.fileno(), start, os.SEEK_DATA)
            except OSError:
                return blocks
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            last = min(end, size - (1 << 20))
            blocks.extend(range(start // _BLOCK_BYTES, last // _BLOCK_BYTES))
            start = end
