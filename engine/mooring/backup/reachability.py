"""Marks what backups reach: every node once, every chunk in a bitmap, nothing held whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mooring.backup import blob_index, blob_reader
from mooring.backup import repository as repositories
from mooring.backup.format import layout, trees
from mooring.domain import errors
from mooring.planning import backup_reads

_BATCH = 64


@dataclass(frozen=True)
class Harm:
    """What is wrong below a node of a tree.

    Attributes:
        unreadable: Nodes that cannot be read, so that nothing is known of what lies below them.
        unlisted: Chunks and nodes that no index segment knows.
        gone: Chunks and nodes whose only packs are missing.
        doomed: Chunks and nodes whose only packs have tombstones.
    """

    unreadable: int = 0
    unlisted: int = 0
    gone: int = 0
    doomed: int = 0

    def __add__(self, other: "Harm") -> "Harm":
        return Harm(
            self.unreadable + other.unreadable,
            self.unlisted + other.unlisted,
            self.gone + other.gone,
            self.doomed + other.doomed,
        )

    @property
    def whole(self) -> bool:
        """True when everything is there, be it doomed."""
        return not (self.unreadable or self.unlisted or self.gone)

    @property
    def words(self) -> str:
        """What is missing, in words."""
        parts = (
            (self.unreadable, "tree nodes cannot be read"),
            (self.unlisted, "chunks are in no index segment"),
            (self.gone, "chunks lie in packs that are missing"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count)


NO_HARM = Harm()


def _silent() -> None:
    return


class Marker:
    """Goes down trees and marks what it meets. For one thread.

    Attributes:
        nodes: Index of all nodes, whose marks say which are reached.
        data: The same of data chunks.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        judge: blob_index.Judge,
        beat: Callable[[], None] = _silent,
        problems: dict[str, str] | None = None,
        *,
        asks_packs: bool = False,
    ) -> None:
        """Loads the whole index.

        Args:
            repository: Which.
            judge: Tells whether a pack is there, or doomed.
            beat: Called often.
            problems: Where to say which index segments cannot be read.
            asks_packs: Whether packs that no readable segment names are asked, all of them.

        Raises:
            DataCorrupt: An index segment is damaged, and `problems` is not given.
        """
        self.nodes, self.data = (
            blob_index.BlobIndex(repository, kind, judge, problems, mapped=False)
            for kind in (layout.BlobKind.NODE, layout.BlobKind.DATA)
        )
        for index in (self.nodes, self.data):
            index.load_all()
            if asks_packs:
                index.ask_packs()
        self._reader = blob_reader.BlobReader(repository, self.nodes, follow=False)
        self._beat = beat
        self._harmed: dict[bytes, Harm] = {}

    def mark(self, root: bytes, chunk_count: int) -> Harm:
        """Marks a tree; what was marked before is not read again.

        Args:
            root: Id of its root.
            chunk_count: Number of chunks of the volume.
        """
        if root == layout.ZERO_ID:
            return NO_HARM
        return self._visit([root], trees.level_count(chunk_count) - 1)

    def _visit(self, idents: list[bytes], level: int) -> Harm:
        harm = NO_HARM
        fresh: dict[bytes, Harm] = {}
        for ident in idents:
            found = self.nodes.mark(ident)
            if found is None:
                harm += Harm(unreadable=1, unlisted=1)
            elif found.fresh:
                fresh[ident] = _of(found)
            else:
                harm += self._harmed.get(ident, NO_HARM)
        waiting = list(fresh)
        for first in range(0, len(waiting), _BATCH):
            self._beat()
            for ident, node in self._read(waiting[first : first + _BATCH]):
                below = fresh[ident] + self._below(node, level)
                if below != NO_HARM:
                    self._harmed[ident] = below
                harm += below
        return harm

    def _below(self, node: bytes | None, level: int) -> Harm:
        if node is None:
            return Harm(unreadable=1)
        children = dict.fromkeys(trees.entry(node, slot) for slot in range(trees.FANOUT))
        children.pop(layout.ZERO_ID, None)
        if level:
            return self._visit(list(children), level - 1)
        harm = NO_HARM
        for ident in children:
            found = self.data.mark(ident)
            if found is None:
                harm += Harm(unlisted=1)
            elif found.rank:
                harm += _of(found)
        return harm

    def _read(self, idents: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yields each node, or None when it cannot be read."""
        for planned in self._reader.locate(idents):
            try:
                found = dict(self._reader.read(planned))
            except errors.DataCorrupt:
                found = self._one_by_one(planned)
            for chunk in planned.chunks:
                node = found.get(chunk.ident)
                good = node is not None and len(node) == trees.NODE_BYTES
                yield chunk.ident, node if good else None

    def _one_by_one(self, planned: backup_reads.PackRead) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for chunk in planned.chunks:
            single = backup_reads.PackRead(planned.pack, chunk.offset, chunk.length, (chunk,))
            try:
                found.update(self._reader.read(single))
            except errors.DataCorrupt:
                continue
        return found


def _of(found: blob_index.Marked) -> Harm:
    return Harm(
        gone=int(found.rank == blob_index.GONE), doomed=int(found.rank == blob_index.DOOMED)
    )
