"""Puts back, from a repository, what a disk lost of a volume: the suspect places of one backup.

Bytes of a volume are only written where it is certain what they were: the chunk around them is
still exactly what the Suspect backup has, and that differs from the held backup nowhere else.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from mooring.backup import block_targets, progress, tree_walk
from mooring.backup import repository as repositories
from mooring.domain import backups, errors
from mooring.planning import scrubbing


class BlockState(enum.StrEnum):
    """What became of a chunk with a suspect place."""

    MENDED = "mended"
    MENDABLE = "can be mended"  # a dry run writes nothing
    SOUND = "sound already"
    CHANGED = "changed since"  # nothing was written


@dataclass(frozen=True)
class BlockRepair:
    """One chunk.

    Attributes:
        offset_bytes: Where it begins.
        length_bytes: How long it is.
        good: The backups that it is mended from.
        state: What became of it.
    """

    offset_bytes: int
    length_bytes: int
    good: tuple[backups.BackupId, ...]
    state: BlockState


@dataclass(frozen=True)
class BlockRequest:
    """What shall be mended.

    Attributes:
        offset_bytes: Only the place with this byte; None for all places.
        dry_run: Only looks.
        overwrite_changed: Writes the bytes of the place also where the volume has changed since.
    """

    offset_bytes: int | None = None
    dry_run: bool = False
    overwrite_changed: bool = False


def repair_blocks(
    repository: repositories.Repository,
    manifest: backups.BackupManifest,
    target: block_targets.BlockTarget,
    request: BlockRequest,
    watch: progress.Watch,
) -> Iterator[BlockRepair]:
    """Mends the suspect places of a backup in its volume, chunk by chunk; may be repeated.

    Args:
        repository: Where the backups are.
        manifest: The Suspect backup; the newest, for it says what is there now.
        target: The volume, which nobody uses.
        request: What to mend.
        watch: May cancel it between two chunks.

    Raises:
        PreconditionFailed: The backup is not Suspect, or so much is that it was not told apart
            from what somebody wrote.
        InvalidInput: The byte is in no suspect place, or the volume is smaller than the backup.
        NotFound: A held backup is gone.
        DataCorrupt: What is needed of a backup is damaged in the repository.
        HostFailure: The disk failed, or did not keep what was written.
        Cancelled: The watch said so; what was mended stays so.
    """
    places = _places(manifest, request)
    if target.size_bytes < manifest.volume.size_bytes:
        raise errors.InvalidInput(
            f"the volume has {target.size_bytes} bytes, and backup {manifest.backup_id} is of "
            f"{manifest.volume.size_bytes}: name the volume that the backup is of"
        )
    meter = progress.ProgressMeter(watch, 0)
    mending = _Mending(repository, manifest, target, request)
    for number in scrubbing.chunks_of(places, manifest.chunk_size_bytes):
        meter.check()
        yield mending.mend(number)


def _places(
    manifest: backups.BackupManifest, request: BlockRequest
) -> tuple[backups.SuspectPlace, ...]:
    places, wanted = manifest.scrub.suspect, request.offset_bytes
    if not places:
        raise errors.PreconditionFailed(
            f"backup {manifest.backup_id} is not Suspect: there is nothing to mend from it"
        )
    found = places
    if wanted is not None:
        found = tuple(one for one in places if one.offset_bytes <= wanted < one.end_bytes)
    if not found:
        some = ", ".join(str(one.offset_bytes) for one in places[:5])
        raise errors.InvalidInput(
            f"byte {wanted} is in no suspect place of backup {manifest.backup_id}; they begin at "
            f"{some}"
        )
    fine = tuple(one for one in found if not one.coarse)
    coarse = next((one for one in found if one.coarse), None)
    if coarse is not None and (wanted is None or not fine):
        raise errors.PreconditionFailed(
            f"what is suspect of the bytes from {coarse.offset_bytes} to {coarse.end_bytes} was "
            "not told apart from what somebody may have written, and nothing was changed: restore "
            f"backup {coarse.good}, or a newer one that is not Suspect, to another volume, and "
            "compare. A place that is listed by itself is mended by its byte"
        )
    return fine


class _Mending:
    def __init__(
        self,
        repository: repositories.Repository,
        manifest: backups.BackupManifest,
        target: block_targets.BlockTarget,
        request: BlockRequest,
    ) -> None:
        self._repository = repository
        self._manifest = manifest
        self._target = target
        self._request = request
        self._size = manifest.chunk_size_bytes
        self._contents: dict[backups.BackupId, tree_walk.Content] = {}

    def mend(self, number: int) -> BlockRepair:
        offset, length = number * self._size, self._content(self._manifest).chunk_length(number)
        end = offset + length
        places = [
            one
            for one in self._manifest.scrub.suspect
            if one.offset_bytes < end and one.end_bytes > offset and not one.coarse
        ]
        goods = {one.good: self._good(one.good, number, length) for one in places}
        left = self._content(self._manifest).chunk(number)
        now = self._target.read(offset, length)
        wanted = _patched(left if now is None else now, places, goods, offset)
        certain = now in (None, left) and wanted in goods.values()
        if now is not None and wanted == now:
            state = BlockState.SOUND
        elif not certain and not self._request.overwrite_changed:
            state = BlockState.CHANGED
        elif self._request.dry_run:
            state = BlockState.MENDABLE
        else:
            self._target.write(offset, wanted)
            state = BlockState.MENDED
        return BlockRepair(offset, length, tuple(goods), state)

    def _good(self, backup_id: backups.BackupId, number: int, length: int) -> bytes:
        content = self._contents.get(backup_id) or self._content(
            self._repository.manifest(backup_id)
        )
        return content.chunk(number)[:length].ljust(length, b"\0")

    def _content(self, manifest: backups.BackupManifest) -> tree_walk.Content:
        if manifest.backup_id not in self._contents:
            content = tree_walk.Content(self._repository, manifest, walks=False)
            self._contents[manifest.backup_id] = content
        return self._contents[manifest.backup_id]


def _patched(
    now: bytes,
    places: list[backups.SuspectPlace],
    goods: dict[backups.BackupId, bytes],
    offset: int,
) -> bytes:
    """Returns a chunk with its suspect bytes as the held backups have them."""
    patched = bytearray(now)
    for place in places:
        start = max(0, place.offset_bytes - offset)
        stop = min(len(now), place.end_bytes - offset)
        patched[start:stop] = goods[place.good][start:stop]
    return bytes(patched)
