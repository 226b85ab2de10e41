"""Check of a whole repository: what is damaged, and which backups that touches.

Structure first: each tree is walked once, however many backups share it, and each pack is looked
for and measured. A full check then reads every pack once; a share of it reads as many of them as
are due on one day. It changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mooring.backup import (
    blob_index,
    config_trust,
    inventory,
    pack_scan,
    progress,
    reachability,
    verify,
)
from mooring.backup import repository as repositories
from mooring.backup.format import layout, segments
from mooring.domain import backups, errors

_EPOCH_DAYS = datetime(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Share:
    """A part of all packs, so that every one has its day.

    Attributes:
        parts: In how many parts the packs are divided, by their random names.
        part: Which of them, from 0.
    """

    parts: int = 1
    part: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.part < self.parts <= 10_000:
            raise errors.InvalidInput(
                f"a share is one of 1 to 10000 parts, not part {self.part} of {self.parts}"
            )

    @classmethod
    def of_the_day(cls, parts: int, now: datetime) -> "Share":
        """Returns the part that is due on a day; after so many days each has been."""
        if parts < 1:
            raise errors.InvalidInput("a share is one of 1 to 10000 parts")
        return cls(parts, (now.toordinal() - _EPOCH_DAYS) % parts)

    def includes(self, pack: bytes) -> bool:
        """Tells whether a pack is in it."""
        return int.from_bytes(pack[:4], "big") % self.parts == self.part


def check_repository(
    repository: repositories.Repository,
    watch: progress.Watch,
    *,
    full: bool = False,
    share: Share | None = None,
) -> verify.CheckReport:
    """Checks every backup.

    Args:
        repository: Which.
        watch: May cancel it; with `full` or `share` it is told of progress.
        full: Whether to read, decrypt and re-hash every pack.
        share: The packs to read instead of all.

    Raises:
        Unreachable: The store does not answer; nothing is known.
        AnotherRepository: `config` is not of this repository.
        Cancelled: The watch said so.
    """
    config_trust.refuse_foreign(repository)
    inspection = _Inspection(repository, watch)
    inspection.look_at_structure()
    if full or share is not None:
        inspection.read(share or Share())
    return inspection.report


class _Inspection:
    def __init__(self, repository: repositories.Repository, watch: progress.Watch) -> None:
        self.report = verify.CheckReport()
        self._repository = repository
        self._watch = watch
        self._meter = progress.ProgressMeter(watch, 0)
        self._problems: dict[str, str] = {}
        self._packs = inventory.packs(repository)
        self._marker = reachability.Marker(
            repository,
            inventory.judge_by(self._packs, repository),
            self._meter.check,
            self._problems,
        )
        self._backups: list[backups.BackupManifest] = []

    def look_at_structure(self) -> None:
        for problem in blob_index.advice(self._problems.values()):
            self.report.add(problem)
        for backup_id, found in self._repository.catalogue():
            self.report.backups += 1
            if not isinstance(found, backups.BackupManifest):
                self.report.add(f"backup {backup_id}: {found}")
                continue
            self._backups.append(found)
            if not self._marker.mark(found.root, found.chunk_count).whole:
                self._say_where(found)
        self.report.chunks = self._marker.data.marked_count()

    def read(self, share: Share) -> None:
        wanted = [pack for pack in self._needed_packs() if share.includes(pack.name)]
        self._meter = progress.ProgressMeter(self._watch, sum(pack.size_bytes for pack in wanted))
        sizes = {pack.name: pack.size_bytes for pack in wanted}
        bad: dict[bytes, str] = {}
        for scanned in pack_scan.PackScanner(self._repository).scan(wanted, self._meter.check):
            self.report.bytes_read += scanned.bytes_read
            self._meter.add(done=sizes[scanned.name], read=scanned.bytes_read)
            key = layout.pack_key(scanned.name)
            if scanned.problem is not None:
                self.report.add(f"object {key} cannot be read: {scanned.problem}")
                bad.update(self._chunks_in(scanned.name, key))
            for kind, ident in scanned.bad:
                bad[ident] = f"{kind.name.lower()} chunk {ident.hex()} in object {key} is damaged"
        self._meter.finish()
        if bad:
            self._name_touched(bad)

    def _needed_packs(self) -> list[segments.PackInfo]:
        needed: dict[bytes, segments.PackInfo] = {}
        for index in (self._marker.nodes, self._marker.data):
            numbers = {chunk.pack for chunk in index.marked()}
            found = (index.pack(number) for number in numbers if not index.gone(number))
            needed.update((pack.name, pack) for pack in found)
        return sorted(needed.values(), key=lambda pack: pack.name)

    def _chunks_in(self, pack: bytes, key: str) -> Iterator[tuple[bytes, str]]:
        for index in (self._marker.nodes, self._marker.data):
            for chunk in index.marked():
                if index.pack(chunk.pack).name == pack:
                    yield chunk.ident, f"object {key} cannot be read"

    def _say_where(self, manifest: backups.BackupManifest) -> None:
        """Goes down the tree of one backup again, to name the places that are damaged."""
        found = verify.check_backup(
            self._repository, manifest.backup_id, progress.Watch(cancelled=self._watch.cancelled)
        )
        self.report.take(found)

    def _name_touched(self, bad: dict[bytes, str]) -> None:
        named: set[bytes] = set()
        for manifest in self._backups:
            named |= verify.name_places(self._repository, manifest, bad, self.report)
        for ident in bad.keys() - named:
            self.report.add(f"{bad[ident]}; no backup needs it for its content")
