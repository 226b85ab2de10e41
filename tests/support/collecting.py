"""Garbage collection in tests: objects are aged in the store, no clock is patched."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import progress, prune
from mooring.ports import blobstores
from support.backup_engine import Engine

DAY = timedelta(hours=24, minutes=1)


def age(store: blobstores.BlobStore, by: timedelta = DAY, prefix: str = "") -> None:
    """Makes all objects that begin so older than they are."""
    if isinstance(store, MemoryBlobStore):
        for key, (info, data) in list(store._objects.items()):
            if key.startswith(prefix):
                older = replace(info, modified_at=info.modified_at - by)
                store._objects[key] = (older, data)
        return
    assert isinstance(store, DirectoryBlobStore)
    folder = Path(store.location)
    for info in list(store.list(prefix)):
        past_ns = int((info.modified_at - by).timestamp() * 1e9)
        os.utime(folder / info.key, ns=(past_ns, past_ns))


def collect(engine: Engine, **fields: Any) -> prune.PruneReport:
    """Prunes once."""
    return prune.prune(engine.open(), prune.PruneRequest(**fields), progress.Watch())


def collect_all(engine: Engine, **fields: Any) -> list[prune.PruneReport]:
    """Prunes until nothing is left to do, a day apart each time."""
    reports = [collect(engine, **fields)]
    while _acted(reports[-1]) or len(reports) < 4:
        assert len(reports) < 12, "collections never come to an end"
        age(engine.store)
        reports.append(collect(engine, **fields))
    return reports


def _acted(report: prune.PruneReport) -> bool:
    acts = report.acts
    return bool(acts.packs_deleted or acts.packs_doomed or acts.bytes_copied or acts.closed)
