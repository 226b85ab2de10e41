"""The reading half of a collection: what there is, and what of it is needed."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo

from mooring.backup import blob_index, inventory, pack_census, reachability
from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors
from mooring.planning import collection, retention
from mooring.ports import blobstores

_HELD_BY_SESSION = "a writer that is under way made it or builds on it"
_HELD_BY_AGE = "no index names it yet, and a writer is under way that may have made it"
_HELD_BY_HARM = "no index names it, and a backup of which something is missing may need it"


class Marks:
    """One look at a repository, in the order that `inventory` explains.

    Attributes:
        harmed: Backups of which something is missing, with what that is.
    """

    def __init__(
        self, repository: repositories.Repository, now: datetime, beat: Callable[[], None]
    ) -> None:
        self.harmed: dict[str, str] = {}
        self._repository = repository
        self._now = now
        self._beat = beat
        self._doomed = pack_census.PackCensus(())
        self._packs = pack_census.PackCensus(())
        self._segments: list[blobstores.BlobInfo] = []
        self._dropped_sessions: set[backups.SessionId] = set()
        self._needed_gone: set[bytes] = set()
        self._backups: list[inventory.KnownBackup] = []
        self._steps: dict[backups.SessionId, collection.SessionStep] = {}
        self._dropped: set[backups.BackupId] = set()
        self._marker: reachability.Marker | None = None
        self._open: list[inventory.KnownSession] = []
        self._damaged: set[backups.BackupId] = set()
        self._later: dict[bytes, blobstores.BlobInfo | None] = {}

    @property
    def marker(self) -> reachability.Marker:
        """What marked everything that is needed."""
        if self._marker is None:
            raise ValueError("nothing was marked yet")
        return self._marker

    def look_at_packs(self) -> None:
        """Lists tombstones, packs and index segments, and reads the manifests for the first time.

        Raises:
            DataCorrupt: A manifest cannot be read.
        """
        self._doomed = blob_index.tombstones(self._repository)
        self._packs = inventory.packs(self._repository)
        self._segments = list(self._repository.store.list(layout.INDEX))
        self._backups = inventory.known_backups(self._repository)
        self._damaged = self._repository.damaged()

    def retain(
        self, rules: retention.KeepRules, zone: tzinfo, *, drop_suspect: bool
    ) -> dict[str, list[retention.RetentionVerdict]]:
        """Decides which backups to keep, by volume.

        One of which something is missing is not good, nor is a Suspect one.

        Raises:
            DataCorrupt: An index segment is damaged.
        """
        marker = reachability.Marker(self._repository, self._judge, self._beat)
        written = {
            info.key: info.modified_at for info in self._repository.store.list(layout.MANIFESTS)
        }
        by_volume: dict[str, list[retention.PointInTime]] = defaultdict(list)
        for backup in self._backups:
            good = marker.mark(backup.root, backup.chunk_count).whole
            good = good and backup.backup_id not in self._damaged and not backup.holds
            point = retention.PointInTime(
                backup_id=backup.backup_id,
                at=backup.point_in_time,
                good=good,
                holds=backup.holds,
                parent=backup.parent,
                written_at=written.get(layout.manifest_key(backup.backup_id)),
            )
            by_volume[backup.volume_uid].append(point)
        return {
            uid: retention.decide_retention(
                points, rules, zone, now=self._now, drop_suspect=drop_suspect
            )
            for uid, points in sorted(by_volume.items())
        }

    def drop(
        self, verdicts: dict[str, list[retention.RetentionVerdict]]
    ) -> list[inventory.KnownBackup]:
        """Counts the backups that are not kept as gone, and returns them."""
        self._dropped = {
            verdict.point.backup_id
            for of_volume in verdicts.values()
            for verdict in of_volume
            if not verdict.keep
        }
        dropped = [backup for backup in self._backups if backup.backup_id in self._dropped]
        self._dropped_sessions = {backup.session for backup in dropped}
        self._backups = self._kept(self._backups)
        return dropped

    def look_at_sessions(self) -> list[collection.SessionStep]:
        """Decides on each session."""
        steps = inventory.judge_sessions(
            self._repository, self._backups, self._dropped_sessions, self._now
        )
        self._steps = {step.session_id: step for step in steps}
        return steps

    def look_at_backups(self) -> None:
        """Reads manifests and then sessions, after what is given up was closed.

        Raises:
            DataCorrupt: A manifest cannot be read.
        """
        self._backups = self._kept(inventory.known_backups(self._repository))
        committed = {backup.session for backup in self._backups}
        self._open = [
            session
            for session in inventory.known_sessions(self._repository)
            if session.session_id not in committed and not self._given_up(session.session_id)
        ]

    def mark(self) -> None:
        """Marks everything that backups and writers need.

        Raises:
            DataCorrupt: What a backup needs cannot be told.
        """
        marker = reachability.Marker(self._repository, self._judge, self._beat)
        self._marker = marker
        blind = []
        for backup in self._backups:
            harm = marker.mark(backup.root, backup.chunk_count)
            if not harm.whole:
                self.harmed[backup.backup_id] = harm.words
            if (harm.unreadable or harm.unlisted) and backup.backup_id not in self._damaged:
                blind.append(backup.backup_id)
        if blind:
            raise errors.DataCorrupt(
                f"nothing is collected, because parts of {', '.join(blind[:5])} are in no index "
                "segment or cannot be read, so what they need is not known: see `mooring repo "
                "check`, then `mooring repo repair`"
            )
        for session in self._open:
            if session.announced is not None:
                for pin in session.announced.parents:
                    # A parent that is damaged saves its writer nothing; what is left is held.
                    chunks = -(-pin.size_bytes // session.announced.chunk_size_bytes)
                    marker.mark(pin.root, chunks)

    def facts(self) -> Iterator[collection.PackFacts]:
        """Yields what is known of each pack that was listed."""
        live, named = self._live_bytes()
        held = self._held_packs()
        begun = [session.info.modified_at - collection.CLOCK_SLACK for session in self._open]
        for place, pack in enumerate(self._packs.in_order()):
            held_by = _HELD_BY_SESSION if pack.name in held else None
            if begun and not named[place] and pack.modified_at >= min(begun):
                held_by = _HELD_BY_AGE
            elif held_by is None and self.harmed and not named[place]:
                held_by = _HELD_BY_HARM
            tombstone = self._doomed.get(pack.name)
            yield collection.PackFacts(
                name=pack.name,
                size_bytes=pack.size_bytes,
                live_bytes=live[place],
                doomed_for=None if tombstone is None else self._now - tombstone.modified_at,
                held_by=held_by,
            )

    def _live_bytes(self) -> tuple["array[int]", bytearray]:
        """Returns for each listed pack the bytes that are needed of it, and whether it is named."""
        live, named = array("Q", [0]) * len(self._packs), bytearray(len(self._packs))
        for index in (self.marker.nodes, self.marker.data):
            sums = array("Q", [0]) * len(index.pack_list())
            for chunk in index.marked():
                sums[chunk.pack] += chunk.length
            for pack, live_bytes in zip(index.pack_list(), sums, strict=True):
                place = self._packs.place(pack.name)
                if place is not None:
                    named[place] = True
                    live[place] += live_bytes
                elif live_bytes:
                    self._needed_gone.add(pack.name)
        return live, named

    def stale_segments(self) -> list[blobstores.BlobInfo]:
        """Returns the segments that may be written anew: those of no writer that is under way."""
        apart = self._pinned_sessions()
        found = []
        for info in self._segments:
            parts = layout.segment_parts(info.key)
            if parts is not None and parts[0] not in apart:
                found.append(info)
        return found

    def useless_packs(self) -> Iterator[bytes]:
        """Yields packs that segments name although they are gone, and that nothing needs."""
        return (
            pack.name
            for index in (self.marker.nodes, self.marker.data)
            for number, pack in enumerate(index.pack_list())
            if index.gone(number) and pack.name not in self._needed_gone
        )

    def old_tombstones(self) -> Iterator[bytes]:
        """Yields the tombstones of packs that are gone, and that no segment names."""
        indexes = (self.marker.nodes, self.marker.data)
        return (
            tombstone.name
            for tombstone in self._doomed.in_order()
            if tombstone.name not in self._packs
            and all(index.pack_list().number(tombstone.name) is None for index in indexes)
            and self._now - tombstone.modified_at >= collection.TOMBSTONE_STAYS
        )

    def old_closings(self) -> set[backups.SessionId]:
        """Returns the sessions that were closed long ago; their objects may be gone since."""
        return {
            session
            for session, since in inventory.closed(self._repository).items()
            if self._now - since >= collection.TOMBSTONE_STAYS
        }

    def is_old(self, info: blobstores.BlobInfo) -> bool:
        """Tells whether an object was written long enough ago that nobody is at work on it."""
        return self._now - info.modified_at >= collection.MARKS_APART

    def committed(self) -> set[backups.SessionId]:
        """Returns the sessions of all backups that are kept."""
        return {backup.session for backup in self._backups}

    def _kept(self, found: list[inventory.KnownBackup]) -> list[inventory.KnownBackup]:
        return [backup for backup in found if backup.backup_id not in self._dropped]

    def _given_up(self, session: backups.SessionId) -> bool:
        step = self._steps.get(session)
        return step is not None and step.fate in (
            collection.SessionFate.CLOSE,
            collection.SessionFate.CLOSED,
            collection.SessionFate.REMOVE,
        )

    def _pinned_sessions(self) -> set[backups.SessionId]:
        pinned = {session.session_id for session in self._open}
        for session in self._open:
            pinned.update(session.announced.sessions if session.announced else ())
        return pinned

    def _held_packs(self) -> set[bytes]:
        held: set[bytes] = set()
        for session in self._pinned_sessions():
            held |= inventory.session_packs(self._repository, session)
        return held

    def _judge(self, pack: segments.PackInfo) -> int:
        info: pack_census.ListedPack | blobstores.BlobInfo | None = self._packs.get(pack.name)
        if info is None:
            if pack.name not in self._later:  # written since the list was made
                self._later[pack.name] = self._repository.store.head(layout.pack_key(pack.name))
            info = self._later[pack.name]
        if info is None or info.size_bytes != pack.size_bytes:
            return blob_index.GONE
        # The tombstones of before the packs were listed count too: see `inventory`.
        return blob_index.DOOMED if pack.name in self._doomed else blob_index.GOOD
