"""Walks a backup's content tree without ever holding it whole."""

from collections import OrderedDict
from collections.abc import Iterable

from mooring.backup import blob_reader
from mooring.backup.format import layout, trees
from mooring.domain import errors

AHEAD = 64
"""How many leaves are fetched together."""
_CACHED_NODES = 192


class TreeReader:
    """Nodes of one tree by level and index. For one thread.

    Args:
        reader: Fetches nodes.
        root: The tree's root.
        chunk_count: Chunks of its volume.
        walks: Whether it is gone through from end to end, so that the next nodes are fetched along.
    """

    def __init__(
        self, reader: blob_reader.BlobReader, root: bytes, chunk_count: int, *, walks: bool = True
    ) -> None:
        self._reader = reader
        self._walks = walks
        self._root = root
        self._levels = trees.level_count(chunk_count)
        self._leaves = trees.leaf_count(chunk_count)
        self._cache: OrderedDict[bytes, bytes] = OrderedDict()

    def lacks(self) -> list[str]:
        """Returns what of the index was found to be damaged or missing so far; in words."""
        return self._reader.lacks()

    def node_id(self, level: int, index: int) -> bytes:
        """Returns the id of a node; zeros where all content is zero or there is no such node."""
        if level >= self._levels or index >= self._width(level):
            return layout.ZERO_ID
        if level == self._levels - 1:
            return self._root
        above = self._node(level + 1, index // trees.FANOUT)
        return layout.ZERO_ID if above is None else trees.entry(above, index % trees.FANOUT)

    def leaf(self, index: int) -> bytes:
        """Returns the ids of the 512 chunks of a leaf.

        Raises:
            DataCorrupt: A node is missing or damaged.
        """
        return self._node(0, index) or trees.ZERO_NODE

    def node(self, level: int, index: int) -> bytes:
        """Returns the content of a node, as it would be in a tree of any height.

        Raises:
            DataCorrupt: A node is missing or damaged.
        """
        if level == self._levels and index == 0:
            return self._root.ljust(trees.NODE_BYTES, b"\0")
        return self._node(level, index) or trees.ZERO_NODE

    def want(self, leaves: Iterable[int]) -> None:
        """Fetches leaves that are asked for next, together; `AHEAD` at most.

        Raises:
            DataCorrupt: A node is missing or damaged.
        """
        idents = {self.node_id(0, leaf) for leaf in leaves} - {layout.ZERO_ID}
        if idents - self._cache.keys():
            self._fetch(idents - self._cache.keys())

    def _width(self, level: int) -> int:
        return -(-self._leaves // int(trees.FANOUT**level))

    def _node(self, level: int, index: int) -> bytes | None:
        ident = self.node_id(level, index)
        if ident == layout.ZERO_ID:
            return None
        node = self._cache.get(ident)
        if node is not None:
            self._cache.move_to_end(ident)
            return node
        self._fetch({ident} | self._following(level, index))
        return self._cache[ident]

    def _following(self, level: int, index: int) -> set[bytes]:
        """Ids of the next nodes under the same node above, which are wanted next in a walk."""
        if level == self._levels - 1 or not self._walks:
            return set()
        above = self._node(level + 1, index // trees.FANOUT)
        if above is None:
            return set()
        first = index % trees.FANOUT + 1
        following = {
            trees.entry(above, slot) for slot in range(first, min(first + AHEAD, trees.FANOUT))
        }
        return following - {layout.ZERO_ID} - self._cache.keys()

    def _fetch(self, idents: set[bytes]) -> None:
        for planned in self._reader.locate(idents):
            for ident, node in self._reader.read(planned):
                if len(node) != trees.NODE_BYTES:
                    raise errors.DataCorrupt(f"tree node {ident.hex()} has a wrong length")
                self._cache[ident] = node
        while len(self._cache) > _CACHED_NODES:
            self._cache.popitem(last=False)
