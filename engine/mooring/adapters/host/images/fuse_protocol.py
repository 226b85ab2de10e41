"""What the kernel asks of a FUSE filesystem, and the answers; linux/fuse.h has the layouts."""

import struct
from typing import NamedTuple

HEAD = struct.Struct("=IIQQIIIHH")
LOOKUP = 1
FORGET = 2
GETATTR = 3
OPEN = 14
READ = 15
WRITE = 16
STATFS = 17
RELEASE = 18
FSYNC = 20
FLUSH = 25
INIT = 26
INTERRUPT = 36
BATCH_FORGET = 42
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
MAXIMUM_BYTES = 1 << 20
"""Of one read or write."""

_ANSWER = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_RANGE = struct.Struct("=QQI")
_WRITE_BYTES = 40
_INIT = struct.Struct("=IIII")
_INIT_ANSWER = struct.Struct("=IIIIHHIIHHII24x")
_MAJOR = 7
_MINOR = 31
_ASYNC_READ = 1
_BIG_WRITES = 1 << 5
_MAX_PAGES = 1 << 22
_PAGE_BYTES = 4096
_KEEP_CACHE = 1 << 1
_VALID_SECONDS = 1 << 30


class Request(NamedTuple):
    """One question of the kernel.

    Attributes:
        operation: What it asks.
        number: Which answer belongs to it.
        node: About what: 1 is the root folder.
        body: What follows the head.
    """

    operation: int
    number: int
    node: int
    body: memoryview


def parse(data: memoryview) -> Request:
    """Reads a question."""
    length, operation, number, node = HEAD.unpack_from(data)[:4]
    return Request(operation, number, node, data[HEAD.size : length])


def answer(number: int, body: bytes = b"", error: int = 0) -> list[bytes]:
    """Writes an answer: the parts of one write."""
    return [_ANSWER.pack(_ANSWER.size + len(body), -error, number), body]


def initialised(body: memoryview) -> bytes:
    """Answers the first question: how both sides will talk."""
    _, _, ahead, flags = _INIT.unpack_from(body)
    wanted = flags & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
    pages = MAXIMUM_BYTES // _PAGE_BYTES
    # 16 requests in flight at most, and the kernel slows down above 12.
    return _INIT_ANSWER.pack(
        _MAJOR, _MINOR, max(ahead, MAXIMUM_BYTES), wanted, 16, 12, MAXIMUM_BYTES, 1, pages, 0, 0, 0
    )


def attributes(node: int, size_bytes: int, mode: int) -> bytes:
    """Describes a file or folder, for good."""
    valid = struct.pack("=QII", _VALID_SECONDS, 0, 0)
    return valid + _attributes(node, size_bytes, mode)


def entry(node: int, size_bytes: int, mode: int) -> bytes:
    """Answers where a name leads, for good."""
    valid = struct.pack("=QQQQII", node, 0, _VALID_SECONDS, _VALID_SECONDS, 0, 0)
    return valid + _attributes(node, size_bytes, mode)


def opened() -> bytes:
    """Answers that a file is open; what the kernel remembers of it stays true."""
    return struct.pack("=QII", 0, _KEEP_CACHE, 0)


def usage() -> bytes:
    """Answers how full the filesystem is."""
    return struct.pack("=5Q4I24x", 0, 0, 0, 2, 0, _PAGE_BYTES, 255, _PAGE_BYTES, 0)


def read_range(body: memoryview) -> tuple[int, int]:
    """Returns offset and length of what shall be read."""
    _, offset, length = _RANGE.unpack_from(body)
    return int(offset), int(length)


def write_range(body: memoryview) -> tuple[int, memoryview]:
    """Returns offset and content of what shall be written."""
    _, offset, length = _RANGE.unpack_from(body)
    return int(offset), body[_WRITE_BYTES : _WRITE_BYTES + length]


def written(length: int) -> bytes:
    """Answers how much was written."""
    return struct.pack("=II", length, 0)


def _attributes(node: int, size_bytes: int, mode: int) -> bytes:
    blocks = -(-size_bytes // 512)
    times = (0, 0, 0, 0, 0, 0)
    return _ATTRIBUTES.pack(
        node, size_bytes, blocks, *times[:3], *times[3:], mode, 1, 0, 0, 0, _PAGE_BYTES, 0
    )
