"""Which deleted volumes are kept, and which of them go first. Pure.

A deleted volume's bytes stay in the pool for a while, in case the deletion was a mistake. They are
nobody's any more: whoever is promised room may have theirs, the oldest first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mooring.domain import volumes


@dataclass(frozen=True)
class Item:
    """One volume in the trash, and what its image takes, in bytes."""

    record: volumes.VolumeRecord
    used_bytes: int


def worth_keeping(record: volumes.VolumeRecord, used_bytes: int) -> bool:
    """Whether a volume that is deleted may hold what somebody wrote."""
    if record.state is not volumes.VolumeState.READY:
        return False
    if record.spec.mode is volumes.VolumeMode.FILESYSTEM:
        return record.formatted
    return used_bytes > 0


def oldest_first(records: Iterable[volumes.VolumeRecord]) -> list[volumes.VolumeRecord]:
    """Returns what is in the trash, in the order in which it is freed."""
    trashed = [
        (record.trashing.deleted_at, record.spec.volume_id, record)
        for record in records
        if record.state is volumes.VolumeState.TRASHED and record.trashing is not None
    ]
    return [record for *_, record in sorted(trashed, key=lambda one: one[:2])]


def expired(records: Iterable[volumes.VolumeRecord], now: datetime) -> list[volumes.VolumeRecord]:
    """Returns what was kept long enough."""
    return [
        record
        for record in oldest_first(records)
        if record.trashing is not None and record.trashing.expires_at <= now
    ]


def to_free(items: Sequence[Item], wanted_bytes: int) -> list[volumes.VolumeRecord]:
    """Returns the least of what is given, from its beginning, that frees so many bytes.

    All of it when that is not enough: blocks that are shared with a snapshot stay taken.
    """
    chosen: list[volumes.VolumeRecord] = []
    for item in items:
        if wanted_bytes <= 0:
            break
        chosen.append(item.record)
        wanted_bytes -= item.used_bytes
    return chosen
