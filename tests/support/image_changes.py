"""What writers do to an image of a volume, and what of it another one differs in, byte by byte."""

import os
import random
from collections.abc import Iterable
from pathlib import Path

from mooring.adapters.host import syscalls
from mooring.domain.extents import Range

BLOCK = 4096


def mutate(path: Path, dice: random.Random, *, grows: bool = True) -> None:
    """Writes of any size, holes, reserved blocks, zeros, and growth now and then."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(dice.randrange(1, 60)):
            offset = dice.randrange(size // BLOCK) * BLOCK
            length = min(dice.choice([1, 3, 16, 300]) * BLOCK, size - offset)
            match dice.randrange(6):
                case 0 | 1 | 2:
                    start = offset + dice.randrange(BLOCK)
                    os.pwrite(file.fileno(), dice.randbytes(min(length, size - start)), start)
                case 3:
                    mode = syscalls.FALLOC_FL_PUNCH_HOLE | syscalls.FALLOC_FL_KEEP_SIZE
                    syscalls.fallocate(file.fileno(), mode, offset, length)
                case 4:
                    syscalls.fallocate(file.fileno(), 0, offset, length)
                case 5:
                    os.pwrite(file.fileno(), bytes(length), offset)
        if grows and not dice.randrange(4):
            os.truncate(file.fileno(), size + dice.randrange(1, 64) * BLOCK)


def named_blocks(ranges: Iterable[Range], size_bytes: int) -> list[bool]:
    """Whether each block of an image is in a range; the ranges are in order and do not touch."""
    blocks = [False] * -(-size_bytes // BLOCK)
    last = -1
    for one in ranges:
        assert one.length_bytes > 0
        assert one.offset_bytes > last
        last = one.end_bytes
        assert last <= size_bytes
        for number in range(one.offset_bytes // BLOCK, -(-last // BLOCK)):
            blocks[number] = True
    return blocks


def blocks_of(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]


def require_all_named(
    before: list[bytes], after: list[bytes], named: list[bool], why: str = ""
) -> int:
    """Requires that every block that differs is named; returns how many differ."""
    differing = 0
    for number, content in enumerate(after):
        same = number < len(before) and before[number] == content
        assert same or named[number], f"{why}: block {number} changed and is not named"
        differing += not same
    return differing
