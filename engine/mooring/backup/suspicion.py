"""What becomes of places that are suspect: mended, overwritten, or as bad as they were.

A suspect place stays so, from backup to backup, until it is what it was before, or until all of its
bad bytes were overwritten. To tell, its content is compared with that of the backup which is held
for it, and with what the damage left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from mooring.backup import devices, tree_walk
from mooring.backup import repository as repositories
from mooring.backup.format import chunks, layout
from mooring.domain import backups, errors
from mooring.domain.extents import Range
from mooring.planning import changed_ranges, scrubbing

_MOST_NARROWED = 64
_MOST_JUDGED = 4096
_MOST_PARTS = 64  # of a place in one chunk
_UNREADABLE = (errors.NotFound, errors.DataCorrupt, errors.Unsupported)


@dataclass
class Judged:
    """What became of the places that the backup before found suspect.

    Attributes:
        places: Those that are suspect still.
        changed: The chunks that are not what they were in the backup before.
        fresh: Whether one of those is no known write's doing.
        broken: Whether the backup before cannot be read, so that all of it stays suspect.
        notes: Things worth knowing, for a log.
    """

    places: list[backups.SuspectPlace] = field(default_factory=list)
    changed: list[Range] = field(default_factory=list)
    fresh: bool = False
    broken: bool = False
    notes: list[str] = field(default_factory=list)


class Suspicion:
    """The suspect places of one backup, looked at in the volume as it is later.

    Attributes:
        ranges: The chunks that they touch and that are looked at, in order.
    """

    def __init__(
        self,
        repository: repositories.Repository,
        parent: backups.BackupManifest,
        source: devices.VolumeSource,
    ) -> None:
        self._repository = repository
        self._parent = parent
        self._source = source
        self._size = parent.chunk_size_bytes
        self._id_key = repository.keys.id_key(layout.BlobKind.DATA)
        self._contents: dict[backups.BackupId, tree_walk.Content] = {}
        all_of_them = parent.scrub.suspect
        fine = tuple(place for place in all_of_them if not place.coarse)
        for places in (all_of_them, fine, ()):
            found = self._chunks_of(places)
            if len(found) <= _MOST_JUDGED:
                break
        self._looked_at, self._numbers = places, found
        self.ranges = tuple(self._range(number) for number in found)

    def judge(self, changed: Iterable[Range]) -> Judged:
        """Looks at each known place.

        Args:
            changed: What may have been written, by tracking; the rest is as it was.
        """
        touched = changed_ranges.aligned(changed, self._size, self._source.size_bytes)
        untouched = {
            one.offset_bytes // self._size for one in scrubbing.without(self.ranges, touched)
        }
        try:
            judged = self._judge_each(untouched)
        except errors.DataCorrupt as error:
            why = f"what is suspect was not looked at, because the parent cannot be read: {error}"
            parts = (_unjudged(part, number, untouched) for part, number in self._parts())
            judged = Judged(list(parts), broken=True, notes=[why])
        looked_at = set(self._looked_at)
        left = [place for place in self._parent.scrub.suspect if place not in looked_at]
        if left:
            judged.places += [replace(place, coarse=True) for place in left]
            why = "more is suspect since an earlier backup than is looked at: restore the volume"
            judged.notes.append(why)
        return judged

    def _chunks_of(self, places: Iterable[backups.SuspectPlace]) -> list[int]:
        count = min(self._parent.chunk_count, -(-self._source.size_bytes // self._size))
        found = islice(scrubbing.chunks_of(places, self._size), _MOST_JUDGED + 1)
        return [number for number in found if number < count]

    def _parts(self) -> Iterator[tuple[backups.SuspectPlace, int]]:
        """Yields what of each place that is looked at is in which chunk."""
        present = set(self._numbers)
        for place in self._looked_at:
            for number in scrubbing.chunks_of([place], self._size):
                if number in present:
                    yield self._part(place, number), number

    def _judge_each(self, untouched: set[int]) -> Judged:
        judged = Judged()
        for part, number in self._parts():
            self._judge(judged, part, number, untouched)
        if judged.places:
            first = judged.places[0]
            judged.notes.append(
                f"{len(judged.places)} places are suspect since an earlier backup, the first at "
                f"byte {first.offset_bytes}"
            )
        elif self._numbers:
            judged.notes.append("what was suspect is mended or overwritten")
        return judged

    def everything(self) -> backups.SuspectPlace:
        """Returns the place of a volume that has lost more than can be told apart."""
        return replace(self._whole(0), length_bytes=self._source.size_bytes, coarse=True)

    def placed(self, differing: list[int], unreadable: list[int]) -> list[backups.SuspectPlace]:
        """Returns the places of chunks that are not what the backup before says.

        Args:
            differing: Those that have another content now.
            unreadable: Those that cannot be read.
        """
        places = [self._whole(number) for number in unreadable]
        narrow = len(differing) <= _MOST_NARROWED
        for number in differing:
            place = self._whole(number)
            span = self._difference(place, number) if narrow else None
            places.append(place if span is None else _inside(place, span))
        return places

    def _difference(self, place: backups.SuspectPlace, number: int) -> Range | None:
        """Returns where in a chunk it is not what it was; None where that cannot be told."""
        try:
            now = self._source.read_anew(place.offset_bytes, place.length_bytes)
            before = self._content(self._parent.backup_id).chunk(number)
        except (errors.HostFailure, *_UNREADABLE):
            return None
        return scrubbing.differing(_sized(before, len(now)), now)

    def _judge(
        self, judged: Judged, place: backups.SuspectPlace, number: int, untouched: set[int]
    ) -> None:
        whole, left = self._whole(number), self._content(self._parent.backup_id)
        try:
            now = self._source.read_anew(whole.offset_bytes, whole.length_bytes)
        except errors.HostFailure:
            judged.places.append(place)
            return
        seen, before = ident(self._id_key, now), left.chunk_id(number)
        if seen != before:
            judged.changed.append(self._range(number))
        try:
            good = self._content(place.good)
            if seen == good.chunk_id(number):
                return
            right, damaged = (_sized(one.chunk(number), len(now)) for one in (good, left))
        except _UNREADABLE as error:
            judged.notes.append(f"what is held for a suspect place cannot be read: {error}")
            judged.places.append(_unjudged(place, number, untouched))
            return
        # Elsewhere in the chunk somebody may have written since the place was good.
        at = slice(place.offset_bytes - whole.offset_bytes, place.end_bytes - whole.offset_bytes)
        judged.places += _parts_of(place, scrubbing.still_bad(right[at], damaged[at], now[at]))
        if number in untouched and (span := scrubbing.differing(damaged, now)) is not None:
            judged.places.append(_inside(whole, span))
            judged.fresh = True

    def _content(self, backup_id: backups.BackupId) -> tree_walk.Content:
        if backup_id not in self._contents:
            known = backup_id == self._parent.backup_id
            manifest = self._parent if known else self._repository.manifest(backup_id)
            if manifest.chunk_size_bytes != self._size:
                raise errors.Unsupported(f"backup {backup_id} has chunks of another size")
            self._contents[backup_id] = tree_walk.Content(self._repository, manifest, walks=False)
        return self._contents[backup_id]

    def _range(self, number: int) -> Range:
        offset = number * self._size
        return Range(offset, min(self._size, self._source.size_bytes - offset))

    def _whole(self, number: int) -> backups.SuspectPlace:
        whole, before = self._range(number), self._parent
        return backups.SuspectPlace(
            whole.offset_bytes, whole.length_bytes, before.backup_id, before.point_in_time
        )

    def _part(self, place: backups.SuspectPlace, number: int) -> backups.SuspectPlace:
        start = max(place.offset_bytes, number * self._size)
        end = min(place.end_bytes, (number + 1) * self._size)
        return replace(place, offset_bytes=start, length_bytes=end - start)


def ident(id_key: bytes, content: bytes) -> bytes:
    """Returns the id that a chunk with this content has in a tree."""
    return chunks.chunk_id(id_key, content) if any(content) else layout.ZERO_ID


def _unjudged(
    place: backups.SuspectPlace, number: int, untouched: set[int]
) -> backups.SuspectPlace:
    """Returns a place that could not be looked at: somebody may have written there since."""
    return replace(place, coarse=place.coarse or number not in untouched)


def _parts_of(place: backups.SuspectPlace, spans: list[Range]) -> list[backups.SuspectPlace]:
    if len(spans) <= _MOST_PARTS:
        return [_inside(place, span) for span in spans]
    first, last = spans[0], spans[-1]
    span = Range(first.offset_bytes, last.end_bytes - first.offset_bytes)
    return [replace(_inside(place, span), coarse=True)]


def _sized(content: bytes, length: int) -> bytes:
    return content[:length].ljust(length, b"\0")


def _inside(place: backups.SuspectPlace, span: Range) -> backups.SuspectPlace:
    return replace(
        place,
        offset_bytes=place.offset_bytes + span.offset_bytes,
        length_bytes=span.length_bytes,
    )
