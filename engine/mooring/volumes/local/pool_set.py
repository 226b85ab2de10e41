"""The pools of one node: which serve, which failed while they were open, which are not open."""

import threading
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from mooring.domain import ids
from mooring.ports import pools as pool_ports
from mooring.volumes.local.guarding import PoolGuard


class Named(Protocol):
    """What an open pool has to have, to stand in the set."""

    name: ids.PoolName
    guard: PoolGuard


Book = TypeVar("Book", bound=Named)


class PoolSet(Generic[Book]):
    """Each pool in one of three places; a look sees one moment, also while another changes it.

    Args:
        serving: Pools that are open.
        shut: Configured pools that could not be opened.
    """

    def __init__(
        self, serving: Mapping[ids.PoolName, Book], shut: Sequence[pool_ports.FailedPool]
    ) -> None:
        self._changing = threading.Lock()
        self._serving = dict(serving)
        self._failing: dict[ids.PoolName, tuple[Book, pool_ports.FailedPool]] = {}
        self._shut = {one.name: one for one in shut}

    @property
    def serving(self) -> Mapping[ids.PoolName, Book]:
        """The pools that do all that a pool does."""
        return self._serving

    @property
    def failing(self) -> Sequence[Book]:
        """Open pools whose disk failed: their volumes can be taken from pods, and nothing else."""
        return [book for book, _ in self._failing.values()]

    @property
    def failed(self) -> Sequence[pool_ports.FailedPool]:
        """The pools that do not serve, with the reason."""
        return [*(failed for _, failed in self._failing.values()), *self._shut.values()]

    def serve(self, book: Book) -> None:
        """Lets a pool serve, that was opened or whose fault is over."""
        with self._changing:
            book.guard.failure = ""
            self._failing = _without(self._failing, book.name)
            self._shut = _without(self._shut, book.name)
            self._serving = {**self._serving, book.name: book}

    def fail(self, book: Book, failed: pool_ports.FailedPool) -> None:
        """Takes an open pool out of service."""
        with self._changing:
            book.guard.failure = failed.message
            self._failing = {**self._failing, book.name: (book, failed)}
            self._serving = _without(self._serving, book.name)

    def leave(self, name: ids.PoolName) -> None:
        """Takes out a pool that the node shall have no more."""
        with self._changing:
            self._serving = _without(self._serving, name)
            self._shut = _without(self._shut, name)

    def shut(self, failed: pool_ports.FailedPool) -> None:
        """Records that a pool is not open."""
        with self._changing:
            self._shut = {**self._shut, failed.name: failed}
            self._failing = _without(self._failing, failed.name)
            self._serving = _without(self._serving, failed.name)


_Value = TypeVar("_Value")


def _without(
    pools: Mapping[ids.PoolName, _Value], name: ids.PoolName
) -> dict[ids.PoolName, _Value]:
    return {key: value for key, value in pools.items() if key != name}
