"""Images that are read as they are needed, and looked into. Only `adapters.host` mounts them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Image(Protocol):
    """Content of a volume that somebody reads, and scribbles on, without changing the original.

    Calls come from several threads at once.
    """

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def read(self, offset: int, length: int) -> bytes:
        """Returns a range, shorter only at the end; any error means that it cannot be read."""

    def write(self, offset: int, data: memoryview) -> None:
        """Changes what later reads see."""


@dataclass(frozen=True)
class Extracted:
    """What was copied out of an image.

    Attributes:
        files: Number of files, folders and links.
        bytes: Their content.
        notes: What was left out and why; at most 20.
    """

    files: int
    bytes: int
    notes: tuple[str, ...]


class ImageViews(Protocol):
    """Looks into the filesystem of an image. Nothing of it is left behind, also after a kill."""

    def extract(
        self,
        image: Image,
        filesystem: str,
        paths: Sequence[str],
        target: Path,
        stopped: Callable[[int], bool],
    ) -> Extracted:
        """Copies files and folders into a folder, each under its own name.

        Args:
            image: The image.
            filesystem: Its type.
            paths: What to copy, from the root of the filesystem.
            target: An existing folder.
            stopped: Told now and then how many bytes are copied; True ends it.

        Raises:
            NotFound: There is no such path, or no such folder; nothing was copied.
            AlreadyExists: The folder has something of that name; nothing was copied.
            DataCorrupt: The filesystem is damaged.
            PermissionDenied: This is not root.
            Cancelled: `stopped` said so; what was begun is removed.
        """

    def show(
        self, image: Image, filesystem: str, target: Path, stopped: Callable[[bool], bool]
    ) -> None:
        """Mounts the filesystem read-only on a folder until told, or until somebody unmounts it.

        Args:
            image: The image.
            filesystem: Its type.
            target: An existing, empty folder.
            stopped: Asked often, from when it is mounted on; told whether somebody still uses it
                and so held up its end.

        Raises:
            NotFound: There is no such folder.
            PreconditionFailed: The folder is not empty, or something is mounted on it.
            DataCorrupt: The filesystem is damaged.
            PermissionDenied: This is not root.
            MooringError: What a read of the image met while it was mounted; told at the end, and
                whoever read got an error.
        """
