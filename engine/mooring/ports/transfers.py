"""Ports of a copy from another node: an image's bytes here, and the pieces over there."""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from mooring.domain import ids, transfers, volumes

Parts = Generator[transfers.Part, None, None]
"""An opening, then pieces, then an ending; closing it early ends the copy."""


class ImageWriter(Protocol):
    """One image, opened to be filled."""

    def write(self, piece: transfers.Piece) -> None:
        """Writes a piece in its place.

        Raises:
            SpaceExhausted: The pool is full.
        """

    def sync(self) -> None:
        """Returns when everything written is on the disk."""


class ImageContents(Protocol):
    """The bytes of image files that no device carries for writing."""

    def pieces(self, image: Path, start_bytes: int) -> Iterator[transfers.Piece]:
        """Yields the pieces from an offset on that hold more than zeros, as the disk has them.

        What was written is read back from the disk, not from memory.

        Raises:
            HostFailure: The image cannot be read.
        """

    def writer(self, image: Path) -> AbstractContextManager[ImageWriter]:
        """Opens an existing image to be filled."""


class RemoteSnapshots(Protocol):
    """Snapshots of other nodes."""

    def read(
        self, node: ids.NodeName, snapshot_id: ids.SnapshotId, progress: volumes.PullProgress | None
    ) -> Parts:
        """Reads what is not here yet.

        Args:
            node: The node that holds the snapshot.
            snapshot_id: Which.
            progress: What is here already; None for nothing.

        Raises:
            NotFound: The node answers that it has no such snapshot.
            PermissionDenied: The node was not told to give it to this one, or not lately.
            Unreachable: The node does not answer, or stopped to.
            Busy: It gives as many others as it may at once.
        """
