"""Reads the list of changes that a mover is given beside its device."""

from collections.abc import Iterator
from pathlib import Path

from mooring.domain import backups, errors, extents
from mooring.planning import change_lists

_PIECE_BYTES = 64 << 10


def read(path: Path, size_bytes: int) -> tuple[backups.Changes | None, str]:
    """Reads a list whole, to be sure of it.

    Args:
        path: The file.
        size_bytes: Size of the device that it is of.

    Returns:
        What changed, or None and why nothing is known. That costs the saving, never the backup.
    """
    try:
        with path.open("rb") as file:
            head, _ = change_lists.decode_head(file.read(change_lists.MAXIMUM_HEAD_BYTES))
        if head.since is None:
            return None, "nothing is kept of an earlier backup"
        if head.size_bytes != size_bytes:
            return None, f"the list of changes is of {head.size_bytes} bytes, not {size_bytes}"
        listed = ListedRanges(path)
        for _ in listed:
            pass
    except OSError as error:
        return None, f"the list of changes {path} cannot be read: {error.strerror}"
    except (errors.DataCorrupt, errors.Unsupported) as error:
        return None, str(error)
    changes = backups.Changes(
        backups.BackupId(head.since.backup_id),
        backups.RepositoryId(head.since.repository_id),
        head.base_size_bytes,
        listed,
    )
    return changes, ""


class ListedRanges:
    """The ranges of a list; gone through as often as wanted, without holding them in memory.

    Args:
        path: The list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[extents.Range]:
        with self._path.open("rb") as file:
            head, start = change_lists.decode_head(file.read(change_lists.MAXIMUM_HEAD_BYTES))
            file.seek(start)
            pieces = iter(lambda: file.read(_PIECE_BYTES), b"")
            yield from change_lists.decode_ranges(pieces, head.size_bytes)
