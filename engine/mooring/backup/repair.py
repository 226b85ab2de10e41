"""Repair: makes the most of what is left of a damaged repository, and says what is lost.

The index is rebuilt from the packs' own lists where segments are missing or damaged. Chunks that
can still be read are copied out of damaged packs. What is lost leaves the index, so that the next
backup sends it again if the volume still has it; the backups that needed it are marked, and dropped
only on an explicit word. Killed at any point, a repair can be repeated.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mooring.backup import (
    blob_index,
    config_trust,
    index_merging,
    inventory,
    lease,
    pack_scan,
    progress,
    reachability,
    repair_index,
    salvage,
)
from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors


@dataclass(frozen=True)
class RepairRequest:
    """What shall be repaired.

    Attributes:
        full: Whether to read every pack, and not only what does not fit.
        drop_damaged: The explicit word: backups of which something is lost are dropped.
        exclusive: As for prune.
    """

    full: bool = False
    drop_damaged: bool = False
    exclusive: bool = False


@dataclass
class RepairReport:
    """What was found and done.

    Attributes:
        packs_indexed: Packs that no readable segment named, and that are in the index again.
        segments_removed: Index segments that could not be read, or named what is lost.
        packs_given_up: Packs that are damaged; what could be read of them was copied.
        chunks_saved: Chunks that were copied.
        chunks_lost: Chunks that backups need and that are lost.
        damaged: Backups of which something is lost, and what.
        dropped: Those of them that were dropped.
        problems: What else is wrong.
    """

    packs_indexed: int = 0
    segments_removed: int = 0
    packs_given_up: int = 0
    chunks_saved: int = 0
    chunks_lost: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    dropped: list[backups.BackupId] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def repair(
    repository: repositories.Repository, request: RepairRequest, watch: progress.Watch
) -> RepairReport:
    """Repairs a repository.

    Args:
        repository: Which.
        request: How far to go.
        watch: May cancel it, and is told of progress.

    Raises:
        Busy: A collector or another repair is at work.
        Unsupported: The store has no conditional writes, so `exclusive` is needed.
        AnotherRepository: `config` is not of this repository.
        Cancelled: The watch said so; what was done stays done.
    """
    config_trust.refuse_foreign(repository)
    now = inventory.store_now(repository)
    with lease.held(repository, now, exclusive=request.exclusive) as held:
        repairing = _Repairing(repository, request, watch, held)
        repairing.run()
        return repairing.report


class _Repairing:
    def __init__(
        self,
        repository: repositories.Repository,
        request: RepairRequest,
        watch: progress.Watch,
        held: lease.Lease | None,
    ) -> None:
        self.report = RepairReport()
        self._repository = repository
        self._request = request
        self._watch = watch
        self._lease = held
        self._meter = progress.ProgressMeter(watch, 0)
        self._doomed = blob_index.tombstones(repository)
        self._packs = inventory.packs(repository)
        self._segments = list(repository.store.list(layout.INDEX))  # before the sessions
        self._listed = inventory.judge_by(self._packs, repository)
        self._manifests: list[backups.BackupManifest] = []
        self._marked_before = repository.damaged()
        self._indexed: set[bytes] = set()
        self._bad: set[bytes] = set()

    def run(self) -> None:
        self._read_manifests()
        open_sessions = self._open_sessions()
        self._rebuild()
        marker = self._mark()
        self._bad = bad = self._bad_packs(marker)
        if bad:
            session = repair_index.announce(self._repository)
            self.report.chunks_saved = salvage.save(
                self._repository, marker, session, bad, self._beat
            )
        self.report.packs_given_up = len(bad)
        self.report.packs_indexed = len(self._indexed - bad)
        gone = {
            pack.name
            for index in (marker.nodes, marker.data)
            for number, pack in enumerate(index.pack_list())
            if index.gone(number)
        }
        for name in bad | gone:  # before the index forgets it: then it is looked at again
            repair_index.doom(self._repository, name, there=name in self._packs)
        self._drop_from_index(bad | gone, open_sessions)
        self._judge_backups()

    def _read_manifests(self) -> None:
        for backup_id, found in self._repository.catalogue():
            if isinstance(found, backups.BackupManifest):
                self._manifests.append(found)
            elif isinstance(found, errors.Unsupported):
                raise found
            else:
                self._read_again(backup_id)

    def _read_again(self, backup_id: backups.BackupId) -> None:
        """One bad read is no reason to give up a backup."""
        try:
            self._manifests.append(self._repository.manifest(backup_id))
        except errors.NotFound:
            return
        except errors.DataCorrupt as error:
            self._lose(backup_id, str(error))

    def _open_sessions(self) -> list[inventory.KnownSession]:
        made = {manifest.session for manifest in self._manifests}
        closed = inventory.closed(self._repository)
        return [
            session
            for session in inventory.known_sessions(self._repository)
            if session.session_id not in made and session.session_id not in closed
        ]

    def _rebuild(self) -> None:
        """Indexes every pack that no readable segment names.

        Some may be of writers that are under way, which name them once more. Any of them may have
        what a backup has lost with a segment.
        """
        unreadable: dict[str, str] = {}
        named: set[bytes] = set()
        for kind in (layout.BlobKind.NODE, layout.BlobKind.DATA):
            index = blob_index.BlobIndex(self._repository, kind, self._judge, unreadable)
            index.load_all()
            named.update(pack.name for pack in index.pack_list())
        self.report.problems += unreadable.values()
        lacking = [
            info
            for name, info in self._packs.items()
            if name not in named and not self._left_alone(name)
        ]
        if lacking:
            session, self._indexed, problems = repair_index.index_packs(
                self._repository, lacking, self._beat
            )
            self._segments += self._repository.store.list(f"{layout.INDEX}{session}/")
            self.report.problems += problems
        for key in filter(self._stays_unreadable, unreadable):
            self._repository.store.delete(key)
            self.report.segments_removed += 1

    def _stays_unreadable(self, segment: str) -> bool:
        try:
            content = self._repository.get_sealed(segment, layout.MAXIMUM_SEGMENT_BYTES)
            segments.check(*segments.decode(content, segment), segment)
        except errors.NotFound:
            return False
        except errors.DataCorrupt:
            return True
        return False

    def _left_alone(self, pack: bytes) -> bool:
        """Tells whether an earlier repair gave a pack up, and no backup is marked.

        While one is, it is looked at anew: somebody may have put it back whole.
        """
        if self._marked_before or pack not in self._doomed:
            return False
        return repair_index.given_up(self._repository, pack)

    def _mark(self) -> reachability.Marker:
        marker = reachability.Marker(self._repository, self._judge, self._beat)
        for manifest in self._manifests:
            marker.mark(manifest.root, manifest.chunk_count)
        return marker

    def _bad_packs(self, marker: reachability.Marker) -> set[bytes]:
        """Returns the packs that are there and damaged: too short, or with chunks that differ."""
        needed: set[bytes] = set()
        named: dict[bytes, segments.PackInfo] = {}
        for index in (marker.nodes, marker.data):
            needed.update(index.pack(number).name for number in {c.pack for c in index.marked()})
            named.update((pack.name, pack) for pack in index.pack_list())
        there = named.keys() & self._packs.keys()
        bad = {
            name
            for name in needed & there
            if self._packs[name].size_bytes != named[name].size_bytes
        }
        # What no backup needs yet, a writer that was killed may take up again.
        doubtful = there if self._request.full else set(filter(self._is_doubtful, needed & there))
        rest = [named[name] for name in sorted(doubtful - bad)]
        self._meter = progress.ProgressMeter(self._watch, sum(pack.size_bytes for pack in rest))
        for scanned in pack_scan.PackScanner(self._repository).scan(rest, self._beat):
            self._meter.add(done=named[scanned.name].size_bytes, read=scanned.bytes_read)
            if scanned.bad or scanned.problem is not None:
                bad.add(scanned.name)
        return bad

    def _is_doubtful(self, pack: bytes) -> bool:
        """Tells whether a pack may be one that an earlier repair had found damaged."""
        return pack in self._doomed or bool(self._marked_before and pack in self._indexed)

    def _drop_from_index(
        self, lost: set[bytes], open_sessions: Iterable[inventory.KnownSession]
    ) -> None:
        if not lost:
            return
        apart = {session.session_id for session in open_sessions}
        for session in open_sessions:
            apart.update(session.announced.sessions if session.announced else ())
        found = [
            info
            for info in self._segments
            if (parts := layout.segment_parts(info.key)) is not None and parts[0] not in apart
        ]
        for kind in (layout.BlobKind.NODE, layout.BlobKind.DATA):
            merge = index_merging.IndexMerge(self._repository, kind, found, lost)
            removed, _ = merge.run(self._go_on)
            self.report.segments_removed += removed

    def _judge_backups(self) -> None:
        """Marks the backups of which something is lost, and takes marks away that are untrue."""
        self._listed = inventory.judge_by(inventory.packs(self._repository), self._repository)
        marker = reachability.Marker(self._repository, self._judge, self._beat)
        for manifest in self._manifests:
            harm = marker.mark(manifest.root, manifest.chunk_count)
            if harm.whole:
                if manifest.backup_id in self._marked_before:
                    self._repository.store.delete(layout.damaged_key(manifest.backup_id))
            elif self._is_there(manifest):
                self.report.chunks_lost += harm.unlisted + harm.gone
                moment = manifest.point_in_time.isoformat(timespec="seconds")
                self._lose(
                    manifest.backup_id, f"volume {manifest.volume.uid} at {moment}: {harm.words}"
                )

    def _is_there(self, manifest: backups.BackupManifest) -> bool:
        """Tells whether a backup is still the one that was read; what it needs may go after it."""
        try:
            return self._repository.manifest(manifest.backup_id).session == manifest.session
        except errors.NotFound:
            return False
        except (errors.DataCorrupt, errors.Unsupported):
            return True

    def _lose(self, backup_id: backups.BackupId, why: str) -> None:
        self.report.damaged[backup_id] = why
        if self._request.drop_damaged:
            self._repository.forget(backup_id)
            self.report.dropped.append(backup_id)
        else:
            repair_index.mark_damaged(self._repository, backup_id, why)

    def _judge(self, pack: segments.PackInfo) -> int:
        """What is damaged counts as gone, whatever segments that are left alone say."""
        return blob_index.GONE if pack.name in self._bad else self._listed(pack)

    def _beat(self) -> None:
        self._meter.check()
        if self._lease is not None:
            self._lease.renew()

    def _go_on(self) -> bool:
        self._beat()
        return True
