"""What every use case of one node works with: its pools, its host, its locks and its clock."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mooring.domain import errors, ids, pools, volumes
from mooring.planning import evacuation
from mooring.ports import host
from mooring.ports import pools as pool_ports
from mooring.ports.clock import Clock
from mooring.ports.locks import KeyedLocks
from mooring.ports.transfers import RemoteSnapshots
from mooring.volumes.local.background import Background
from mooring.volumes.local.bases import Bases
from mooring.volumes.local.guarding import GuardedImages, GuardedRecords, PoolGuard
from mooring.volumes.local.layout import Layout
from mooring.volumes.local.ledger import CUT_SUFFIX, Ledger
from mooring.volumes.local.pool_set import PoolSet
from mooring.volumes.local.side_by_side import SideBySide
from mooring.volumes.local.standstill import Standstill
from mooring.volumes.local.trash import Trash

Found = TypeVar("Found")
_LOOK_UP_SECONDS = 10.0
_LIST_SECONDS = 30.0
"""How long a pool may take to say what it has; the watch over pools gives it as long."""
_UNREAD_SECONDS = 60.0
"""How long a pool counts as unread after it was left out: longer than any report takes."""


def image_of(key: ids.VolumeId | ids.SnapshotId) -> ids.ImageId:
    """Returns the image of a volume or snapshot: it has the same name."""
    return ids.ImageId(key)


def cut_of(volume_id: ids.VolumeId) -> ids.ImageId:
    """Returns the image that holds a clone's point in time until the clone has its own blocks."""
    return ids.ImageId(f"{volume_id}{CUT_SUFFIX}")


class PoolBook:
    """One open pool, and what it has promised.

    Args:
        pool: The pool.
        clock: The time.

    Attributes:
        standstill: Its volumes that are frozen for lack of space, and what to say of it.
    """

    def __init__(self, pool: pool_ports.OpenPool, clock: Clock) -> None:
        self.name = pool.name
        self.pool_uuid = pool.pool_uuid
        self.use = pool.use
        self.adopted_from = pool.adopted_from
        self.guard = PoolGuard(pool.name, pool.read_only)
        self.images = GuardedImages(pool.images, self.guard)
        records = GuardedRecords(pool.records, self.guard)
        guarded = replace(pool, images=self.images, records=records)
        self.records = Ledger(guarded, clock)
        self.layout = Layout(self.images, pool.extents)
        self.tracking = pool.tracking
        self.bases = Bases(self.images, self.records)
        self.trash = Trash(guarded, self.records, self.bases, clock)
        self.standstill: Mapping[ids.VolumeId, str] = {}
        self._left_out = (float("-inf"), "")

    def leave_out(self, why: str) -> None:
        """Records that a list was made without what this pool has."""
        self._left_out = (time.monotonic(), why)

    def left_out(self) -> str:
        """Says why a list of the last minute is without what this pool has; empty if none is."""
        since, why = self._left_out
        return why if time.monotonic() - since < _UNREAD_SECONDS else ""

    def require_open(self) -> None:
        """Refuses to put a new volume into a pool that is emptied.

        Raises:
            SpaceExhausted: It is; another node or pool may take the volume.
        """
        found = self.evacuation()
        if found is not None:
            raise errors.SpaceExhausted(f"pool {self.name} {evacuation.message(found)}")

    def evacuation(self) -> pools.Evacuation | None:
        """Returns what is left in a pool that is emptied; None of one that takes new volumes."""
        if self.use is pools.PoolUse.OPEN:
            return None
        kept = [one for one in self.records.list_snapshots().records if one.base is None]
        return evacuation.evacuation(self.use, self.records.list_volumes().records, kept)

    def image_path(self, image: ids.ImageId) -> Path | None:
        """Returns the image's file, or None if there is none to attach."""
        try:
            return self.images.path(image)
        except (errors.NotFound, errors.Unsupported):
            return None


@dataclass(frozen=True)
class NodeContext:
    """One node's storage.

    Attributes:
        node: The node's name.
        pool_set: Its pools.
        host: Loops, mounts, filesystems and paths.
        locks: Locks by volume and snapshot id.
        clock: The time.
        remote_snapshots: Snapshots of other nodes; None where there are none.
        background: Copies from other nodes, by volume id.
        standstill: Volumes that are frozen because there is no space.
        lists: Looks at all that pools have.
        look_ups: Looks for one thing in pools.
        low_space: Looks at the trash where space is low.
        expired_trash: Looks at what was in the trash for long enough.
    """

    node: ids.NodeName
    pool_set: PoolSet[PoolBook]
    host: host.Host
    locks: KeyedLocks
    clock: Clock
    remote_snapshots: RemoteSnapshots | None = None
    background: Background = field(default_factory=Background)
    standstill: Standstill = field(default_factory=Standstill)
    lists: SideBySide[Any] = field(default_factory=lambda: SideBySide("list", alone=False))
    low_space: SideBySide[int] = field(default_factory=lambda: SideBySide("trash", alone=True))
    expired_trash: SideBySide[Sequence[ids.VolumeId]] = field(
        default_factory=lambda: SideBySide("expired-trash", alone=True)
    )
    look_ups: SideBySide[Any] = field(default_factory=lambda: SideBySide("look-up", alone=False))

    @property
    def pools(self) -> Mapping[ids.PoolName, PoolBook]:
        """Its pools that serve, by name."""
        return self.pool_set.serving

    @property
    def failed(self) -> Sequence[pool_ports.FailedPool]:
        """Its pools that could not be opened, or failed since."""
        return self.pool_set.failed

    def pool(self, name: ids.PoolName) -> PoolBook:
        """Returns a pool to put something new into.

        Raises:
            NotFound: The node has no such pool.
            HostFailure: It has, but the pool could not be opened.
        """
        if name in self.pools:
            return self.pools[name]
        for failed in self.failed:
            if failed.name == name:
                raise errors.HostFailure(
                    f"pool {name} on node {self.node} is not open: {failed.message}"
                )
        raise errors.NotFound(f"node {self.node} has no pool {name}")

    def look_up_volume(
        self, volume_id: ids.VolumeId
    ) -> tuple[PoolBook, volumes.VolumeRecord] | None:
        """Returns a volume's pool and record, or None if no open pool has it.

        Raises:
            DataCorrupt: There is a record, but it cannot be read.
        """
        return self._look_up(self.pools.values(), lambda book: book.records.volume(volume_id))[0]

    def find_volume(self, volume_id: ids.VolumeId) -> tuple[PoolBook, volumes.VolumeRecord] | None:
        """Returns a volume's pool and record, or None if the node surely has no such volume.

        The pool may be one that failed while it was open, which refuses every change.

        Raises:
            DataCorrupt: There is a record, but it cannot be read.
            HostFailure: It may lie in a pool that could not be opened.
        """

        def look(book: PoolBook) -> volumes.VolumeRecord | None:
            return book.records.volume(volume_id)

        found, silent = self._look_up(self.pools.values(), look)
        if found is None:
            found, silent_too = self._look_up(self.pool_set.failing, look)
            silent = [*silent, *silent_too]
        if found is None:
            self._require_all_asked(f"volume {volume_id}", silent)
        return found

    def volume(self, volume_id: ids.VolumeId) -> tuple[PoolBook, volumes.VolumeRecord]:
        """Returns a volume's pool and record.

        Raises:
            NotFound: The node has no such volume.
            HostFailure: Its pool does not serve.
        """
        found = self.find_volume(volume_id)
        if found is None:
            raise errors.NotFound(f"node {self.node} has no volume {volume_id}")
        self.pool(found[0].name)
        return found

    def find_snapshot(
        self, snapshot_id: ids.SnapshotId
    ) -> tuple[PoolBook, volumes.SnapshotRecord] | None:
        """Returns a snapshot's pool and record, or None if the node surely has no such snapshot.

        Raises:
            DataCorrupt: There is a record, but it cannot be read.
            HostFailure: It may lie in a pool that could not be opened.
        """
        books = (*self.pools.values(), *self.pool_set.failing)
        found, silent = self._look_up(books, lambda book: book.records.snapshot(snapshot_id))
        if found is None:
            self._require_all_asked(f"snapshot {snapshot_id}", silent)
        return found

    def snapshot(self, snapshot_id: ids.SnapshotId) -> tuple[PoolBook, volumes.SnapshotRecord]:
        """Returns a snapshot's pool and record.

        Raises:
            NotFound: The node has no such snapshot.
        """
        found = self.find_snapshot(snapshot_id)
        if found is None:
            raise errors.NotFound(f"node {self.node} has no snapshot {snapshot_id}")
        self.pool(found[0].name)
        return found

    def _look_up(
        self, books: Collection[PoolBook], look: Callable[[PoolBook], Found | None]
    ) -> tuple[tuple[PoolBook, Found] | None, Sequence[ids.PoolName]]:
        """Asks pools for a record; returns it with its pool, and which pools do not answer."""
        asked = {book.name: partial(look, book) for book in books}
        answers = self.look_ups.ask(asked, _LOOK_UP_SECONDS)
        found = ((book, answers.get(book.name)) for book in books)
        first = next(((book, record) for book, record in found if record is not None), None)
        return first, [name for name in asked if name not in answers]

    def ask_each(self, look: Callable[[PoolBook], Found]) -> list[tuple[PoolBook, Found | None]]:
        """Asks each pool that serves for all that it has.

        Returns:
            Answers by pool; None of one that fails or does not answer in time, which `left_out`
            tells of from then on.
        """

        def guarded(book: PoolBook) -> Found | None:
            try:
                return look(book)
            except (errors.MooringError, OSError) as error:
                book.guard.suspected = True
                book.leave_out(str(error))
                return None

        books = list(self.pools.values())
        looks = {book.name: partial(guarded, book) for book in books}
        answers = self.lists.ask(looks, _LIST_SECONDS)
        for book in books:
            if book.name not in answers:
                book.leave_out("its disk does not answer. See the node's kernel log (dmesg)")
        return [(book, answers.get(book.name)) for book in books]

    def _require_all_asked(self, what: str, silent: Sequence[ids.PoolName]) -> None:
        if self.failed:
            failed = self.failed[0]
            raise errors.HostFailure(
                f"{what} may lie in pool {failed.name} of node {self.node}, which is not open "
                f"({failed.message}); nothing is done to it until the pool is back, or is taken "
                "out of the node's configuration"
            )
        if silent:
            raise errors.HostFailure(
                f"{what} may lie in pool {silent[0]} of node {self.node}, which does not answer; "
                "nothing is done to it until the pool does. See the node's kernel log (dmesg)"
            )

    def require_running(self, book: PoolBook, volume_id: ids.VolumeId) -> None:
        """Refuses a point in time of a volume that stands still: it would need room.

        Raises:
            SpaceExhausted: It does.
        """
        if volume_id in book.standstill:
            raise errors.SpaceExhausted(f"volume {volume_id}: {book.standstill[volume_id]}")

    def require_ready(self, record: volumes.VolumeRecord) -> None:
        """Refuses work on a volume that is not, or not yet, a whole one.

        Raises:
            Busy: It is being created; a retry of the creation finishes it.
            PreconditionFailed: It is being filled or deleted.
        """
        shown = f"volume {record.spec.volume_id}"
        if record.state is volumes.VolumeState.CREATING:
            raise errors.Busy(f"{shown} is still being created")
        if record.state is volumes.VolumeState.FILLING:
            raise errors.PreconditionFailed(f"{shown} is being filled by a restore")
        if record.state is volumes.VolumeState.DELETING:
            raise errors.PreconditionFailed(f"{shown} is being deleted")
        if record.state is volumes.VolumeState.TRASHED:
            raise errors.PreconditionFailed(
                f"{shown} was deleted and is in the trash; bring it back with: "
                f"kubectl mooring undelete {record.spec.volume_id}"
            )
