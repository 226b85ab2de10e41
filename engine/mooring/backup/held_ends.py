"""The ends of a device that is filled: empty until the rest is durable, and the superblocks last.

At its ends is what a device is known by: superblocks, partition tables, headers of encryption and
of arrays. `blkid`, `mount` and installers look there. So a restore that is killed, or fails, leaves
nothing that looks ready, neither of what it restores nor of what was there before.
"""

import contextlib
import os
import threading
from collections.abc import Sequence

from mooring.backup import direct_reads
from mooring.domain import errors

_HEAD_BYTES = 8 << 20
"""Beyond all that blkid looks for at a device's beginning; second headers of LUKS reach 4 MiB."""
_TAIL_BYTES = 1 << 20
"""The same at its end: partition tables, arrays, ZFS."""
_PAGE_BYTES = 4096
_BTRFS = 64 << 10
_LAST = ((_PAGE_BYTES, _BTRFS), (_BTRFS, _BTRFS + _PAGE_BYTES), (0, _PAGE_BYTES))
"""Parts of the head, as start and end, in the order in which they follow all else: a superblock is
in one page, which the kernel writes whole or not at all when the process is killed."""


class HeldEnds:
    """What belongs at the ends of a device, in memory until it is complete. Thread-safe.

    Attributes:
        begun: Whether the ends of the device are empty.
    """

    def __init__(self, file: int, size_bytes: int) -> None:
        """Reads what is there; nothing is changed yet.

        Args:
            file: Of the device.
            size_bytes: Of the device.
        """
        self.begun = False
        self._file = file
        head = min(_HEAD_BYTES, size_bytes)
        tail = max(head, size_bytes - _TAIL_BYTES)
        self._ends = [(0, _read(file, 0, head)), (tail, _read(file, tail, size_bytes - tail))]
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Empties both ends durably, before anything is written elsewhere.

        Raises:
            OSError: The device gave an error.
        """
        with self._lock:
            if self.begun:
                return
            for start, content in self._ends:
                write_all(self._file, bytes(len(content)), start)
            os.fsync(self._file)
            self.begun = True

    def holds(self, offset: int, length: int) -> bool:
        """Tells whether a range is not wholly between the ends."""
        (_, head), (tail, _) = self._ends
        return offset < len(head) or offset + length > tail

    def write(self, data: memoryview, offset: int) -> None:
        """Writes a range: what belongs to the ends into memory.

        Raises:
            OSError: The device gave an error.
        """
        (_, head), (tail, _) = self._ends
        for start, content in self._ends:
            part = _overlap(offset, len(data), start, len(content))
            if part is not None:
                first, end = part
                content[first - start : end - start] = data[first - offset : end - offset]
        part = _overlap(offset, len(data), len(head), tail - len(head))
        if part is not None:
            write_all(self._file, data[part[0] - offset : part[1] - offset], part[0])

    def overlay(self, buffer: memoryview, offset: int) -> None:
        """Puts what is held of a range into a buffer with what the device has there."""
        for start, content in self._ends:
            part = _overlap(offset, len(buffer), start, len(content))
            if part is not None:
                first, end = part
                buffer[first - offset : end - offset] = content[first - start : end - start]

    def release(self) -> None:
        """Writes the ends, the superblocks last; the rest is durable. Reads them back as well.

        Raises:
            DataCorrupt: The device did not keep them; they are empty again, if it lets them.
            OSError: The device gave an error; the same.
        """
        self.begin()
        try:
            self._write_ends()
            for start, content in self._ends:
                if content and direct_reads.read_anew(self._file, start, len(content)) != content:
                    raise errors.DataCorrupt(
                        "the target did not keep what was written at its ends. Do not use it; "
                        "restore to other hardware"
                    )
        except BaseException:
            self.begun = False
            with contextlib.suppress(OSError):
                self.begin()
            raise

    def _write_ends(self) -> None:
        (_, head), (tail_start, tail) = self._ends
        behind = _LAST[1][1]
        write_all(self._file, tail, tail_start)
        write_all(self._file, memoryview(head)[behind:], behind)
        os.fsync(self._file)
        for start, end in _LAST:
            part = memoryview(head)[start:end]
            if any(part):  # it is empty already
                write_all(self._file, part, start)
                os.fsync(self._file)


def write_parts(file: int, ends: HeldEnds | None, parts: Sequence[bytes], offset: int) -> None:
    """Writes buffers one after the other; what belongs to the ends of a device is held.

    Raises:
        OSError: The file or device gave an error.
    """
    length = sum(map(len, parts))
    if ends is not None:
        ends.begin()
        if ends.holds(offset, length):
            ends.write(memoryview(b"".join(parts)), offset)
            return
    count = os.pwritev(file, parts, offset)
    if count < length:
        write_all(file, b"".join(parts)[count:], offset + count)


def write_all(file: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes all of a buffer.

    Raises:
        OSError: The device gave an error.
    """
    rest = memoryview(data)
    while rest:
        count = os.pwrite(file, rest, offset)
        rest = rest[count:]
        offset += count


def _read(file: int, offset: int, length: int) -> bytearray:
    """Returns what is there; what cannot be read is worth nothing."""
    try:
        return bytearray(os.pread(file, length, offset).ljust(length, b"\0"))
    except OSError:
        return bytearray(length)


def _overlap(offset: int, length: int, start: int, size: int) -> tuple[int, int] | None:
    first, end = max(offset, start), min(offset + length, start + size)
    return (first, end) if first < end else None
