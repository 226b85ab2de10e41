"""Packs in few bytes each, for collections whose memory shall not grow with the repository."""

import bisect
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mooring.backup.format import layout, segments
from mooring.domain import records

_RECORD = struct.Struct(f"<{layout.PACK_NAME_BYTES}sQq")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_FEWEST_SLOTS = 64


class ListedPack(NamedTuple):
    """What a listing says of a pack.

    Attributes:
        name: Its name.
        size_bytes: Its length.
        modified_at: When it was written, by the store's clock.
    """

    name: bytes
    size_bytes: int
    modified_at: datetime


class PackCensus(Mapping[bytes, ListedPack]):
    """The packs of a listing by name; goes through them sorted by name, at 32 bytes each."""

    def __init__(self, found: Iterable[ListedPack]) -> None:
        packed = (
            _RECORD.pack(pack.name, pack.size_bytes, (pack.modified_at - _EPOCH) // _MICROSECOND)
            for pack in found
        )
        self._records = records.joined_in_order(packed, _RECORD.size)

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __iter__(self) -> Iterator[bytes]:
        return (pack.name for pack in self.in_order())

    def __getitem__(self, name: bytes) -> ListedPack:
        place = self.place(name)
        if place is None:
            raise KeyError(name)
        return _listed(*_RECORD.unpack_from(self._records, place * _RECORD.size))

    def place(self, name: bytes) -> int | None:
        """Returns how many packs come before one; None when it is not among them."""
        place = bisect.bisect_left(range(len(self)), name, key=self._name)
        return place if place < len(self) and self._name(place) == name else None

    def in_order(self) -> Iterator[ListedPack]:
        """Yields all of them, by name."""
        return (_listed(*values) for values in _RECORD.iter_unpack(self._records))

    def _name(self, place: int) -> bytes:
        start = place * _RECORD.size
        return bytes(self._records[start : start + layout.PACK_NAME_BYTES])


def _listed(name: bytes, size_bytes: int, modified_us: int) -> ListedPack:
    return ListedPack(name, size_bytes, _EPOCH + modified_us * _MICROSECOND)


class PackList:
    """The packs that index segments name, numbered as they come. For one writer at a time.

    Names are random, so their first bytes serve as a hash; the table of slots is at most two thirds
    full.
    """

    def __init__(self) -> None:
        self._records = bytearray()
        self._slots = array("L", [0]) * _FEWEST_SLOTS

    def __len__(self) -> int:
        return len(self._records) // segments.PACK.size

    def __getitem__(self, number: int) -> segments.PackInfo:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return segments.PackInfo(
            *segments.PACK.unpack_from(self._records, number * segments.PACK.size)
        )

    def __iter__(self) -> Iterator[segments.PackInfo]:
        return (self[number] for number in range(len(self)))

    def number(self, name: bytes) -> int | None:
        """Returns the number of a pack; None when it was not added."""
        return self._slots[self._slot(name)] - 1 if self._slots[self._slot(name)] else None

    def add(self, pack: segments.PackInfo) -> int:
        """Adds a pack that is not there yet, and returns its number."""
        if 3 * (len(self) + 1) > 2 * len(self._slots):
            self._grow()
        self._slots[self._slot(pack.name)] = len(self) + 1
        self._records += segments.PACK.pack(pack.name, pack.salt, pack.size_bytes)
        return len(self) - 1

    def _slot(self, name: bytes) -> int:
        """Returns the slot that holds a pack, or the free one where it belongs."""
        slot = int.from_bytes(name[:8], "little") % len(self._slots)
        while (taken := self._slots[slot]) and self._name(taken - 1) != name:
            slot = (slot + 1) % len(self._slots)
        return slot

    def _grow(self) -> None:
        self._slots = array("L", [0]) * (2 * len(self._slots))
        for number in range(len(self)):
            self._slots[self._slot(self._name(number))] = number + 1

    def _name(self, number: int) -> bytes:
        start = number * segments.PACK.size
        return bytes(self._records[start : start + layout.PACK_NAME_BYTES])
