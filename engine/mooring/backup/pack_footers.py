"""Reads what a pack says of itself: its salt and the list at its end."""

from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs

_TAIL_BYTES = 512 << 10
"""Longer than any footer that a writer makes, so that one read is enough."""


def read_entries(
    repository: repositories.Repository, name: bytes, size_bytes: int, salt: bytes | None = None
) -> tuple[bytes, list[packs.PackEntry]]:
    """Reads a pack's footer.

    Args:
        repository: Which.
        name: Of the pack.
        size_bytes: Of the object.
        salt: As an index segment says; None to read it from the pack's header.

    Returns:
        The pack's salt, and what is in it.

    Raises:
        NotFound: There is no such pack.
        DataCorrupt: It is truncated or damaged, or was moved there from elsewhere.
    """
    key = layout.pack_key(name)
    store = repository.store
    if salt is None:
        header = store.get_range(key, 0, packs.HEADER_BYTES)
        salt = packs.parse_header(header)
    start = max(0, size_bytes - _TAIL_BYTES)
    tail = store.get_range(key, start, size_bytes - start)
    offset, length = packs.footer_range(tail[-packs.TRAILER_BYTES :], size_bytes)
    if offset >= start:
        footer = tail[offset - start : offset - start + length]
    else:
        footer = store.get_range(key, offset, length)
    cipher = packs.PackCipher(repository.keys, name, salt)
    return salt, cipher.unseal_footer(footer, offset)
