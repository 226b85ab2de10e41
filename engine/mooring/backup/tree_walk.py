"""Cuts a backup's content into windows that fit in memory: what to fetch, and what is zero."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mooring.backup import blob_index, blob_reader, tree_reader
from mooring.backup import repository as repositories
from mooring.backup.format import layout, trees
from mooring.domain import backups, errors

_WINDOW_BYTES = 64 << 20


@dataclass
class Window:
    """Some neighbouring leaves of a backup.

    Attributes:
        places: Ids of chunks, each with the numbers of the chunks that have this content.
        zeros: Ranges that are zero, as offset and length in bytes.
        length: Bytes of the volume that the window covers.
    """

    places: dict[bytes, list[int]] = field(default_factory=dict)
    zeros: list[tuple[int, int]] = field(default_factory=list)
    length: int = 0

    def add_zeros(self, offset: int, length: int) -> None:
        """Adds a range behind those that are there."""
        if self.zeros and sum(self.zeros[-1]) == offset:
            offset, before = self.zeros.pop()
            length += before
        self.zeros.append((offset, length))


class Content:
    """The content of one backup, ready to be read.

    Attributes:
        manifest: Of the backup.
        index: Of its data chunks.
        reader: Fetches its chunks.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        manifest: backups.BackupManifest,
        *,
        walks: bool = True,
    ) -> None:
        """Loads the index.

        Args:
            repository: Which.
            manifest: Of the backup.
            walks: Whether it is gone through from end to end.
        """
        self.manifest = manifest
        nodes = blob_index.for_reading(repository, layout.BlobKind.NODE)
        nodes.load(manifest.origins)
        self.index = blob_index.for_reading(repository, layout.BlobKind.DATA)
        self.index.load(manifest.origins)
        self.reader = blob_reader.BlobReader(repository, self.index)
        self._tree = tree_reader.TreeReader(
            blob_reader.BlobReader(repository, nodes),
            manifest.root,
            manifest.chunk_count,
            walks=walks,
        )

    def lacks(self) -> list[str]:
        """Returns what of the index was found to be damaged or missing so far; in words."""
        return list(dict.fromkeys((*self._tree.lacks(), *self.index.lacks())))

    def chunk_length(self, number: int) -> int:
        """Returns the length of a chunk: the chunk size, but for the last; 0 beyond the end."""
        size = self.manifest.chunk_size_bytes
        return max(0, min(size, self.manifest.volume.size_bytes - number * size))

    def chunk_id(self, number: int) -> bytes:
        """Returns the id of a chunk; zeros when its content is zero, and beyond the end.

        For one thread at a time.

        Raises:
            DataCorrupt: A part of the tree is missing or damaged.
        """
        if number >= self.manifest.chunk_count:
            return layout.ZERO_ID
        return trees.entry(self._tree.leaf(number // trees.FANOUT), number % trees.FANOUT)

    def chunk(self, number: int) -> bytes:
        """Returns the content of a chunk; nothing beyond the end. For one thread at a time.

        Raises:
            DataCorrupt: It, or a part of the tree, is missing or damaged.
        """
        ident, length = self.chunk_id(number), self.chunk_length(number)
        if ident == layout.ZERO_ID:
            return bytes(length)
        (planned,) = self.reader.locate([ident])
        _, content = next(self.reader.read(planned))
        if len(content) != length:
            raise errors.DataCorrupt(f"chunk {ident.hex()} has a wrong length")
        return content

    def windows(self) -> Iterator[Window]:
        """Yields the whole volume in order.

        Raises:
            DataCorrupt: A part of the tree is missing or damaged.
        """
        chunk_size = self.manifest.chunk_size_bytes
        per_window = max(1, _WINDOW_BYTES // (chunk_size * trees.FANOUT))
        leaves = trees.leaf_count(self.manifest.chunk_count)
        for first in range(0, leaves, per_window):
            window = Window()
            for leaf in range(first, min(first + per_window, leaves)):
                self._add_leaf(window, leaf)
            yield window

    def _add_leaf(self, window: Window, leaf: int) -> None:
        chunk_size = self.manifest.chunk_size_bytes
        node = self._tree.leaf(leaf)
        first = leaf * trees.FANOUT
        count = min(trees.FANOUT, self.manifest.chunk_count - first)
        if node == trees.ZERO_NODE:
            length = min(count * chunk_size, self.manifest.volume.size_bytes - first * chunk_size)
            window.length += length
            window.add_zeros(first * chunk_size, length)
            return
        for slot in range(count):
            ident = trees.entry(node, slot)
            number = first + slot
            length = self.chunk_length(number)
            window.length += length
            if ident != layout.ZERO_ID:
                window.places.setdefault(ident, []).append(number)
            else:
                window.add_zeros(number * chunk_size, length)
