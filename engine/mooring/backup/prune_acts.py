"""The acting half of a collection: each act may be cut off, repeated or late without harm."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mooring.backup import index_merging, inventory, prune_marks, repacking
from mooring.backup import repository as repositories
from mooring.backup.format import layout
from mooring.domain import backups, errors
from mooring.planning import collection

_FATE = collection.PackFate
_COPY = (_FATE.RESCUE, _FATE.REWRITE)


@dataclass
class Acts:
    """What a collection did.

    Attributes:
        forgotten: Backups that were dropped.
        closed: Sessions that were closed.
        packs_deleted: Packs that are gone.
        bytes_deleted: Their bytes.
        packs_doomed: Packs that got a tombstone.
        bytes_doomed: Their bytes.
        bytes_copied: Bytes of chunks that were copied out of packs that shall go.
        segments_removed: Index segments that were taken away.
        segments_written: Index segments that were written in their place.
        stopped: Whether time ran out before everything was done.
        problems: What could not be done, and why.
        without_room: What was left for later because the store is full, and why.
    """

    forgotten: list[backups.BackupId] = field(default_factory=list)
    closed: list[backups.SessionId] = field(default_factory=list)
    packs_deleted: int = 0
    bytes_deleted: int = 0
    packs_doomed: int = 0
    bytes_doomed: int = 0
    bytes_copied: int = 0
    segments_removed: int = 0
    segments_written: int = 0
    stopped: bool = False
    problems: list[str] = field(default_factory=list)
    without_room: list[str] = field(default_factory=list)

    def forget(
        self, repository: repositories.Repository, dropped: Iterable[inventory.KnownBackup]
    ) -> None:
        """Drops backups."""
        for backup in dropped:
            repository.forget(backup.backup_id)
            self.forgotten.append(backup.backup_id)

    def close(
        self, repository: repositories.Repository, steps: Iterable[collection.SessionStep]
    ) -> None:
        """Closes the sessions that are given up."""
        for step in steps:
            if step.fate is collection.SessionFate.CLOSE:
                repository.close_session(step.session_id)
                self.closed.append(step.session_id)


class Acting:
    """Carries out what was decided."""

    def __init__(
        self,
        repository: repositories.Repository,
        marks: prune_marks.Marks,
        acts: Acts,
        go_on: Callable[[], bool],
    ) -> None:
        """Prepares the acts.

        Args:
            repository: Which.
            marks: What it holds.
            acts: Told of what is done.
            go_on: Asked before each act; False ends the work.
        """
        self._repository = repository
        self._marks = marks
        self._acts = acts
        self._go_on = go_on

    def run(self, packs: collection.PackPlan, sessions: list[collection.SessionStep]) -> None:
        """Deletes first, which makes room; what is copied is durable before its pack is doomed."""
        gone = self._delete(_of(packs, _FATE.DELETE))
        gone.update(self._marks.useless_packs())
        self._merge(gone)
        del gone
        self._doom(_of(packs, _FATE.DOOM))
        self._copy(packs)
        self._tidy(sessions)

    def _delete(self, steps: Iterable[collection.PackStep]) -> set[bytes]:
        deleted = set()
        for step in steps:
            if not self._may_go_on():
                break
            self._repository.store.delete(layout.pack_key(step.name))
            deleted.add(step.name)
            self._acts.packs_deleted += 1
            self._acts.bytes_deleted += step.size_bytes
        return deleted

    def _merge(self, gone: set[bytes]) -> None:
        found = self._marks.stale_segments()
        for kind in (layout.BlobKind.NODE, layout.BlobKind.DATA):
            if self._may_go_on():
                merge = index_merging.IndexMerge(self._repository, kind, found, gone)
                with self._room_is_optional("the index is not tidied"):
                    removed, written = merge.run(self._may_go_on)
                    self._acts.segments_removed += removed
                    self._acts.segments_written += written

    def _doom(self, steps: Iterable[collection.PackStep]) -> None:
        for step in steps:
            if not self._may_go_on():
                break
            self._repository.put_mark(layout.tombstone_key(step.name), step.reason)
            self._acts.packs_doomed += 1
            self._acts.bytes_doomed += step.size_bytes

    def _copy(self, packs: collection.PackPlan) -> None:
        left = {step.name for step in _of(packs, *_COPY)}
        if not left or not self._may_go_on():
            return
        ended = False  # else copies may not be durable, and their packs must stay
        with self._room_is_optional("nothing is copied out of packs that are mostly waste"):
            self._acts.problems += repacking.copy_live(
                self._repository, self._marks.marker, left, self._may_go_on
            )
            ended = True
        if not ended:
            return
        copied = (step for step in _of(packs, *_COPY) if step.name not in left)
        self._acts.bytes_copied += sum(step.live_bytes for step in copied)
        self._doom(step for step in _of(packs, _FATE.REWRITE) if step.name not in left)

    def _tidy(self, sessions: list[collection.SessionStep]) -> None:
        """Takes away marks that have served; what is left for lack of time is taken next time."""
        committed = self._marks.committed()
        known = {step.session_id for step in sessions}
        store = self._repository.store
        for name in self._marks.old_tombstones():
            if not self._may_go_on():
                return
            store.delete(layout.tombstone_key(name))
        for step in sessions:
            gone = step.fate is collection.SessionFate.REMOVE
            if gone and step.session_id not in committed and self._may_go_on():
                store.delete(layout.session_key(step.session_id))
        for session in self._marks.old_closings() - known - committed:
            if not self._may_go_on():
                return
            store.delete(layout.closed_key(session))
        for info in list(store.list(layout.PROBES)):
            if self._marks.is_old(info) and self._may_go_on():
                store.delete(info.key)

    @contextlib.contextmanager
    def _room_is_optional(self, without: str) -> Iterator[None]:
        """Goes on with what makes room, when the store has none for what only saves some later."""
        try:
            yield
        except errors.SpaceExhausted as error:
            self._acts.without_room.append(f"{without}, since there is no room for it: {error}")

    def _may_go_on(self) -> bool:
        if not self._acts.stopped and not self._go_on():
            self._acts.stopped = True
        return not self._acts.stopped


def _of(packs: collection.PackPlan, *fates: collection.PackFate) -> Iterator[collection.PackStep]:
    """Yields the steps of some fates; there may be very many."""
    return (step for step in packs if step.fate in fates)
