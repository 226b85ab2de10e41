"""Tells filesystem type and UUID from a volume's first bytes, so that nobody has to say them."""

import uuid

HEAD_BYTES = 68 << 10

_EXT4 = (1024 + 56, b"\x53\xef", 1024 + 104)
_XFS = (0, b"XFSB", 32)
_BTRFS = (65536 + 64, b"_BHRfS_M", 65536 + 32)
_KNOWN = (("ext4", _EXT4), ("xfs", _XFS), ("btrfs", _BTRFS))


def identify(head: bytes) -> tuple[str, str] | None:
    """Returns type and UUID of the filesystem in a volume.

    Args:
        head: The volume's first `HEAD_BYTES` bytes, or fewer if it has fewer.

    Returns:
        For example `("xfs", "0b7f…")`, or None when it is none that Mooring makes.
    """
    for name, (magic_offset, magic, uuid_offset) in _KNOWN:
        raw = head[uuid_offset : uuid_offset + 16]
        if head[magic_offset : magic_offset + len(magic)] == magic and len(raw) == 16:
            return name, str(uuid.UUID(bytes=raw))
    return None
