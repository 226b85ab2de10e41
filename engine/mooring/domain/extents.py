"""How an image lies on its pool's disk: in pieces that the backing filesystem calls extents."""

from dataclasses import dataclass


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
