"""Small files written so that a power cut leaves the old content or the new, never half of one.

Names are taken beneath an open folder and never followed through symbolic links.
"""

import os
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


def open_folder(folder: Path) -> int:
    """Opens a folder to work beneath; the caller closes the descriptor."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def retire(descriptor: int) -> None:
    """Lets go of an open folder that somebody may still be about to use.

    The number stays taken, by something beneath which there is nothing: a late use fails, and
    never finds another folder that was given the same number.
    """
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.dup2(nothing, descriptor, inheritable=False)
    finally:
        os.close(nothing)


def temporary_name(name: str) -> str:
    """Returns the name that a file of this name is made under, which listings skip."""
    return f".{name}{TEMPORARY_SUFFIX}"


def write_durably(folder: int, name: str, content: bytes) -> None:
    """Writes or replaces one file beneath an open folder, and returns when it is on the disk."""
    temporary = temporary_name(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename_durably(folder, temporary, name)


def rename_durably(folder: int, old: str, new: str) -> None:
    """Renames a file that is itself on the disk already, and returns when the name is too."""
    os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def remove_durably(folder: int, name: str) -> bool:
    """Removes one file beneath an open folder; returns whether there was one."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    os.fsync(folder)
    return True


def read(folder: int, name: str) -> bytes | None:
    """Reads one whole file beneath an open folder, or returns None if there is none."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _opened_to_list(folder: int) -> int:
    """Opens an open folder once more, to list it; the caller closes the descriptor.

    On btrfs a descriptor lists only what was there when it was opened.
    """
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)


def names(folder: int) -> list[str]:
    """Returns the names in an open folder, sorted."""
    fresh = _opened_to_list(folder)
    try:
        return sorted(os.listdir(fresh))  # noqa: PTH208 (a descriptor, not a path)
    finally:
        os.close(fresh)


def remove_leftovers(folder: int) -> None:
    """Removes temporary files of a writer that was killed; only for a folder's sole opener."""
    for name in names(folder):
        if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
            remove_durably(folder, name)
