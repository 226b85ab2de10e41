"""A backup as an image that is fetched as it is read.

What is written goes to a scratch file and never to the repository. So a filesystem can replay its
journal: a backup is what a power cut would have left, and its files are right only after that.
"""

import os
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path

from mooring.backup import repository as repositories
from mooring.backup import tree_walk
from mooring.backup.format import layout
from mooring.domain import backups, errors

_GROUP_BYTES = 1 << 20
_CACHED_GROUPS = 64
_SILENCE_SECONDS = 5.0
"""For so long after a store was waited for in vain, or new credentials, nobody else waits. The
kernel asks for what was read ahead page by page, and each page would have the whole patience."""


class LazyImage:
    """Content of a backup, for the time of a `with` block; for several threads.

    Attributes:
        size_bytes: Size of the volume.
        bytes_read: Bytes fetched from the repository so far.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        manifest: backups.BackupManifest,
        scratch: Path,
    ) -> None:
        """Fetches nothing yet.

        Args:
            repository: Where from.
            manifest: Of the backup.
            scratch: Folder for what is written: as much as a filesystem's journal. It has no name
                there, and is gone with this process.

        Raises:
            DataCorrupt: The index is damaged.
            PermissionDenied: The folder cannot be written.
        """
        self.size_bytes = manifest.volume.size_bytes
        self.bytes_read = 0
        self._content = tree_walk.Content(repository, manifest, walks=False)
        self._chunk_size = manifest.chunk_size_bytes
        self._group_chunks = max(1, _GROUP_BYTES // self._chunk_size)
        self._tree = threading.Lock()
        self._groups: OrderedDict[int, Future[dict[int, bytes]]] = OrderedDict()
        self._cache = threading.Lock()
        self._written: set[int] = set()
        self._writing = threading.Lock()
        self._silence_ends = 0.0
        self._refusal: errors.MooringError = errors.Unreachable("the store does not answer")
        try:
            self._scratch = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed at the end of the block
        except OSError as error:
            raise errors.PermissionDenied(
                f"cannot write to {scratch}: {error.strerror}; name another folder with --scratch"
            ) from error

    def __enter__(self) -> "LazyImage":
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()

    def read(self, offset: int, length: int) -> bytes:
        """Returns a range, shorter only at the end.

        Raises:
            DataCorrupt: Something of it is missing or damaged.
            Unreachable: The store does not answer.
        """
        end = min(offset + length, self.size_bytes)
        parts = []
        while offset < end:
            number, inside = divmod(offset, self._chunk_size)
            size = min(self._chunk_size - inside, end - offset)
            parts.append(self._chunk(number)[inside : inside + size])
            offset += size
        return b"".join(parts)

    def write(self, offset: int, data: memoryview) -> None:
        """Changes what later reads see.

        Raises:
            DataCorrupt: What lies around it is missing or damaged.
            SpaceExhausted: The scratch folder is full.
        """
        done = 0
        with self._writing:
            while done < len(data):
                number, inside = divmod(offset + done, self._chunk_size)
                piece = data[done : done + self._chunk_size - inside]
                if number not in self._written:
                    self._put(self._chunk(number), number * self._chunk_size)
                    self._written.add(number)
                self._put(piece, number * self._chunk_size + inside)
                done += len(piece)

    def _put(self, data: bytes | memoryview, offset: int) -> None:
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._scratch.fileno(), view, offset)
                view, offset = view[count:], offset + count
        except OSError as error:
            raise errors.SpaceExhausted(
                f"the journal cannot be replayed, because the scratch folder takes no more: "
                f"{error.strerror}; name another with --scratch"
            ) from error

    def _chunk(self, number: int) -> bytes:
        length = self._content.chunk_length(number)
        if number in self._written:
            return os.pread(self._scratch.fileno(), length, number * self._chunk_size)
        return self._group(number // self._group_chunks).get(number) or bytes(length)

    def _group(self, group: int) -> dict[int, bytes]:
        """Returns some neighbouring chunks, zero ones left out; each group is fetched by one."""
        with self._cache:
            known = self._groups.get(group)
            if known is not None:
                self._groups.move_to_end(group)
            else:
                future = self._groups[group] = Future()
                while len(self._groups) > _CACHED_GROUPS:
                    self._groups.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            future.set_result(self._attempt(group))
        except BaseException as error:
            with self._cache:  # the next one tries again
                self._groups.pop(group, None)
            future.set_exception(error)
        return future.result()

    def _attempt(self, group: int) -> dict[int, bytes]:
        if time.monotonic() < self._silence_ends:
            raise type(self._refusal)(str(self._refusal))
        try:
            return self._fetch(group)
        except (errors.Unreachable, errors.PermissionDenied) as error:
            self._refusal = error
            self._silence_ends = time.monotonic() + _SILENCE_SECONDS
            raise

    def _fetch(self, group: int) -> dict[int, bytes]:
        first = group * self._group_chunks
        last = min(first + self._group_chunks, self._content.manifest.chunk_count)
        places: dict[bytes, list[int]] = {}
        with self._tree:
            for number in range(first, last):
                ident = self._content.chunk_id(number)
                if ident != layout.ZERO_ID:
                    places.setdefault(ident, []).append(number)
        found: dict[int, bytes] = {}
        for planned in self._content.reader.locate(places):
            for ident, data in self._content.reader.read(planned):
                for number in places[ident]:
                    if len(data) != self._content.chunk_length(number):
                        raise errors.DataCorrupt(f"chunk {ident.hex()} has a wrong length")
                    found[number] = data
            with self._cache:
                self.bytes_read += planned.length
        return found
