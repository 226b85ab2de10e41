"""Publishing to a mover what changed in its snapshot: one small file in the mover's own folder.

Nothing is mounted: the kubelet made the folder for this pod alone, and takes it away with it.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from mooring.adapters.host import files
from mooring.domain import errors, ids
from mooring.domain.extents import ImageRanges
from mooring.planning import change_lists
from mooring.ports import host

FILE = "changes"

Found = tuple[change_lists.Head, ImageRanges]
Find = Callable[[ids.SnapshotId], AbstractContextManager[Found]]
"""Finds what changed in a snapshot since what is kept of its volume's last backup."""


class ChangeLists:
    """Lists of changes for the movers of this node.

    Args:
        paths: The kubelet's paths.
        find: Finds what changed.
    """

    def __init__(self, paths: host.TargetPaths, find: Find) -> None:
        self._paths = paths
        self._find = find

    def publish(self, snapshot_id: ids.SnapshotId, target_path: str) -> None:
        """Writes the list of a snapshot into a target folder; it is there whole or not at all.

        Raises:
            NotFound: There is no such snapshot.
            PreconditionFailed: Something else is at the target.
            HostFailure: The list cannot be written.
        """
        target = self._paths.resolve(target_path)
        self._clear(target)
        self._paths.make_folder(target)
        with self._find(snapshot_id) as (head, image):
            self._write(target, head, image)

    def unpublish(self, target_path: str) -> None:
        """Takes a list and its folder away; an absent one is no error.

        Raises:
            PreconditionFailed: Something else is in the folder.
        """
        target = self._paths.resolve(target_path)
        self._clear(target)
        self._paths.remove(target)

    def _write(self, target: Path, head: change_lists.Head, image: ImageRanges) -> None:
        temporary = files.temporary_name(FILE)
        folder = files.open_folder(target)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o444, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                for piece in change_lists.encode(head, image.ranges):
                    file.write(piece)
                os.fchmod(file.fileno(), 0o444)
            os.fchmod(folder, 0o755)
            files.rename_durably(folder, temporary, FILE)
        except OSError as error:
            raise errors.HostFailure(f"cannot write to {target}: {error.strerror}") from error
        finally:
            os.close(folder)

    def _clear(self, target: Path) -> None:
        try:
            folder = files.open_folder(target)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            for name in (files.temporary_name(FILE), FILE):
                files.remove_durably(folder, name)
        finally:
            os.close(folder)
