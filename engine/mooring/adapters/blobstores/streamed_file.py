"""A new file that is written from its beginning to its end, past the kernel's cache if it is large.

Nobody reads a pack soon, and through the cache each would push out what programs on the node use,
at the price of one more copy.
"""

import contextlib
import errno
import fcntl
import mmap
import os

from mooring.ports import blobstores

_ROOM_BYTES = 1 << 20


class StreamedFile:
    """Gathers what is written into pieces of whole pages.

    Args:
        file: Descriptor of the empty file, which stays the caller's.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._room = mmap.mmap(-1, _ROOM_BYTES)  # memory of whole pages, as direct writes need it
        self._used = 0
        self._direct: bool | None = None

    def write(self, data: blobstores.Buffer) -> None:
        """Appends bytes.

        Raises:
            OSError: The filesystem gave an error; nothing more can be written.
        """
        rest = memoryview(data)
        while rest:
            count = min(len(rest), _ROOM_BYTES - self._used)
            self._room[self._used : self._used + count] = rest[:count]
            self._used += count
            rest = rest[count:]
            if self._used == _ROOM_BYTES:
                self._drain()

    def finish(self) -> None:
        """Writes what is left; making it durable is the caller's.

        Raises:
            OSError: The filesystem gave an error.
        """
        if self._direct:
            self._set_direct(wanted=False)
        self._drain()

    def _drain(self) -> None:
        if self._direct is None and self._used == _ROOM_BYTES:
            self._set_direct(wanted=True)
        with memoryview(self._room) as room:
            rest = room[: self._used]
            while rest:
                rest = rest[self._write(rest) :]
                if rest and self._direct:  # what is left, and the place, may be no whole pages
                    self._set_direct(wanted=False)
        self._used = 0

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._file, data)
        except OSError as error:
            if not self._direct or error.errno != errno.EINVAL:
                raise
        self._set_direct(wanted=False)  # it said that it could, and cannot
        return os.write(self._file, data)

    def _set_direct(self, *, wanted: bool) -> None:
        self._direct = False
        with contextlib.suppress(OSError):  # not every filesystem can
            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags)
            self._direct = wanted
