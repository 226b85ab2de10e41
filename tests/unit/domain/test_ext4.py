"""The superblock of an ext4: what it says, and what is none."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import ext4

# As mke2fs 1.47 makes it on a device of 256 MiB with blocks of 4 KiB.
MADE = ext4.Superblock(
    uuid=bytes(range(16)),
    blocks=65536,
    block_bytes=4096,
    first_data_block=0,
    blocks_per_group=32768,
    inode_blocks_per_group=512,
    descriptor_bytes=64,
    reserved_descriptor_blocks=31,
    sparse=True,
)


def raw(superblock: ext4.Superblock, *, wide: bool = True) -> bytes:
    block = bytearray(ext4.LENGTH)
    inodes = superblock.inode_blocks_per_group * superblock.block_bytes // 256
    fields = {
        0x4: ("I", superblock.blocks & 0xFFFFFFFF),
        0x14: ("I", superblock.first_data_block),
        0x18: ("I", superblock.block_bytes.bit_length() - 11),
        0x20: ("I", superblock.blocks_per_group),
        0x28: ("I", inodes),
        0x38: ("H", 0xEF53),
        0x58: ("H", 256),
        0x60: ("I", 0x80 if wide else 0),
        0x64: ("I", 1 if superblock.sparse else 0),
        0xCE: ("H", superblock.reserved_descriptor_blocks),
        0xFE: ("H", superblock.descriptor_bytes if wide else 0),
        0x150: ("I", superblock.blocks >> 32),
    }
    for offset, (kind, value) in fields.items():
        struct.pack_into(f"<{kind}", block, offset, value)
    block[0x68:0x78] = superblock.uuid
    return bytes(block)


@pytest.mark.parametrize(
    "made",
    [
        MADE,
        replace(MADE, blocks=1 << 33 | 5),
        replace(MADE, block_bytes=1024, first_data_block=1, blocks_per_group=8192),
        replace(MADE, block_bytes=65536),
        replace(MADE, sparse=False),
    ],
)
def test_what_it_says_is_read(made: ext4.Superblock) -> None:
    found = ext4.parse(raw(made))
    assert found == made
    assert found.size_bytes == made.blocks * made.block_bytes


def test_without_64_bits_the_upper_ones_mean_something_else() -> None:
    found = ext4.parse(raw(replace(MADE, blocks=1 << 33 | 5), wide=False))
    assert found == replace(MADE, blocks=5, descriptor_bytes=32)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0x38, b"\0\0"), (0x18, b"\x07\0\0\0"), (0x18, b"\xff\xff\xff\xff")],
)
def test_what_is_none_of_an_ext4(offset: int, value: bytes) -> None:
    block = raw(MADE)
    assert ext4.parse(block[:offset] + value + block[offset + len(value) :]) is None
    assert ext4.parse(block[:-1]) is None


@pytest.mark.parametrize(
    ("device_blocks", "wanted"),
    [
        (65536, 65536),  # it fills it
        (65536 + 32768, 65536 + 32768),  # one whole group more
        (65536 + 2 + 512 + 50 - 1, 65536),  # group 2 would hold 49 blocks beside its tables
        (65536 + 2 + 512 + 50, 65536 + 2 + 512 + 50),
        (3 * 32768 + 2 + 512 + 50, 3 * 32768),  # group 3 has a superblock and descriptors as well
        (3 * 32768 + 2 + 512 + 50 + 1 + 1 + 31, 3 * 32768 + 2 + 512 + 50 + 1 + 1 + 31),
        (700, 700),  # the only group
    ],
)
def test_it_grows_without_a_last_group_that_is_too_small(device_blocks: int, wanted: int) -> None:
    assert MADE.blocks_on(device_blocks) == wanted


@given(st.binary(min_size=ext4.LENGTH, max_size=ext4.LENGTH), st.integers(0, 1 << 40))
def test_whatever_it_says_no_size_is_larger_than_the_device(content: bytes, blocks: int) -> None:
    marked = content[:0x18] + b"\x02\0\0\0" + content[0x1C:0x38] + b"\x53\xef" + content[0x3A:]
    found = ext4.parse(marked)
    assert found is not None
    assert found.blocks_on(blocks) <= blocks
