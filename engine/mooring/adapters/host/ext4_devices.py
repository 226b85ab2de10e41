"""How large the ext4 on a device is, and whether it could be larger."""

import os
from pathlib import Path

from mooring.domain import errors, ext4


def read(device: Path) -> tuple[ext4.Superblock, int]:
    """Reads the superblock of an ext4; returns it, and how many of its blocks the device has.

    They are counted in whole pages of memory, as `resize2fs` does.

    Raises:
        DataCorrupt: There is none.
    """
    with device.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(ext4.OFFSET)
        superblock = ext4.parse(file.read(ext4.LENGTH))
    if superblock is None:
        raise errors.DataCorrupt(
            f"{device} should hold an ext4, and has no superblock of one; look at it with "
            "e2fsck -n, or restore the volume from a backup"
        )
    page_bytes = max(os.sysconf("SC_PAGE_SIZE"), superblock.block_bytes)
    return superblock, size_bytes // page_bytes * (page_bytes // superblock.block_bytes)


def fills(device: Path) -> bool:
    """Whether an ext4 is as large as it can be on its device; errors as for `read`."""
    superblock, device_blocks = read(device)
    return superblock.blocks >= superblock.blocks_on(device_blocks)
