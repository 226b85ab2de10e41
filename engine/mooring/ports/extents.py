"""The port of how a pool's images lie on its disk; a pool whose disk cannot tell has none."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mooring.domain import extents, ids


class Relayout(Protocol):
    """A part of one image that is being laid out in one new place, while the image is in use.

    Each piece is copied, the copies are settled, and then the image takes them over one by one.
    A kill anywhere leaves the image with the same bytes; the rest of the new place goes by itself.
    """

    def copy(self, offset_bytes: int, length_bytes: int) -> None:
        """Copies a piece of the image into the new place."""

    def settle(self) -> None:
        """Brings all copies to the disk; none is taken over before."""

    def take_over(self, offset_bytes: int, length_bytes: int) -> bool:
        """Gives the image the blocks of a copied piece, if it still has the same bytes there.

        Writers of the image wait for it. Returns False, and changes nothing, where it was written
        to since.
        """

    def let_go(self, offset_bytes: int, length_bytes: int) -> None:
        """Leaves the image the only owner of a range, so that writes to it stay in place."""


class ImageExtents(Protocol):
    """How the images of one pool lie on its disk."""

    def count(self, image: ids.ImageId) -> int:
        """Returns how many extents an image has, in time but not in memory with their number.

        Raises:
            NotFound: There is no such image.
            HostFailure: The filesystem does not tell.
        """

    def window(
        self, image: ids.ImageId, offset_bytes: int, length_bytes: int
    ) -> Sequence[extents.Extent]:
        """Returns the extents of a part of an image, cut at its ends, in order.

        Raises:
            NotFound: There is no such image.
            HostFailure: The filesystem does not tell.
        """

    def relayout(
        self, image: ids.ImageId, offset_bytes: int, length_bytes: int
    ) -> AbstractContextManager[Relayout]:
        """Makes room in one place for a part of an image; the end of the block gives it back.

        Raises:
            NotFound: There is no such image.
            SpaceExhausted: The pool has no room; nothing was changed.
            HostFailure: A system call failed; the image has the same bytes all the same.
        """


class KeptRanges(Protocol):
    """Ranges of an image that were all found before the first of them is used.

    They lie in a file, so that memory does not grow with their number. Closed by a `with`.
    """

    @property
    def length_bytes(self) -> int:
        """How long all of them are together."""

    @property
    def trusted(self) -> bool:
        """False when the images could not be compared, so that everything counts as changed."""

    def __iter__(self) -> Iterator[extents.Range]:
        """Yields them in order; as often as wanted."""

    def __enter__(self) -> "KeptRanges":
        """Returns itself."""

    def __exit__(self, *_: object) -> None:
        """Gives the file back."""


class ImageTracking(Protocol):
    """What changed between images of one pool that share blocks."""

    def changed(self, base: ids.ImageId, image: ids.ImageId) -> KeptRanges:
        """Returns what of an image is not surely the same in an older one; neither is written to.

        Data that became a hole is a change, and all beyond the older one's end.

        Raises:
            NotFound: There is no such image.
            HostFailure: The filesystem does not tell.
        """

    def allocated(self, image: ids.ImageId) -> KeptRanges:
        """Returns what of an image may hold anything but zeros.

        Raises:
            NotFound: There is no such image.
            HostFailure: The filesystem does not tell.
        """
