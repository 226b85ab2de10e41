"""Records of one size in one piece of memory, for what there may be millions of."""

from collections.abc import Iterable


def joined_in_order(records: Iterable[bytes], size_bytes: int) -> bytes | bytearray:
    """Joins records, sorted.

    Those that come in order, as from a listing, take no more memory on the way than in the end.

    Args:
        records: All of one size.
        size_bytes: That size.
    """
    joined, last, in_order = bytearray(), b"", True
    for record in records:
        in_order = in_order and last <= record
        joined += record
        last = record
    if in_order:
        return joined
    starts = range(0, len(joined), size_bytes)
    return b"".join(sorted(bytes(joined[start : start + size_bytes]) for start in starts))
