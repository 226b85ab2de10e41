"""Where files that share blocks lie on their disk, and what that tells of their difference.

The kernel is asked each time anew (FIEMAP); only what was found out is written to a file, which
has no name and is gone with this process.
"""

import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator

from mooring.adapters.host import syscalls
from mooring.domain.extents import Placed, Placement, Range
from mooring.planning import changed_ranges

_EXTENTS_A_CALL = 2048
_WHOLE_BYTES = (1 << 63) - 1
_HARMLESS = (
    syscalls.FIEMAP_EXTENT_LAST | syscalls.FIEMAP_EXTENT_MERGED | syscalls.FIEMAP_EXTENT_SHARED
)
_RANGE = struct.Struct("<QQ")
_RANGES_A_READ = 4096


def pieces(descriptor: int) -> Iterator[Placed]:
    """Yields how an open file lies on its disk, after what is cached was written back."""
    begin = 0
    while True:
        some = syscalls.map_extents(
            descriptor, begin, _WHOLE_BYTES - begin, _EXTENTS_A_CALL, syscalls.FIEMAP_FLAG_SYNC
        )
        for offset_bytes, physical_bytes, length_bytes, flags in some:
            yield Placed(offset_bytes, length_bytes, physical_bytes, placement(flags))
        if len(some) < _EXTENTS_A_CALL or some[-1][3] & syscalls.FIEMAP_EXTENT_LAST:
            return
        begin = some[-1][0] + some[-1][2]


def placement(flags: int) -> Placement:
    """Returns what an extent's flags tell; one that is not known makes it unclear."""
    rest = flags & ~_HARMLESS
    if not rest:
        return Placement.DATA
    return Placement.ZEROS if rest == syscalls.FIEMAP_EXTENT_UNWRITTEN else Placement.UNCLEAR


def changed(base: int, new: int) -> "SpilledRanges":
    """Returns what of an open file is not surely the same in an older one of its filesystem."""
    base_status, new_status = os.fstat(base), os.fstat(new)
    spilled = SpilledRanges()
    try:
        if base_status.st_dev != new_status.st_dev:  # addresses of different disks say nothing
            spilled.keep([Range(0, new_status.st_size)])
            spilled.trusted = False
            return spilled
        spilled.trusted = changed_ranges.compare(
            _reader(base),
            _reader(new),
            (base_status.st_size, new_status.st_size),
            spilled.keep,
        )
    except BaseException:
        spilled.close()
        raise
    return spilled


def allocated(descriptor: int) -> "SpilledRanges":
    """Returns what of an open file may hold anything but zeros."""
    spilled = SpilledRanges()
    try:
        size_bytes = os.fstat(descriptor).st_size
        spilled.keep(changed_ranges.allocated(pieces(descriptor), size_bytes))
    except BaseException:
        spilled.close()
        raise
    return spilled


def _reader(descriptor: int) -> Callable[[], Iterator[Placed]]:
    return lambda: pieces(descriptor)


class SpilledRanges:
    """Ranges in a file without a name; implements `ports.extents.KeptRanges`.

    Attributes:
        length_bytes: How long all of them are together.
        trusted: Whether they are what changed, and not just everything.
    """

    def __init__(self) -> None:
        self.length_bytes = 0
        self.trusted = True
        self._file = tempfile.TemporaryFile(prefix="mooring-ranges-")  # noqa: SIM115 - by close()

    def keep(self, ranges: Iterable[Range]) -> None:
        """Replaces what was kept before."""
        self._file.seek(0)
        self._file.truncate()
        self.length_bytes = 0
        for one in ranges:
            self._file.write(_RANGE.pack(*one))
            self.length_bytes += one.length_bytes
        self._file.flush()

    def __iter__(self) -> Iterator[Range]:
        position = 0
        while records := os.pread(self._file.fileno(), _RANGES_A_READ * _RANGE.size, position):
            yield from map(Range._make, _RANGE.iter_unpack(records))
            position += len(records)

    def __enter__(self) -> "SpilledRanges":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()
