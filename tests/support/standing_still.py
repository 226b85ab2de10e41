"""A store whose user stands still before one of its calls, for as long as other things happen."""

import contextlib
import copy
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import progress, repair
from mooring.domain import backups, errors
from mooring.planning import collection
from mooring.ports import blobstores
from support.backup_engine import Engine
from support.collecting import age, collect
from support.interleaving import WatchedStore

HOURS = {"hour": 1, "day": 25, "week": 8 * 24}
COLLECTED = ["collect", "day", "collect", "day", "collect"]
SCRIPTS = [
    ["hour", "collect", "hour", "collect", "collect"],
    COLLECTED,
    ["week", *COLLECTED],
    ["forget", *COLLECTED],
    ["week", "forget", *COLLECTED],
]
"""What takes away most, while somebody stands still."""


def hours(what: list[str]) -> int:
    """How much time passes meanwhile."""
    return sum(HOURS.get(event, 0) for event in what)


class Others:
    """Other writers and collectors of a repository.

    Args:
        engine: The one that stands still.
        store: The store itself.
        model: What each backup restores to, with its volume; kept up.
    """

    def __init__(
        self, engine: Engine, store: MemoryBlobStore, model: dict[str, tuple[str, bytes]]
    ) -> None:
        self._engine = copy.copy(engine)
        self._engine.store = store
        self._engine.folder = engine.folder / "others"
        self._engine.folder.mkdir(exist_ok=True)
        self._store = store
        self._model = model

    def do(self, event: str) -> None:
        """Lets time pass, collects, repairs, or forgets a backup: of that name, or the oldest."""
        if event in HOURS:
            age(self._store, timedelta(hours=HOURS[event]))
        elif event == "collect":
            # What came too late looks damaged, before its writer has withdrawn it.
            with contextlib.suppress(errors.Busy, errors.DataCorrupt):
                limits = collection.CollectionLimits(waste=0.2)
                collect(self._engine, limits=limits, exclusive=True)
        elif event == "repair":
            request = repair.RepairRequest(full=True, exclusive=True)
            found = repair.repair(self._engine.open(), request, progress.Watch())
            assert not found.damaged.keys() & self._model.keys()
        elif self._model:
            oldest = min(self._model, key=lambda name: int(name.removeprefix("bk-")))
            name = event if event in self._model else oldest
            self._engine.open().forget(backups.BackupId(name))
            del self._model[name]

    def back_up(self, uid: str, content: bytes, name: str) -> None:
        """Makes a backup, which nobody hinders."""
        self._engine.back_up(content, name, uid=uid)
        self._model[name] = (uid, content)


class StandingStill(WatchedStore):
    """Passes calls on; before the one with a certain number, something else happens first.

    Threads of the same user stand still with it.

    Args:
        store: Where to.
        at: The call before which it stands still, from 0.
        meanwhile: What happens then; it goes to the store itself.
    """

    def __init__(self, store: blobstores.BlobStore, at: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(store)
        self._left = at
        self._meanwhile = meanwhile
        self._turn = threading.RLock()

    @property
    def reached(self) -> bool:
        """Whether there were as many calls."""
        return self._left < 0

    def passed_on(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        with self._turn:
            self._left -= 1
            if self._left == -1:
                self._meanwhile()
            return call(*values, **named)
