"""What the superblock of an ext4 says of it, and how far it can grow.

Sources: the layout in the kernel's `Documentation/filesystems/ext4/super.rst`, and the rule for a
last block group that is too small to be of use in e2fsprogs' `resize/resize2fs.c`.
"""

import struct
from dataclasses import dataclass

OFFSET = 1024
"""Where it is on the device."""
LENGTH = 1024

_MAGIC = 0xEF53
_LARGEST_BLOCK_LOG = 6  # 64 KiB
_SPARSE_SUPER = 0x1
_64BIT = 0x80
_SHORT_DESCRIPTOR_BYTES = 32
_LEAST_USABLE_BLOCKS = 50
_POWERS_WITH_SUPERBLOCK = (3, 5, 7)


@dataclass(frozen=True)
class Superblock:
    """The fields that tell who it is and how large.

    Attributes:
        uuid: Its UUID, 16 bytes.
        blocks: Blocks of the filesystem.
        block_bytes: Size of one.
        first_data_block: 1 where blocks are 1 KiB, else 0.
        blocks_per_group: Blocks of each group but the last.
        inode_blocks_per_group: Blocks of each group's inode table.
        descriptor_bytes: Size of a group descriptor.
        reserved_descriptor_blocks: Blocks kept for the descriptors of later groups.
        sparse: Whether only some groups have a copy of the superblock.
    """

    uuid: bytes
    blocks: int
    block_bytes: int
    first_data_block: int
    blocks_per_group: int
    inode_blocks_per_group: int
    descriptor_bytes: int
    reserved_descriptor_blocks: int
    sparse: bool

    @property
    def size_bytes(self) -> int:
        """What it takes of its device."""
        return self.blocks * self.block_bytes

    def blocks_on(self, device_blocks: int) -> int:
        """Returns how many blocks `resize2fs` gives it on a device of so many.

        It leaves a last group out that would hold its own tables and fewer than 50 other blocks.
        """
        if not self.blocks_per_group:
            return device_blocks
        whole, rest = divmod(device_blocks - self.first_data_block, self.blocks_per_group)
        if not whole or not rest:
            return device_blocks
        needed = 2 + self.inode_blocks_per_group + _LEAST_USABLE_BLOCKS
        if not self.sparse or _has_superblock(whole):
            descriptors = (whole + 1) * self.descriptor_bytes
            needed += 1 + -(-descriptors // self.block_bytes) + self.reserved_descriptor_blocks
        return device_blocks if rest >= needed else device_blocks - rest


def parse(raw: bytes) -> Superblock | None:
    """Reads a superblock's `LENGTH` bytes; None when they are none of an ext4."""
    if len(raw) < LENGTH:
        return None

    def field(kind: str, offset: int) -> int:
        return int(struct.unpack_from(f"<{kind}", raw, offset)[0])

    block_log = field("I", 0x18)
    if field("H", 0x38) != _MAGIC or block_log > _LARGEST_BLOCK_LOG:
        return None
    block_bytes = 1024 << block_log
    is_64bit = bool(field("I", 0x60) & _64BIT)
    inode_bytes = field("I", 0x28) * field("H", 0x58)
    return Superblock(
        uuid=bytes(raw[0x68:0x78]),
        blocks=field("I", 0x4) | (field("I", 0x150) << 32 if is_64bit else 0),
        block_bytes=block_bytes,
        first_data_block=field("I", 0x14),
        blocks_per_group=field("I", 0x20),
        inode_blocks_per_group=-(-inode_bytes // block_bytes),
        descriptor_bytes=field("H", 0xFE) if is_64bit else _SHORT_DESCRIPTOR_BYTES,
        reserved_descriptor_blocks=field("H", 0xCE),
        sparse=bool(field("I", 0x64) & _SPARSE_SUPER),
    )


def _has_superblock(group: int) -> bool:
    """Whether a group has a copy of the superblock: 0, 1 and the powers of 3, 5 and 7."""
    if group <= 1:
        return True
    for base in _POWERS_WITH_SUPERBLOCK:
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False
