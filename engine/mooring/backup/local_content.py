"""What a restore need not fetch: chunks that this machine has already, at the same place.

They are in what the target holds, after a restore that was killed or as the volume's older content,
or in a file beside it, such as an older image of the volume. Nothing is believed: a chunk counts
only when its keyed hash is that of the backup, and what is written is what was hashed.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mooring.backup import devices, tree_walk
from mooring.backup.format import chunks
from mooring.domain import errors

_SLICE_BYTES = 1 << 20
_PATIENCE_WINDOWS = 4


@dataclass
class Found:
    """What came of looking.

    Attributes:
        missing: Chunks that have to be fetched, each with the numbers of its places.
        reused: Bytes that are in the target now without having been fetched.
        written: How many of these had to be written.
    """

    missing: dict[bytes, list[int]] = field(default_factory=dict)
    reused: int = 0
    written: int = 0


class LocalContent:
    """Looks for the chunks of one backup in local files.

    Args:
        content: Of the backup.
        target: What is filled.
        id_key: Names chunks.
        nearby: Another file with similar content, or None.
    """

    def __init__(
        self,
        content: tree_walk.Content,
        target: devices.VolumeTarget,
        id_key: bytes,
        nearby: devices.VolumeSource | None = None,
    ) -> None:
        self._content = content
        self._target = target
        self._id_key = id_key
        self._chunk_size = content.manifest.chunk_size_bytes
        self._zeros = bytes(self._chunk_size)
        self._places: list[devices.VolumeSource | devices.VolumeTarget] = []
        if target.reuse is not devices.Reuse.NOTHING:
            self._places.append(target)
        if nearby is not None and not target.cloned:
            self._places.append(nearby)
        # Restores go through a volume in order: where nothing was found for long, nothing will be.
        self._patience = _PATIENCE_WINDOWS
        self._patient = nearby is not None or target.reuse is devices.Reuse.ALL

    def take(self, pool: ThreadPoolExecutor, places: Mapping[bytes, list[int]]) -> Found:
        """Looks for the chunks of a window.

        Args:
            pool: Does the work.
            places: Ids of chunks, each with the numbers of the chunks that have this content.

        Raises:
            HostFailure: The target could not be written.
        """
        if not self._places or not places or not self._patience:
            return Found(dict(places))
        found = Found()
        for part in pool.map(self._look, self._slices(places)):
            found.reused += part.reused
            found.written += part.written
            for ident, numbers in part.missing.items():
                found.missing.setdefault(ident, []).extend(numbers)
        if not self._patient:
            self._patience = _PATIENCE_WINDOWS if found.reused else self._patience - 1
        return found

    def _slices(self, places: Mapping[bytes, list[int]]) -> Iterator[list[tuple[int, bytes]]]:
        placed = sorted((number, ident) for ident, numbers in places.items() for number in numbers)
        step = max(1, _SLICE_BYTES // self._chunk_size)
        for first in range(0, len(placed), step):
            yield placed[first : first + step]

    def _look(self, placed: list[tuple[int, bytes]]) -> Found:
        found = Found()
        buffer = bytearray(self._chunk_size)
        for number, ident in placed:
            offset = number * self._chunk_size
            view = memoryview(buffer)[: self._content.chunk_length(number)]
            where = self._find(view, offset, ident)
            if where is None:
                found.missing.setdefault(ident, []).append(number)
                continue
            found.reused += len(view)
            if where is not self._target:
                self._target.write([bytes(view)], offset)
                found.written += len(view)
        return found

    def _find(
        self, view: memoryview, offset: int, ident: bytes
    ) -> "devices.VolumeSource | devices.VolumeTarget | None":
        for place in self._places:
            if offset + len(view) > place.size_bytes or place.is_hole(offset, len(view)):
                continue
            try:
                place.read_into(view, offset)
            except errors.HostFailure:  # a bad disk below it, or it shrank: then it is fetched
                continue
            # A chunk of zeros has no id, so it is no chunk that is looked for.
            if view == self._zeros[: len(view)]:
                continue
            if chunks.chunk_id(self._id_key, view) == ident:
                return place
        return None
