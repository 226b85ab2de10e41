"""The file that tells a mover what changed in its snapshot since a backup. Pure bytes.

One line of JSON, then the ranges as pairs of little-endian 64-bit numbers (offset, length), then an
ending with their number. A list that is cut short anywhere is not taken for a shorter one.
"""

import itertools
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mooring.domain import backups, errors, extents, volumes

MAXIMUM_HEAD_BYTES = 4096
_FORMAT = 1
_RANGE = struct.Struct("<QQ")
_ENDING = struct.Struct("<8sQ")
_MAGIC = b"MOORINGE"
_RANGES_A_PIECE = 4096


@dataclass(frozen=True)
class Head:
    """What a list is of.

    Attributes:
        size_bytes: Size of the snapshot.
        since: The backup since which the changes are listed; None when nothing is known.
        base_size_bytes: Size of the volume in that backup.
    """

    size_bytes: int
    since: volumes.BackupBase | None = None
    base_size_bytes: int = 0


def encode(head: Head, ranges: Iterable[extents.Range]) -> Iterator[bytes]:
    """Yields the content of a list, piece by piece."""
    document = {
        "format": _FORMAT,
        "sizeBytes": head.size_bytes,
        "since": None
        if head.since is None
        else {
            "repositoryId": head.since.repository_id,
            "backupId": head.since.backup_id,
            "sizeBytes": head.base_size_bytes,
        },
    }
    yield json.dumps(document).encode() + b"\n"
    count, remaining = 0, iter(ranges)
    while some := list(itertools.islice(remaining, _RANGES_A_PIECE)):
        count += len(some)
        yield b"".join(itertools.starmap(_RANGE.pack, some))
    yield _ENDING.pack(_MAGIC, count)


def decode_head(content: bytes) -> tuple[Head, int]:
    """Reads the head from the first `MAXIMUM_HEAD_BYTES` of a list.

    Returns:
        The head, and where the ranges begin.

    Raises:
        DataCorrupt: It is no list.
        Unsupported: A newer Mooring wrote it.
    """
    line, end, _ = content.partition(b"\n")
    try:
        document = json.loads(line)
        if document["format"] != _FORMAT:
            raise errors.Unsupported("the list of changes was written by a newer Mooring")
        since = document["since"]
        head = Head(int(document["sizeBytes"]))
        if since is not None:
            base = volumes.BackupBase(
                str(since["repositoryId"]), backups.parse_backup_id(str(since["backupId"]))
            )
            head = Head(head.size_bytes, base, int(since["sizeBytes"]))
    except (ValueError, TypeError, KeyError, RecursionError, errors.InvalidInput) as error:
        raise errors.DataCorrupt("the list of changes cannot be read") from error
    if not end:
        raise errors.DataCorrupt("the list of changes is cut short")
    return head, len(line) + 1


def decode_ranges(pieces: Iterable[bytes], size_bytes: int) -> Iterator[extents.Range]:
    """Reads what follows the head, in pieces of any size.

    Raises:
        DataCorrupt: It is cut short, or cannot be right.
    """
    rest, count, end = b"", 0, 0
    for piece in pieces:
        rest += piece
        whole = max(0, len(rest) - _ENDING.size) // _RANGE.size * _RANGE.size
        for offset, length in _RANGE.iter_unpack(rest[:whole]):
            if offset < end or not length or offset + length > size_bytes:
                raise errors.DataCorrupt("the list of changes names a range that cannot be")
            end, count = offset + length, count + 1
            yield extents.Range(offset, length)
        rest = rest[whole:]
    if len(rest) != _ENDING.size or _ENDING.unpack(rest) != (_MAGIC, count):
        raise errors.DataCorrupt("the list of changes is cut short")
