"""How an image lies on its pool's disk: in pieces that the backing filesystem calls extents."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Extent:
    """One piece of an image that lies in one place.

    Attributes:
        offset_bytes: Where in the image it begins.
        length_bytes: How long it is.
        written: False where space is reserved but nothing was written yet: it reads as zeros.
        shared: Whether another image has the same blocks.
    """

    offset_bytes: int
    length_bytes: int
    written: bool = True
    shared: bool = False

    @property
    def end_bytes(self) -> int:
        """Where in the image it ends."""
        return self.offset_bytes + self.length_bytes


class Placement(enum.Enum):
    """What a filesystem says of a piece of an image."""

    ZEROS = "Zeros"  # a hole, or reserved and never written: it reads as zeros
    DATA = "Data"  # written, at one known address of the disk
    UNCLEAR = "Unclear"  # written or not, at no address that could be compared


class Placed(NamedTuple):
    """One piece of an image, and where on the disk its bytes lie.

    Attributes:
        offset_bytes: Where in the image it begins.
        length_bytes: How long it is.
        physical_bytes: Where on the disk it begins; means something only for data.
        placement: What is known of it.
    """

    offset_bytes: int
    length_bytes: int
    physical_bytes: int
    placement: Placement

    @property
    def end_bytes(self) -> int:
        """Where in the image it ends."""
        return self.offset_bytes + self.length_bytes


class Range(NamedTuple):
    """A part of an image.

    Attributes:
        offset_bytes: Where it begins.
        length_bytes: How long it is.
    """

    offset_bytes: int
    length_bytes: int

    @property
    def end_bytes(self) -> int:
        """Where it ends."""
        return self.offset_bytes + self.length_bytes


@dataclass(frozen=True)
class ImageRanges:
    """Parts of an image that somebody has to read.

    Attributes:
        size_bytes: Size of the image.
        trusted: False when they could not be told, and everything is named.
        ranges: In order, without touching each other.
    """

    size_bytes: int
    trusted: bool
    ranges: Iterable[Range]
