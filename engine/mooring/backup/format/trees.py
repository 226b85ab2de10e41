"""The content of a volume as a radix tree of ids, so that a small change rewrites little.

A node is 512 ids of 32 bytes. In a leaf they name chunks, in order; above, nodes of the level
below. Nodes are themselves called after their content. Where all content is zero there is no
chunk and no node, and the id is 32 zero bytes. Levels count from 0, the leaves, up to the root.
"""

from collections.abc import Callable

from mooring.backup.format import layout

FANOUT = 512
NODE_BYTES = FANOUT * layout.ID_BYTES
ZERO_NODE = bytes(NODE_BYTES)

Emit = Callable[[int, int, bytes], bytes]
"""Takes level, index within the level and content of a node; stores it and returns its id."""


def level_count(chunk_count: int) -> int:
    """Returns how many levels the tree of a volume with that many chunks has; at least 1."""
    levels, covered = 1, FANOUT
    while covered < chunk_count:
        levels += 1
        covered *= FANOUT
    return levels


def leaf_count(chunk_count: int) -> int:
    """Returns the number of leaves that cover so many chunks."""
    return -(-chunk_count // FANOUT)


def entry(node: bytes, slot: int) -> bytes:
    """Returns one id of a node."""
    return node[slot * layout.ID_BYTES : (slot + 1) * layout.ID_BYTES]


class TreeBuilder:
    """Builds a tree from its leaves, in order, and hands out each node once it is whole."""

    def __init__(self, chunk_count: int, emit: Emit) -> None:
        self._emit = emit
        self._leaves = leaf_count(chunk_count)
        self._open = [bytearray() for _ in range(level_count(chunk_count))]
        self._done = [0] * len(self._open)
        self._root = layout.ZERO_ID

    def add_leaf(self, ids: bytes) -> None:
        """Adds the next leaf: up to 512 ids of chunks; what is missing is zero."""
        self._add_node(0, ids.ljust(NODE_BYTES, b"\0"))

    def add_known_leaf(self, ident: bytes) -> None:
        """Adds the next leaf by its id: it is stored already, or all zero."""
        self._add_child(0, ident)

    def finish(self) -> bytes:
        """Completes the tree.

        Returns:
            The id of the root; zeros when all content is zero.
        """
        if self._done[0] != self._leaves:
            raise ValueError(f"{self._done[0]} leaves of {self._leaves} were added")
        for level in range(1, len(self._open)):
            if self._open[level]:
                self._close(level)
        return self._root

    def _add_node(self, level: int, node: bytes) -> None:
        index = self._done[level]
        ident = layout.ZERO_ID if node == ZERO_NODE else self._emit(level, index, node)
        self._add_child(level, ident)

    def _add_child(self, level: int, ident: bytes) -> None:
        self._done[level] += 1
        if level + 1 == len(self._open):
            self._root = ident
            return
        above = self._open[level + 1]
        above += ident
        if len(above) == NODE_BYTES:
            self._close(level + 1)

    def _close(self, level: int) -> None:
        node = bytes(self._open[level]).ljust(NODE_BYTES, b"\0")
        self._open[level].clear()
        self._add_node(level, node)
