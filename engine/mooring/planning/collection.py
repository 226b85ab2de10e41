"""Decides what a garbage collection does with each pack and each session, and says why.

Two marks, at least a day apart by the store's own clock: the first dooms a pack, the second lets it
go. A doomed pack is never used again; what is still needed of it is copied elsewhere first.
"""

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from mooring.domain import backups, records

MARKS_APART = timedelta(hours=24)
SESSION_EXPIRES = timedelta(days=7)
"""After so long without a sign of life a writer is given up; until then it can be resumed."""
SUPERSEDED_EXPIRES = timedelta(hours=24)
TOMBSTONE_STAYS = timedelta(hours=48)
CLOCK_SLACK = timedelta(hours=1)
"""How far the times of objects of one store may contradict their order."""
DEFAULT_WASTE = 0.5
_RECORD = struct.Struct("<16sQQqI")
_NOT_DOOMED = -(1 << 63)
_MICROSECOND = timedelta(microseconds=1)


class PackFate(enum.StrEnum):
    """What happens to a pack."""

    KEEP = "keep"
    HELD = "held"  # a writer that is under way may need it
    DOOM = "doom"  # nothing needs it: the first mark
    REWRITE = "rewrite"  # mostly waste: what is needed is copied, then it is doomed
    WAIT = "wait"  # doomed less than a day ago
    RESCUE = "rescue"  # doomed, yet needed: what is needed is copied; the next collection deletes
    DELETE = "delete"  # doomed a day ago, and again nothing needs it


@dataclass(frozen=True)
class PackFacts:
    """What a collection knows of a pack.

    Attributes:
        name: Its name.
        size_bytes: Of the object.
        live_bytes: Of chunks that are needed and have no better copy elsewhere.
        doomed_for: Age of its tombstone by the store's clock; None without one.
        held_by: Why it must stay whatever it holds; None if nothing says so.
    """

    name: bytes
    size_bytes: int
    live_bytes: int
    doomed_for: timedelta | None = None
    held_by: str | None = None


@dataclass(frozen=True)
class PackStep:
    """What is to be done with a pack, and why."""

    name: bytes
    size_bytes: int
    live_bytes: int
    fate: PackFate
    reason: str


@dataclass(frozen=True)
class CollectionLimits:
    """How much a collection may do.

    Attributes:
        rewrite_bytes: Bytes that it may copy; None for no limit.
        waste: Share of a pack that must be waste before the rest of it is copied, 0 to 1.
    """

    rewrite_bytes: int | None = None
    waste: float = DEFAULT_WASTE


class PackPlan:
    """What is to be done with each pack, sorted by name.

    A repository may have millions, so it keeps some 50 bytes of each, and judges whenever it is
    gone through.
    """

    def __init__(
        self, packs: Iterable[PackFacts] = (), limits: CollectionLimits = CollectionLimits()
    ) -> None:
        """Decides on every pack.

        Args:
            packs: All that a listing showed before anything else was looked at; names have 16
                bytes.
            limits: What it may cost. What must be rescued comes before what is only wasteful.
        """
        self._limits = limits
        self._reasons: list[str] = []
        self._records = records.joined_in_order(map(self._packed, packs), _RECORD.size)
        self._postponed = bytearray(len(self))
        if limits.rewrite_bytes is not None:
            self._postpone(limits.rewrite_bytes)

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __iter__(self) -> Iterator[PackStep]:
        for postponed, values in zip(
            self._postponed, _RECORD.iter_unpack(self._records), strict=True
        ):
            step = _judge(self._unpacked(*values), self._limits)
            yield _postponed(step) if postponed else step

    def _postpone(self, rewrite_bytes: int) -> None:
        left = rewrite_bytes
        copies = [
            (_urgency(step), place, step.live_bytes)
            for place, step in enumerate(self)
            if step.fate in (PackFate.RESCUE, PackFate.REWRITE)
        ]
        for _, place, live_bytes in sorted(copies):
            if live_bytes > left:
                self._postponed[place] = True
            else:
                left -= live_bytes

    def _packed(self, pack: PackFacts) -> bytes:
        held_by = 0
        if pack.held_by is not None:
            if pack.held_by not in self._reasons:
                self._reasons.append(pack.held_by)
            held_by = self._reasons.index(pack.held_by) + 1
        doomed_us = _NOT_DOOMED if pack.doomed_for is None else pack.doomed_for // _MICROSECOND
        return _RECORD.pack(pack.name, pack.size_bytes, pack.live_bytes, doomed_us, held_by)

    def _unpacked(
        self, name: bytes, size_bytes: int, live_bytes: int, doomed_us: int, held_by: int
    ) -> PackFacts:
        return PackFacts(
            name,
            size_bytes,
            live_bytes,
            doomed_for=None if doomed_us == _NOT_DOOMED else doomed_us * _MICROSECOND,
            held_by=self._reasons[held_by - 1] if held_by else None,
        )


def _judge(pack: PackFacts, limits: CollectionLimits) -> PackStep:
    fate, reason = _fate(pack, limits)
    return PackStep(pack.name, pack.size_bytes, pack.live_bytes, fate, reason)


def _fate(pack: PackFacts, limits: CollectionLimits) -> tuple[PackFate, str]:
    if pack.doomed_for is not None:
        return _fate_of_doomed(pack, pack.doomed_for)
    if pack.held_by is not None:
        return PackFate.HELD, pack.held_by
    if not pack.live_bytes:
        return PackFate.DOOM, "no backup needs anything in it"
    waste = 1 - pack.live_bytes / pack.size_bytes
    if waste >= limits.waste:
        return PackFate.REWRITE, f"{waste:.0%} of it is waste"
    return PackFate.KEEP, f"{1 - waste:.0%} of it is needed"


def _fate_of_doomed(pack: PackFacts, doomed_for: timedelta) -> tuple[PackFate, str]:
    if doomed_for < MARKS_APART:
        hours = max(0.0, doomed_for / timedelta(hours=1))
        return PackFate.WAIT, f"doomed {hours:.1f} h ago; it must be 24 h"
    if pack.held_by is not None:
        return PackFate.WAIT, f"doomed, but {pack.held_by}"
    if pack.live_bytes:
        return PackFate.RESCUE, "doomed, but a backup that came meanwhile needs some of it"
    return PackFate.DELETE, "doomed more than 24 h ago, and still nothing needs it"


def _urgency(step: PackStep) -> tuple[bool, float]:
    return step.fate is not PackFate.RESCUE, step.live_bytes / step.size_bytes


def _postponed(step: PackStep) -> PackStep:
    fate = PackFate.WAIT if step.fate is PackFate.RESCUE else PackFate.KEEP
    reason = f"{step.reason}; left for later, the budget of copied bytes is spent"
    return replace(step, fate=fate, reason=reason)


class SessionFate(enum.StrEnum):
    """What happens to a session."""

    COMMITTED = "committed"  # its backup exists
    OPEN = "open"  # all that it pins and wrote is held
    CLOSE = "close"  # given up: its writer will fail, and a retry begins anew
    CLOSED = "closed"
    REMOVE = "remove"  # closed a day ago


@dataclass(frozen=True)
class SessionFacts:
    """What a collection knows of a session.

    Attributes:
        session_id: Which.
        committed: Whether a backup exists that says it was made by this session.
        superseded: Whether another session made the backup.
        readable: Whether its announcement can be read.
        idle_for: Since it was announced, or since its last index segment, by the store's clock.
        closed_for: Age of the mark that closes it; None without one.
    """

    session_id: backups.SessionId
    committed: bool
    superseded: bool
    readable: bool
    idle_for: timedelta
    closed_for: timedelta | None = None


@dataclass(frozen=True)
class SessionStep:
    """What is to be done with a session, and why."""

    session_id: backups.SessionId
    fate: SessionFate
    reason: str


def plan_session(session: SessionFacts) -> SessionStep:
    """Decides on a session."""
    fate, reason = _session_fate(session)
    return SessionStep(session.session_id, fate, reason)


def _session_fate(session: SessionFacts) -> tuple[SessionFate, str]:
    idle = f"{session.idle_for / timedelta(hours=1):.1f} h without a sign of life"
    if session.committed:
        return SessionFate.COMMITTED, "its backup exists"
    if session.closed_for is not None and session.closed_for >= MARKS_APART:
        return SessionFate.REMOVE, "closed more than 24 h ago, and there is no backup of it"
    if session.closed_for is not None:
        return SessionFate.CLOSED, "closed less than 24 h ago"
    return _fate_of_open(session, idle)


def _fate_of_open(session: SessionFacts, idle: str) -> tuple[SessionFate, str]:
    if not session.readable:
        return SessionFate.CLOSE, "its announcement is damaged, so what it needs is not known"
    if session.superseded and session.idle_for >= SUPERSEDED_EXPIRES:
        return SessionFate.CLOSE, f"another attempt made the backup, and {idle}"
    if session.idle_for >= SESSION_EXPIRES:
        return SessionFate.CLOSE, idle
    return SessionFate.OPEN, idle
