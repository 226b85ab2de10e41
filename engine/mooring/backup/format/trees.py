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
Before = Callable[[int, int], bytes]
"""Takes level and index of a node and returns what it was before; zeros where there was none."""


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


def nothing_before(_level: int, _index: int) -> bytes:
    """Every node of a tree that is built from nothing."""
    return ZERO_NODE


class TreeBuilder:
    """Builds a tree from leaves, in order, and hands out each node once it is whole.

    What is not given stays as it was before, and is not looked at: only the nodes on the way from
    a given leaf to the root are made anew.

    Args:
        chunk_count: Of the volume.
        emit: Stores a node.
        before: Returns the content that a node had before.
        root: The root before.
    """

    def __init__(
        self,
        chunk_count: int,
        emit: Emit,
        before: Before = nothing_before,
        root: bytes = layout.ZERO_ID,
    ) -> None:
        self._emit = emit
        self._before = before
        self._root = root
        self._leaves = leaf_count(chunk_count)
        self._open: list[tuple[int, bytearray] | None] = [None] * level_count(chunk_count)
        self._last = -1

    def put_leaf(self, index: int, ids: bytes) -> None:
        """Gives a leaf its content: up to 512 ids of chunks; what is missing is zero."""
        if not self._last < index < self._leaves:
            raise ValueError(f"leaf {index} of {self._leaves} came after leaf {self._last}")
        self._last = index
        self._put_node(0, index, ids.ljust(NODE_BYTES, b"\0"))

    def finish(self) -> bytes:
        """Completes the tree.

        Returns:
            The id of the root; zeros when all content is zero.
        """
        for level in range(1, len(self._open)):
            self._close(level)
        return self._root

    def _put_node(self, level: int, index: int, node: bytes) -> None:
        ident = layout.ZERO_ID if node == ZERO_NODE else self._emit(level, index, node)
        if level + 1 == len(self._open):
            self._root = ident
            return
        above, slot = divmod(index, FANOUT)
        opened = self._open[level + 1]
        if opened is None or opened[0] != above:
            self._close(level + 1)
            opened = self._open[level + 1] = (above, bytearray(self._before(level + 1, above)))
        opened[1][slot * layout.ID_BYTES : (slot + 1) * layout.ID_BYTES] = ident

    def _close(self, level: int) -> None:
        opened = self._open[level]
        if opened is not None:
            self._open[level] = None
            self._put_node(level, opened[0], bytes(opened[1]))
