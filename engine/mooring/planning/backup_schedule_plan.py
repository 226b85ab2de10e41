"""What a BackupSchedule starts now, and when it is due next. Pure, with CronJob's words.

A time is due once: when it is past what was run last, past the object's creation, past the last
change of the schedule or end of a suspension, and not later than its deadline. Of several such
times only the last is run. Names follow from time and claim, so that after a kill anywhere the
same decision is taken again and meets its own Backups.
"""

import enum
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mooring.domain import errors
from mooring.planning import timetables

_REMEMBERED_RUNS = 20
_CLOCK_TOLERANCE = timedelta(days=1)
_RUN_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_STAMP = re.compile(r"[0-9]{8}-[0-9]{4}\Z")
_LONGEST_PART = 100  # of two names in a name of at most 253 characters


class Concurrency(enum.StrEnum):
    """What happens to a claim whose last backup still runs when the next one is due."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


@dataclass(frozen=True)
class Run:
    """One time at which backups are made.

    Attributes:
        name: The same in all its Backups: the scheduled minute in UTC, or the word of a person.
        at: The scheduled time, or when it was asked for.
        asked: Whether a person asked for it.
        everything: Whether its Backups read everything, whatever tracking says.
    """

    name: str
    at: datetime
    asked: bool = False
    everything: bool = False


@dataclass(frozen=True)
class Part:
    """One claim's share of a run: one Backup.

    Attributes:
        claim: Which.
        run: Of which.
        everything: Whether it reads everything, whatever tracking says.
    """

    claim: str
    run: Run
    everything: bool = False


@dataclass(frozen=True)
class Waiting:
    """A part that could not start yet.

    Attributes:
        part: Which.
        queued: Whether it waits for its turn, and not for its claim's last backup.
    """

    part: Part
    queued: bool = False


@dataclass(frozen=True)
class ActiveBackup:
    """A Backup of this schedule that has not ended and is not being deleted."""

    name: str
    claim: str
    run: str


@dataclass(frozen=True)
class Memory:
    """What has to be known the next time.

    Attributes:
        following: The schedule that was followed last; empty for none, None before the first look.
        since: Since when; times up to then are never caught up.
        last_scheduled: The last scheduled time that was run.
        waiting: What waits for other backups to end.
        asked: Names of the last runs that people asked for.
    """

    following: str | None = None
    since: datetime | None = None
    last_scheduled: datetime | None = None
    waiting: tuple[Waiting, ...] = ()
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """A schedule and its surroundings.

    Attributes:
        created_at: When the object was made.
        following: Names what `timetable` says; empty without one.
        timetable: None while it is suspended or cannot be read.
        concurrency: See there.
        parallelism: How many of its Backups run together.
        starting_deadline: How late a run may begin.
        asked: Name of the run that a person asks for.
        claims: The claims that are selected now.
        active: Its Backups that have not ended.
        memory: As the last decision left it.
        everything: When everything is read; None for never.
        owed: Claims whose last Backup should have read everything, and failed.
    """

    created_at: datetime
    following: str
    timetable: timetables.Timetable | None
    concurrency: Concurrency
    parallelism: int
    starting_deadline: timedelta
    asked: str | None
    claims: Sequence[str]
    active: Sequence[ActiveBackup]
    memory: Memory
    everything: timetables.Timetable | None = None
    owed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        runs: The runs that begin now.
        start: Backups to make, each under the name of its part.
        end: Backups to stop, because others take their place.
        memory: What to remember, once all of it is done.
        next_at: When the next run is due; None for never.
        missed: A time that has passed for good.
    """

    runs: tuple[Run, ...]
    start: tuple[Part, ...]
    end: tuple[str, ...]
    memory: Memory
    next_at: datetime | None
    missed: datetime | None = None


@dataclass
class _Parts:
    """What a decision starts, ends and lets wait, while it is put together."""

    active: list[ActiveBackup]
    start: list[Part] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)


def parse_run_name(text: str) -> str:
    """Returns the name of a run that a person asks for.

    Raises:
        InvalidInput: It is no label's value, or looks like the name of a scheduled run.
    """
    if not _RUN_NAME.match(text) or _STAMP.match(text):
        raise errors.InvalidInput(
            f"{text[:80]!r} is no name of a run: use at most 63 letters, digits, '-', '_' and '.', "
            "and not the form of a scheduled run's name, such as 20260102-0300"
        )
    return text


def scheduled_run(at: datetime) -> Run:
    """Returns the run of a scheduled time."""
    return Run(f"{at.astimezone(UTC):%Y%m%d-%H%M}", at)


def backup_name(schedule: str, schedule_uid: str, part: Part) -> str:
    """Names the Backup of a part: the same whenever it is asked, and another for any other part."""
    identity = f"{schedule_uid}/{part.claim}/{part.run.name}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    words = [schedule[:_LONGEST_PART], part.claim[:_LONGEST_PART]]
    if not part.run.asked:
        words.append(part.run.name)
    return "-".join([*(word.strip("-.") for word in words), digest])


def decide(seen: Observed, now: datetime) -> Decision:
    """Decides what is started now. The same question again, with what it made, starts nothing."""
    memory = _remember(seen, now)
    runs: list[Run] = []
    if seen.asked is not None and seen.asked not in memory.asked:
        runs.append(Run(seen.asked, now, asked=True))
        memory = replace(memory, asked=(*memory.asked, seen.asked)[-_REMEMBERED_RUNS:])
    due, missed = _due(seen, memory, now)
    if due is not None:
        runs.append(replace(scheduled_run(due), everything=_reads_everything(seen, memory, due)))
        memory = replace(memory, last_scheduled=due)
    elif missed is not None:
        memory = replace(memory, since=now - seen.starting_deadline)
    parts = _Parts(list(seen.active))
    for part in [*_still_waiting(seen, memory, due is not None, now), *_parts(seen, runs)]:
        _place(part, seen, parts)
    memory = replace(memory, waiting=tuple(parts.waiting))
    next_at = None
    if seen.timetable is not None:
        next_at = seen.timetable.next_after(max(now, _floor(seen, memory)))
    return Decision(tuple(runs), tuple(parts.start), tuple(parts.end), memory, next_at, missed)


def _remember(seen: Observed, now: datetime) -> Memory:
    """Returns the memory, beginning anew where the schedule or the clock has changed."""
    memory = seen.memory
    if memory.following != seen.following:
        since = seen.created_at if memory.following is None else now
        memory = replace(memory, following=seen.following, since=since)
    # A clock that was years ahead for a moment must not stop the schedule for years.
    if memory.since is not None and memory.since > now + _CLOCK_TOLERANCE:
        memory = replace(memory, since=now)
    if memory.last_scheduled is not None and memory.last_scheduled > now + _CLOCK_TOLERANCE:
        memory = replace(memory, last_scheduled=now)
    return memory


def _floor(seen: Observed, memory: Memory) -> datetime:
    """Returns the moment after which times count."""
    known = (seen.created_at, memory.since, memory.last_scheduled)
    return max(moment for moment in known if moment is not None)


def _due(seen: Observed, memory: Memory, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Returns the time that is due now, or one that has passed for good."""
    if seen.timetable is None:
        return None, None
    floor, too_late = _floor(seen, memory), now - seen.starting_deadline
    due = seen.timetable.latest_in(max(floor, too_late), now)
    if due is not None or floor >= too_late:
        return due, None
    first = seen.timetable.next_after(floor)
    return None, first if first is not None and first <= too_late else None


def _reads_everything(seen: Observed, memory: Memory, due: datetime) -> bool:
    """Tells whether a time to read everything has come since the last run, which may be late."""
    if seen.everything is None:
        return False
    wanted = seen.everything.next_after(memory.last_scheduled or _floor(seen, memory))
    return wanted is not None and wanted <= due


def _still_waiting(seen: Observed, memory: Memory, is_due: bool, now: datetime) -> list[Part]:
    """Returns what still waits: not what the present run does anyway, nor what is too late."""
    return [
        waiting.part
        for waiting in memory.waiting
        if waiting.part.claim in seen.claims
        and (waiting.queued or now - waiting.part.run.at < seen.starting_deadline)
        and (waiting.part.run.asked or (not is_due and seen.timetable is not None))
    ]


def _parts(seen: Observed, runs: Sequence[Run]) -> list[Part]:
    return [
        Part(claim, run, everything=run.everything or claim in seen.owed)
        for run in runs
        for claim in seen.claims
    ]


def _place(part: Part, seen: Observed, parts: _Parts) -> None:
    """Lets a part start, or wait for its claim or its turn, or take another's place."""
    # Its own Backup is no hindrance: it is there when the last try was killed after making it.
    own = (part.claim, part.run.name)
    running = [
        backup
        for backup in parts.active
        if backup.claim == part.claim and backup.run != part.run.name
    ]
    starting = [other for other in parts.start if other.claim == part.claim]
    if seen.concurrency is Concurrency.FORBID and (running or starting):
        parts.waiting.append(Waiting(part))
        return
    if seen.concurrency is Concurrency.REPLACE:
        parts.end += [backup.name for backup in running]
        parts.active = [backup for backup in parts.active if backup not in running]
        parts.start = [other for other in parts.start if other not in starting]
    busy = {(backup.claim, backup.run) for backup in parts.active}
    busy |= {(other.claim, other.run.name) for other in parts.start}
    if len(busy - {own}) >= seen.parallelism:
        parts.waiting.append(Waiting(part, queued=True))
    else:
        parts.start.append(part)
