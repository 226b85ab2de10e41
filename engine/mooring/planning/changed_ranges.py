"""What differs between two images that share blocks, told from where their bytes lie. Pure.

Bytes at the same address of the same disk are the same bytes, as long as neither image let go of
them in between. So an older image that is kept answers what has changed since: every part of the
new one that does not lie where the old one has it. Whatever is unclear counts as changed.

The older image is looked at before, during and after: if it lay elsewhere once, its former blocks
may belong to the new image by now, and nothing can be told. For the same reason its map is never
kept from one time to the next.
"""

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator

from mooring.domain.extents import Placed, Placement, Range

_PLACED = struct.Struct("<QQQ8s")
_NAMES = {placement: placement.value.encode() for placement in Placement}

ReadMap = Callable[[], Iterator[Placed]]
"""Asks the filesystem anew how an image lies on its disk: pieces in order, holes left out."""
KeepRanges = Callable[[Iterable[Range]], None]
"""Replaces what was kept before."""


def compare(
    read_base: ReadMap,
    read_new: ReadMap,
    sizes_bytes: tuple[int, int],
    keep: KeepRanges,
) -> bool:
    """Finds what changed from one image to another, all of it before any of it is used.

    Args:
        read_base: Maps the older image.
        read_new: Maps the newer one.
        sizes_bytes: Sizes of the older and the newer one.
        keep: Takes the changed ranges; a second time if the first were worth nothing.

    Returns:
        False when the older image moved meanwhile, so that everything counts as changed.
    """
    before, during = fingerprint(read_base()), _Fingerprint()
    keep(changed(during.over(read_base()), read_new(), *sizes_bytes))
    if before == during.value() == fingerprint(read_base()):
        return True
    keep([Range(0, sizes_bytes[1])])
    return False


def changed(
    base: Iterable[Placed], new: Iterable[Placed], base_size_bytes: int, new_size_bytes: int
) -> Iterator[Range]:
    """Yields what of the newer image is not surely the same in the older one, in order.

    Data that became a hole is a change, and all that lies beyond the older image's end.
    """
    common_bytes = min(base_size_bytes, new_size_bytes)
    differing = _differences(_covering(base, common_bytes), _covering(new, common_bytes))
    beyond = Range(common_bytes, new_size_bytes - common_bytes)
    yield from _joined(itertools.chain(differing, [beyond]))


def allocated(pieces: Iterable[Placed], size_bytes: int) -> Iterator[Range]:
    """Yields what of an image may hold anything but zeros, in order."""
    found = (
        Range(piece.offset_bytes, piece.length_bytes)
        for piece in _covering(pieces, size_bytes)
        if piece.placement is not Placement.ZEROS
    )
    yield from _joined(found)


def aligned(ranges: Iterable[Range], block_bytes: int, size_bytes: int) -> Iterator[Range]:
    """Widens ranges to whole blocks of an image, joined where they touch; the last may be short."""

    def widened() -> Iterator[Range]:
        for one in ranges:
            start = one.offset_bytes // block_bytes * block_bytes
            end = min(-(-one.end_bytes // block_bytes) * block_bytes, size_bytes)
            if one.length_bytes and one.offset_bytes < size_bytes:
                yield Range(start, end - start)

    yield from _joined(widened())


def fingerprint(pieces: Iterable[Placed]) -> bytes:
    """Returns what two maps have in common only if they are the same."""
    found = _Fingerprint()
    for _ in found.over(pieces):
        pass
    return found.value()


class _Fingerprint:
    """Takes a map's fingerprint while somebody else reads it to its end."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._whole = False

    def over(self, pieces: Iterable[Placed]) -> Iterator[Placed]:
        for piece in pieces:
            self._digest.update(_PLACED.pack(*piece[:3], _NAMES[piece.placement]))
            yield piece
        self._whole = True

    def value(self) -> bytes:
        """Returns the fingerprint; nothing is equal to that of a map that was not read whole."""
        return self._digest.digest() if self._whole else b""


def _covering(pieces: Iterable[Placed], size_bytes: int) -> Iterator[Placed]:
    """Yields pieces that cover an image without a gap; the whole map is read, whatever its size."""
    end = 0
    for piece in pieces:
        start = min(max(piece.offset_bytes, end), size_bytes)
        if start > end:
            yield Placed(end, start - end, 0, Placement.ZEROS)
            end = start
        stop = min(piece.end_bytes, size_bytes)
        if stop > end:
            skipped = end - piece.offset_bytes
            yield Placed(end, stop - end, piece.physical_bytes + skipped, piece.placement)
            end = stop
    if end < size_bytes:
        yield Placed(end, size_bytes - end, 0, Placement.ZEROS)


def _differences(base: Iterator[Placed], new: Iterator[Placed]) -> Iterator[Range]:
    one, other = next(base, None), next(new, None)
    while one is not None and other is not None:
        start, one_end, other_end = (
            max(one.offset_bytes, other.offset_bytes),
            one.end_bytes,
            other.end_bytes,
        )
        end = min(one_end, other_end)
        if _differs(one, other, start):
            yield Range(start, end - start)
        if one_end == end:
            one = next(base, None)
        if other_end == end:
            other = next(new, None)


def _differs(one: Placed, other: Placed, offset_bytes: int) -> bool:
    if one.placement is not other.placement or one.placement is Placement.UNCLEAR:
        return True
    if one.placement is Placement.ZEROS:
        return False
    here = one.physical_bytes + offset_bytes - one.offset_bytes
    there = other.physical_bytes + offset_bytes - other.offset_bytes
    return here != there


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Yields ranges that are in order, joined where they touch or overlap."""
    start = end = 0
    for one in ranges:
        if one.offset_bytes > end:
            if end > start:
                yield Range(start, end - start)
            start = one.offset_bytes
        end = max(end, one.end_bytes)
    if end > start:
        yield Range(start, end - start)
