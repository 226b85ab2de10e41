"""A volume in memory that is backed up again and again, and that loses bits nobody is told of."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from mooring.domain import backups
from mooring.domain.extents import Range
from mooring.planning import scrubbing
from support.backup_engine import SMALL_CHUNK, Engine

CHUNK = SMALL_CHUNK
CHUNKS = 1100  # more than two leaves
ALL = scrubbing.ScrubPolicy(timedelta(microseconds=1), CHUNK)
"""Reads everything again each time."""


class Volume:
    """A volume that is backed up again and again, by what is known to have been written to it."""

    def __init__(self, folder: Path, size: int = CHUNKS * CHUNK) -> None:
        self.engine = Engine(folder)
        self.content = bytearray(random.Random(1).randbytes(size))
        self.written: list[Range] = []
        self.made: list[backups.BackupManifest] = []
        self.notes: tuple[str, ...] = ()
        self.reading: backups.Reading | None = None

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        self.written = sorted([*self.written, Range(offset, len(data))])

    def rot(self, *offsets: int) -> None:
        """Flips bits that nobody is told of."""
        for offset in offsets:
            self.content[offset] ^= 0x10

    def back_up(self, *, tracked: bool = True, **more: Any) -> backups.ScrubRecord:
        changes = None
        if tracked and self.made:
            changes = backups.Changes(
                self.made[-1].backup_id,
                self.engine.open().config.repository_id,
                self.made[-1].volume.size_bytes,
                self.written,
            )
        name = f"bk-{len(self.made)}"
        fields = {"scrub": ALL, "changes": changes, **more}
        outcome = self.engine.back_up(bytes(self.content), name, **fields)
        self.made.append(outcome.manifest)
        self.notes, self.reading = outcome.notes, outcome.reading
        self.written = []
        return outcome.manifest.scrub

    def is_honest(self) -> bool:
        """Whether the last backup holds what is there now, whatever that is."""
        return self.engine.restore(self.made[-1].backup_id) == self.content

    def places(self) -> list[tuple[int, int, str]]:
        return [
            (one.offset_bytes, one.length_bytes, one.good) for one in self.made[-1].scrub.suspect
        ]
