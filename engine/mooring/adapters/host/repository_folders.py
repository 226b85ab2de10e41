"""Publishing a backup repository's own folder to a mover.

The administrator's folder and the namespace's folder in it belong to root, so a tenant cannot put
a link in the place of either; only the last one belongs to the mover's group. Every step is opened
beneath the one before it and never through a link.
"""

import errno
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
_DELETED = "//deleted"  # what the kernel shows of a folder that was removed while it was mounted

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
            AlreadyExists: It is published there, but not with the same `read_only`.
            PreconditionFailed: The entry's folder is missing, or something else is mounted there.
            ReadOnly: The folder cannot be made because the entry's folder is read-only.
            SpaceExhausted: It cannot be made because the disk of the entry's folder is full.
        """
        entry = repository_plan.allowed_folder(self._entries(), handle.entry, handle.namespace)
        folder = Path(entry.path) / handle.namespace / handle.repository
        identity = self._make(Path(entry.path), handle)
        target = self._host.paths.resolve(target_path)
        present = self._mounted(target)
        if present is not None and self._identity(target) == identity:
            if ("ro" in present.options) != read_only:
                raise errors.AlreadyExists(f"the folder is published at {target} in another way")
            return
        if present is not None:
            raise errors.PreconditionFailed(
                f"{present.source} is mounted at {target}, where the folder belongs; it is left "
                "alone. Unmount it, if nobody needs it"
            )
        self._host.paths.make_folder(target)
        self._host.mounts.bind(folder, target, ("ro",) if read_only else ())
        if self._identity(target) != identity:
            self._host.mounts.unmount(target)
            raise errors.HostFailure(f"the folder did not appear at {target}")

    def unpublish(self, handle: handles.RepositoryFolder, target_path: str) -> None:
        """Takes a folder away from a target; nothing in it is touched. Repeating is no error.

        The list is not asked: its entry may be gone by now.

        Raises:
            InUse: It is busy.
            PreconditionFailed: Something that is not this folder is mounted there.
        """
        target = self._host.paths.resolve(target_path)
        while (present := self._mounted(target)) is not None:
            root = present.root.removesuffix(_DELETED)
            if not root.endswith(f"/{handle.namespace}/{handle.repository}"):
                raise errors.PreconditionFailed(
                    f"what is mounted at {target} is not {handles.render(handle)}; it is left alone"
                )
            self._host.mounts.unmount(target)
        self._host.paths.remove(target)

    def _mounted(self, target: Path) -> host.Mount | None:
        """Returns the topmost mount at a path."""
        layers = [mount for mount in self._host.mounts.table() if mount.target == target]
        return layers[-1] if layers else None

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
            raise _failure(handle, error) from error
        finally:
            os.close(descriptor)


def _failure(handle: handles.RepositoryFolder, error: OSError) -> errors.MooringError:
    what = (
        f"the repository's folder {handle.namespace}/{handle.repository} in entry "
        f"{handle.entry!r} cannot be made on this node: {error.strerror}"
    )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return errors.ReadOnly(f"{what}. Mount the entry's folder writable")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.SpaceExhausted(f"{what}. Make room there")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return errors.PreconditionFailed(
            f"{what}: a link or file lies in its place, and is left alone. Move it away"
        )
    return errors.HostFailure(what)


def _below(parent: int, name: str, mode: int) -> int:
    """Opens a folder beneath another one, making it when it is missing."""
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, mode, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, _OPEN_FOLDER, dir_fd=parent)
