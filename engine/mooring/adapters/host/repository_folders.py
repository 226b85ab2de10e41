"""Publishing a backup repository's own folder to a mover.

The administrator's folder and the namespace's folder in it belong to root, so a tenant cannot put
a link in the place of either; only the last one belongs to the mover's group. Every step is opened
beneath the one before it and never through a link.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from mooring.domain import errors, handles
from mooring.planning import repository_plan
from mooring.ports import host

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMESPACE_MODE = 0o711
_REPOSITORY_MODE = 0o770

Entries = Callable[[], tuple[repository_plan.FolderEntry, ...]]


class RepositoryFolders:
    """Folders of this node, by the administrator's list."""

    def __init__(self, ports: host.Host, entries: Entries, group_id: int) -> None:
        """Takes what reads the present list, and the group that gets a repository's folder."""
        self._host = ports
        self._entries = entries
        self._group_id = group_id

    def publish(self, handle: handles.RepositoryFolder, target_path: str, read_only: bool) -> None:
        """Binds a repository's folder to a target, making it when it is missing.

        Raises:
            PermissionDenied: The list has no such entry for that namespace.
            PreconditionFailed: The entry's folder is missing, or something else is mounted there.
            HostFailure: The folder cannot be made, for example because it is read-only.
        """
        entry = repository_plan.allowed_folder(self._entries(), handle.entry, handle.namespace)
        folder = Path(entry.path) / handle.namespace / handle.repository
        identity = self._make(Path(entry.path), handle)
        target = self._host.paths.resolve(target_path)
        mounted = any(mount.target == target for mount in self._host.mounts.table())
        if mounted and self._identity(target) == identity:
            return
        if mounted:
            raise errors.PreconditionFailed(f"something else is mounted at {target}")
        self._host.paths.make_folder(target)
        self._host.mounts.bind(folder, target, ("ro",) if read_only else ())
        if self._identity(target) != identity:
            self._host.mounts.unmount(target)
            raise errors.HostFailure(f"the folder did not appear at {target}")

    def unpublish(self, handle: handles.RepositoryFolder, target_path: str) -> None:
        """Takes a folder away from a target; nothing in it is touched. Repeating is no error."""
        target = self._host.paths.resolve(target_path)
        self._host.mounts.unmount(target)
        self._host.paths.remove(target)

    def _identity(self, path: Path) -> tuple[int, int]:
        found = path.stat(follow_symlinks=False)
        return found.st_dev, found.st_ino

    def _make(self, root: Path, handle: handles.RepositoryFolder) -> tuple[int, int]:
        """Makes the folders below an entry; returns device and inode of the repository's."""
        try:
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.PreconditionFailed(
                f"the folder of entry {handle.entry!r} cannot be opened on this node: "
                f"{error.strerror}. Create it, or correct the list in ConfigMap mooring-config"
            ) from error
        try:
            for name, mode in (
                (handle.namespace, _NAMESPACE_MODE),
                (handle.repository, _REPOSITORY_MODE),
            ):
                below = _below(descriptor, name, mode)
                os.close(descriptor)
                descriptor = below
            found = os.fstat(descriptor)
            if found.st_gid != self._group_id or stat.S_IMODE(found.st_mode) != _REPOSITORY_MODE:
                os.fchown(descriptor, -1, self._group_id)
                os.fchmod(descriptor, _REPOSITORY_MODE)
            return found.st_dev, found.st_ino
        except OSError as error:
            raise errors.HostFailure(
                f"the repository's folder in entry {handle.entry!r} cannot be made on this node: "
                f"{error.strerror}"
            ) from error
        finally:
            os.close(descriptor)


def _below(parent: int, name: str, mode: int) -> int:
    """Opens a folder beneath another one, making it when it is missing."""
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, mode, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, _OPEN_FOLDER, dir_fd=parent)
