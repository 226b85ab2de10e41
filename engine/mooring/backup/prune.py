"""Prune: drops backups by retention, and collects what nothing needs any more.

Reading and deciding come first, acting after; a dry run ends in between. Whatever the process is
killed or paused at, the next collection goes on from what the store shows.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from mooring.backup import config_trust, inventory, lease, progress, prune_acts, prune_marks
from mooring.backup import repository as repositories
from mooring.planning import collection, retention


@dataclass(frozen=True)
class PruneRequest:
    """What shall be done, and how much of it.

    Attributes:
        keep: Retention for each volume's backups; None drops no backup.
        zone: Where retention's days begin.
        limits: How much may be copied.
        maximum_duration: After it nothing new is begun; None for no limit.
        dry_run: Only says what would be done; writes nothing, and takes no lease.
        exclusive: The caller promises that no other collector works on the repository.
        drop_suspect: Whether retention drops Suspect backups that a good one has followed.
    """

    keep: retention.KeepRules | None = None
    zone: tzinfo = UTC
    limits: collection.CollectionLimits = field(default_factory=collection.CollectionLimits)
    maximum_duration: timedelta | None = None
    dry_run: bool = False
    exclusive: bool = False
    drop_suspect: bool = False


@dataclass
class PruneReport:
    """What was decided and done.

    Attributes:
        now: By the store's clock; in a dry run by this machine's.
        verdicts: One on each backup, by volume; empty without retention.
        sessions: What becomes of each session.
        packs: What becomes of each pack.
        acts: What was done; in a dry run nothing.
        harmed: Backups of which something is missing, and what.
    """

    now: datetime
    verdicts: dict[str, list[retention.RetentionVerdict]] = field(default_factory=dict)
    sessions: list[collection.SessionStep] = field(default_factory=list)
    packs: collection.PackPlan = field(default_factory=collection.PackPlan)
    acts: prune_acts.Acts = field(default_factory=prune_acts.Acts)
    harmed: dict[str, str] = field(default_factory=dict)

    def count(self, fate: collection.PackFate) -> tuple[int, int]:
        """Returns how many packs have a fate, and their bytes."""
        number = size_bytes = 0
        for step in self.packs:
            if step.fate is fate:
                number += 1
                size_bytes += step.size_bytes
        return number, size_bytes


class Pace:
    """Keeps the lease alive, and says when to stop."""

    def __init__(
        self, watch: progress.Watch, held: lease.Lease | None, maximum_duration: timedelta | None
    ) -> None:
        self._meter = progress.ProgressMeter(watch, 0)
        self._lease = held
        self._end = None
        if maximum_duration is not None:
            self._end = time.monotonic() + maximum_duration.total_seconds()

    def beat(self) -> None:
        """Shows a sign of life.

        Raises:
            Cancelled: The watch said so.
            Busy: Another collector took over.
        """
        self._meter.check()
        if self._lease is not None:
            self._lease.renew()

    def go_on(self) -> bool:
        """Beats, and tells whether there is time left."""
        self.beat()
        return self._end is None or time.monotonic() < self._end


def prune(
    repository: repositories.Repository, request: PruneRequest, watch: progress.Watch
) -> PruneReport:
    """Drops backups that retention does not keep, and collects garbage.

    It may be repeated at any time; what one run doomed, one at least 24 h later deletes.

    Args:
        repository: Which.
        request: What to do.
        watch: May cancel it.

    Raises:
        Busy: Another collector is at work.
        Unsupported: The store has no conditional writes, so `exclusive` is needed.
        DataCorrupt: Nobody knows what is needed, because a manifest, an index segment or a tree is
            damaged. Nothing was collected.
        AnotherRepository: `config` is not of this repository.
        Cancelled: The watch said so; what was done stays done.
    """
    config_trust.refuse_foreign(repository)
    if request.dry_run:
        now = repository.surroundings.clock.now()
        return _prune(repository, request, now, Pace(watch, None, request.maximum_duration))
    now = inventory.store_now(repository)
    with lease.held(repository, now, exclusive=request.exclusive) as held:
        return _prune(repository, request, now, Pace(watch, held, request.maximum_duration))


def _prune(
    repository: repositories.Repository, request: PruneRequest, now: datetime, pace: Pace
) -> PruneReport:
    report = PruneReport(now)
    marks = prune_marks.Marks(repository, now, pace.beat)
    marks.look_at_packs()
    if request.keep is not None:
        report.verdicts = marks.retain(
            request.keep, request.zone, drop_suspect=request.drop_suspect
        )
        dropped = marks.drop(report.verdicts)
        if not request.dry_run:
            report.acts.forget(repository, dropped)
    report.sessions = marks.look_at_sessions()
    if not request.dry_run:
        report.acts.close(repository, report.sessions)
    marks.look_at_backups()
    marks.mark()
    report.harmed = marks.harmed
    report.packs = collection.PackPlan(marks.facts(), request.limits)
    if not request.dry_run:
        prune_acts.Acting(repository, marks, report.acts, pace.go_on).run(
            report.packs, report.sessions
        )
    return report
