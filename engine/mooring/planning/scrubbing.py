"""Which parts of a volume a backup reads again although they have not changed. Pure.

A backup that reads only what changed never sees the rest, so a disk may lose it unnoticed. Each
backup takes its turn: it reads on from where the one before ended, as large a part of the volume as
the time since is of the period. So all of it is read once in a period, however often there are
backups, and a turn costs what the time since the last one is worth.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from mooring.domain import backups
from mooring.domain.extents import Range

DEFAULT_PERIOD = timedelta(days=30)
LEAST_BYTES = 2 << 20
MOST_PLACES = 1000
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class ScrubPolicy:
    """How much is read again.

    Attributes:
        period: In which everything is read once; zero for never.
        least_bytes: What a turn reads at least, however short the time since the last one.
    """

    period: timedelta = DEFAULT_PERIOD
    least_bytes: int = LEAST_BYTES


NEVER = ScrubPolicy(timedelta())


@dataclass(frozen=True)
class Turn:
    """What one backup looks at.

    Attributes:
        ranges: Parts of the volume, in order; what changed is left out later.
        next_chunk: Where the next turn begins.
    """

    ranges: tuple[Range, ...]
    next_chunk: int


NO_TURN = Turn((), 0)


def plan_turn(
    parent: backups.BackupManifest, size_bytes: int, elapsed: timedelta, policy: ScrubPolicy
) -> Turn:
    """Plans the turn of a backup.

    Args:
        parent: The backup before.
        size_bytes: Size of the volume now.
        elapsed: The time since the parent's moment.
        policy: How much is read again.
    """
    chunk_bytes = parent.chunk_size_bytes
    count = -(-size_bytes // chunk_bytes)
    begin = parent.scrub.next_chunk % count
    if not policy.period:
        return Turn((), begin)
    least = max(1, policy.least_bytes // chunk_bytes)
    share = -(-count * max(0, elapsed // _MICROSECOND) // (policy.period // _MICROSECOND))
    length = min(count, max(least, share))
    beyond = max(0, begin + length - count)
    parts = [(0, beyond), (begin, length - beyond)]
    ranges = (Range(first * chunk_bytes, some * chunk_bytes) for first, some in parts if some)
    whole = (_clipped(one, size_bytes) for one in ranges)
    return Turn(tuple(whole), (begin + length) % count)


def whole_turn(parent: backups.BackupManifest, size_bytes: int) -> Turn:
    """Returns the turn of a backup that trusts no tracking: everything."""
    return Turn((Range(0, size_bytes),), parent.scrub.next_chunk)


def why_whole(before: Iterable[backups.BackupManifest], *, elsewhere: bool, asked: bool) -> str:
    """Returns why all that tracking says is unchanged is read too; empty when it is not.

    Args:
        before: The backups before: what it builds on, and the last ones of the volume.
        elsewhere: Whether a backup of another volume of the pool found something.
        asked: Whether somebody asks for it.
    """
    for one in before:
        if one.scrub.doubted:
            return f"backup {one.backup_id} found what tracking did not say"
    if elsewhere:
        return "the disk lost something of another volume of this pool"
    return "that is asked for" if asked else ""


def _clipped(one: Range, size_bytes: int) -> Range:
    return Range(one.offset_bytes, min(one.end_bytes, size_bytes) - one.offset_bytes)


def without(ranges: Iterable[Range], removed: Iterable[Range]) -> Iterator[Range]:
    """Yields what of some ranges is in none of others; both in order, each without overlaps."""
    remaining = iter(removed)
    hole = next(remaining, None)
    for one in ranges:
        start = one.offset_bytes
        while hole is not None and hole.end_bytes <= start:
            hole = next(remaining, None)
        while hole is not None and hole.offset_bytes < one.end_bytes:
            if hole.offset_bytes > start:
                yield Range(start, hole.offset_bytes - start)
            start = max(start, hole.end_bytes)
            if hole.end_bytes > one.end_bytes:
                break
            hole = next(remaining, None)
        if start < one.end_bytes:
            yield Range(start, one.end_bytes - start)


def chunks_of(places: Iterable[backups.SuspectPlace], chunk_bytes: int) -> Iterator[int]:
    """Yields the numbers of the chunks that places touch, in order."""
    begin = 0
    for place in sorted(places, key=lambda one: one.offset_bytes):
        end = -(-place.end_bytes // chunk_bytes)
        yield from range(max(begin, place.offset_bytes // chunk_bytes), end)
        begin = max(begin, end)


def joined(places: Iterable[backups.SuspectPlace]) -> tuple[backups.SuspectPlace, ...]:
    """Joins places that touch and were good in the same backup.

    Of too many the last become one coarse place for each of these backups, so that none of them is
    forgotten. What is not coarse never covers a byte that no place of the same backup had.
    """
    found = _touching(places)
    if len(found) <= MOST_PLACES:
        return tuple(found)
    fine = max(0, MOST_PLACES - len({place.good for place in found}))
    last: dict[backups.BackupId, backups.SuspectPlace] = {}
    for place in found[fine:]:
        before = last.get(place.good, place)
        last[place.good] = replace(_stretched(before, place.end_bytes), coarse=True)
    return tuple(_in_order([*found[:fine], *last.values()]))


def _touching(places: Iterable[backups.SuspectPlace]) -> list[backups.SuspectPlace]:
    found: list[backups.SuspectPlace] = []
    open_ones: dict[tuple[backups.BackupId, bool], int] = {}
    for place in _in_order(places):
        kind = (place.good, place.coarse)
        at = open_ones.get(kind)
        if at is not None and place.offset_bytes <= found[at].end_bytes:
            found[at] = _stretched(found[at], place.end_bytes)
        else:
            open_ones[kind] = len(found)
            found.append(place)
    return found


def _in_order(places: Iterable[backups.SuspectPlace]) -> list[backups.SuspectPlace]:
    return sorted(places, key=lambda one: one.offset_bytes)


def _stretched(place: backups.SuspectPlace, end_bytes: int) -> backups.SuspectPlace:
    length_bytes = max(place.end_bytes, end_bytes) - place.offset_bytes
    return replace(place, length_bytes=length_bytes)


def differing(one: Sequence[int], other: Sequence[int]) -> Range | None:
    """Returns from where to where two contents of the same length differ; None if nowhere."""
    marks = (here != there for here, there in zip(one, other, strict=True))
    places = list(itertools.compress(itertools.count(), marks))
    return Range(places[0], places[-1] + 1 - places[0]) if places else None


def still_bad(good: Sequence[int], bad: Sequence[int], now: Sequence[int]) -> list[Range]:
    """Returns what of a damaged content is still as damage left it, in order.

    What was written to it since, whole or in part, is not: so damage that a program read and wrote
    back beside its own bytes is not forgotten, and those bytes are not taken for damage. Between
    two bad bytes of one range are only bytes that are right.
    """
    found: list[Range] = []
    start = end = None
    for number, (right, damaged, here) in enumerate(zip(good, bad, now, strict=True)):
        if here == right:
            continue
        if here == damaged:
            start, end = (number if start is None else start), number + 1
        elif start is not None and end is not None:
            found.append(Range(start, end - start))
            start = None
    if start is not None and end is not None:
        found.append(Range(start, end - start))
    return found


def words(manifest: backups.BackupManifest) -> str:
    """Says what is wrong with a Suspect backup, for people; empty for any other."""
    places = manifest.scrub.suspect
    if not places:
        return ""
    first = places[0]
    more = f", and {len(places) - 1} more places do" if len(places) > 1 else ""
    some = "some of the " if first.coarse else ""
    return (
        f"{some}{first.length_bytes} bytes of volume {manifest.volume.uid} from byte "
        f"{first.offset_bytes} on differ between backup {first.good} of {_moment(first.good_at)} "
        f"and this one of {_moment(manifest.point_in_time)}{more}, although nothing is known to "
        "have been written there: the disk below has lost them, or tracking missed a write"
    )


def _moment(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
