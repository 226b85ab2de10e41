"""Reads the superblock in a volume's first bytes, so that nobody has to say what it holds."""

import uuid
from dataclasses import dataclass

from mooring.domain import ext4

HEAD_BYTES = 68 << 10

_BTRFS = 65536
_LARGEST_SECTOR_BYTES = 4096


@dataclass(frozen=True)
class Superblock:
    """What a filesystem says of itself.

    Attributes:
        filesystem: ext4, xfs or btrfs.
        uuid: Its UUID.
        size_bytes: What it takes of its device; a smaller one is not all of it.
        sector_size_bytes: Largest logical sector with which it can still be mounted.
    """

    filesystem: str
    uuid: str
    size_bytes: int
    sector_size_bytes: int


def read(head: bytes) -> Superblock | None:
    """Reads the superblock.

    Args:
        head: The volume's first `HEAD_BYTES` bytes, or fewer if it has fewer.

    Returns:
        None when it is none that Mooring makes.
    """
    for reader in (_read_ext4, _read_xfs, _read_btrfs):
        found = reader(head)
        if found is not None:
            return found
    return None


def _read_ext4(head: bytes) -> Superblock | None:
    found = ext4.parse(head[ext4.OFFSET : ext4.OFFSET + ext4.LENGTH])
    if found is None:
        return None
    return _superblock("ext4", found.uuid, found.size_bytes, found.block_bytes)


def _read_xfs(head: bytes) -> Superblock | None:
    if len(head) < 512 or head[:4] != b"XFSB":
        return None
    size_bytes = int.from_bytes(head[4:8], "big") * int.from_bytes(head[8:16], "big")
    return _superblock("xfs", head[32:48], size_bytes, int.from_bytes(head[102:104], "big"))


def _read_btrfs(head: bytes) -> Superblock | None:
    block = head[_BTRFS : _BTRFS + 4096]
    if len(block) < 4096 or block[64:72] != b"_BHRfS_M":
        return None
    return _superblock("btrfs", block[32:48], _little(block, 112, 8), _little(block, 144, 4))


def _superblock(filesystem: str, raw: bytes, size_bytes: int, sector_bytes: int) -> Superblock:
    sector_bytes = min(sector_bytes, _LARGEST_SECTOR_BYTES)
    return Superblock(filesystem, str(uuid.UUID(bytes=raw)), size_bytes, sector_bytes)


def _little(block: bytes, offset: int, length: int) -> int:
    return int.from_bytes(block[offset : offset + length], "little")
