"""Which backups of a volume speak for all that were made before. Pure.

Each backup looks at what is suspect in those before it, and says again what is so still. So what
is known of a volume is what those say that no other one has looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mooring.domain import backups


@dataclass(frozen=True)
class Making:
    """When a backup was made, by the store's clock.

    Attributes:
        manifest: Which.
        began_at: When its session was written; None when that is gone.
        written_at: When its manifest was.
    """

    manifest: backups.BackupManifest
    began_at: datetime | None
    written_at: datetime


def last_ones(makings: Sequence[Making]) -> tuple[backups.BackupManifest, ...]:
    """Returns the backups that no other one has looked at; two that were made at once, both."""
    return tuple(
        one.manifest for one in makings if not any(_looked_at(one, other) for other in makings)
    )


def _looked_at(one: Making, other: Making) -> bool:
    """Tells whether one backup was there already when another one began."""
    if one is other:
        return False
    if other.manifest.parent == one.manifest.backup_id:
        return True
    return other.began_at is not None and other.began_at > one.written_at
