"""Backups, deletions, collections, damage, repairs, pauses of days and kills in any order.

All against a plain model. Whoever works on the repository may also stand still before any call of
the store, for days, while others write, collect and repair.
"""

import contextlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import inspection, pack_writer, progress, repair, repository
from mooring.backup.format import packs
from mooring.domain import backups, errors
from mooring.planning import collection, retention
from support import standing_still
from support.backup_engine import SMALL_CHUNK, Engine
from support.collecting import age, collect
from support.dying_store import DyingStore, Killed
from support.standing_still import StandingStill

CHUNK = SMALL_CHUNK
VOLUMES = ("volume-1", "volume-2")
PARENTS = ("latest", None)
CALLS = st.integers(0, 45)
EVENTS = st.lists(
    st.sampled_from([*standing_still.HOURS, "forget", "collect", "collect", "repair", *VOLUMES]),
    min_size=1,
    max_size=6,
) | st.sampled_from(
    [
        *standing_still.SCRIPTS,
        [*VOLUMES, "forget", *standing_still.COLLECTED],
    ]
)
"""What happens while somebody stands still: anything, or what takes away most."""
PLACES = st.integers(0, 999)
"""Of as many as there are; what there is may depend on threads, and draws must not."""
HARMS = st.sampled_from(["flip", "truncate", "delete"])
KILLS = st.none() | st.integers(0, 14)
EXAMPLES = int(os.environ.get("MOORING_MODEL_EXAMPLES", "40"))


def noise(seed: object) -> bytes:
    return random.Random(str(seed)).randbytes(40 * CHUNK)


class RepositoryMachine(RuleBasedStateMachine):
    """The model is a dictionary of what each backup must restore to."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.real = MemoryBlobStore()
        self.engine = Engine(Path(self.folder.name), store=self.real)
        self.engine.surroundings = repository.Surroundings(
            self.engine.clock, random.Random(0).randbytes
        )
        self.images = {uid: bytearray(noise(uid)) for uid in VOLUMES}
        self.model: dict[str, tuple[str, bytes]] = {}
        self.number = 0
        self.sizes = (packs.TARGET_BYTES, pack_writer.SEGMENT_INTERVAL_SECONDS)
        packs.TARGET_BYTES = 6 << 10  # type: ignore[misc]  # packs of a dozen chunks
        pack_writer.SEGMENT_INTERVAL_SECONDS = 0.0

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        try:
            self.everything_is_whole()
        finally:
            packs.TARGET_BYTES, pack_writer.SEGMENT_INTERVAL_SECONDS = self.sizes  # type: ignore[misc]
            self.folder.cleanup()

    @rule(
        uid=st.sampled_from(VOLUMES),
        first=st.integers(0, 39),
        count=st.integers(1, 12),
        seed=st.integers(0, 5),
    )
    def mutate(self, uid: str, first: int, count: int, seed: int) -> None:
        content = bytes(count * CHUNK) if not seed else random.Random(seed).randbytes(count * CHUNK)
        image = self.images[uid]
        image[first * CHUNK : (first + count) * CHUNK] = content
        del image[40 * CHUNK :]

    @rule(uid=st.sampled_from(VOLUMES), parent=st.sampled_from(["latest", None]))
    def back_up(self, uid: str, parent: str | None) -> None:
        self.number += 1
        name = f"bk-{self.number}"
        content = bytes(self.images[uid])
        self.engine.back_up(content, name, uid=uid, parent=parent)
        self.model[name] = (uid, content)

    @rule(uid=st.sampled_from(VOLUMES), at=st.integers(0, 12), after=st.booleans())
    def a_backup_is_killed(self, uid: str, at: int, after: bool) -> None:
        self.number += 1
        name = f"bk-{self.number}"
        content = bytes(self.images[uid])
        self._dying(lambda: self.engine.back_up(content, name, uid=uid), at, after)
        if name in self.engine.open().backup_ids():
            self.model[name] = (uid, content)

    @rule(uid=st.sampled_from(VOLUMES))
    def the_last_backup_is_tried_again(self, uid: str) -> None:
        name = f"bk-{self.number}"
        content = bytes(self.images[uid])
        try:
            outcome = self.engine.back_up(content, name, uid=uid)
        except errors.AlreadyExists:
            assert self.model[name][0] != uid
            return
        if not outcome.existed:
            self.model[name] = (uid, content)
        assert name in self.model

    @precondition(lambda self: self.model)
    @rule(which=PLACES)
    def forget(self, which: int) -> None:
        name = self._one(which)
        self.engine.open().forget(backups.BackupId(name))
        del self.model[name]

    @rule(waste=st.sampled_from([0.1, 0.5, 0.9]), budget=st.sampled_from([None, 0, 4096]))
    def collect(self, waste: float, budget: int | None) -> None:
        self._collect(limits=collection.CollectionLimits(budget, waste))

    @rule(last=st.integers(1, 4))
    def keep_the_last(self, last: int) -> None:
        report = self._collect(keep=retention.KeepRules(last=last))
        if report is None:
            return
        for uid in VOLUMES:
            names = sorted(
                (name for name, (of, _) in self.model.items() if of == uid),
                key=lambda name: int(name.removeprefix("bk-")),
            )
            for name in names[:-last]:
                del self.model[name]
        assert set(self.engine.open().backup_ids()) == set(self.model)

    @rule(at=st.integers(0, 20), after=st.booleans())
    def a_collection_is_killed(self, at: int, after: bool) -> None:
        limits = collection.CollectionLimits(waste=0.3)
        self._dying(lambda: collect(self.engine, limits=limits), at, after)

    @rule(uid=st.sampled_from(VOLUMES), at=CALLS, what=EVENTS, parent=st.sampled_from(PARENTS))
    def a_backup_stands_still(self, uid: str, at: int, what: list[str], parent: str | None) -> None:
        """It goes on later as if nothing had been, and says that it failed, or is whole.

        No collection stops it, unless it gave no sign of life for a week, or its parent went.
        """
        self.number += 1
        name = f"bk-{self.number}"
        content = bytes(self.images[uid])
        try:
            with self._standing_still(at, what):
                self.engine.back_up(content, name, uid=uid, parent=parent)
        except errors.Busy:
            assert standing_still.hours(what) >= 7 * 24 or "forget" in what
            return
        self.model[name] = (uid, content)

    @rule(at=CALLS, what=EVENTS, waste=st.sampled_from([0.1, 0.5]))
    def a_collection_stands_still(self, at: int, what: list[str], waste: float) -> None:
        limits = collection.CollectionLimits(waste=waste)
        with (
            self._standing_still(at, what),
            contextlib.suppress(errors.Busy, errors.DataCorrupt),  # DataCorrupt: see `_happen`
        ):
            collect(self.engine, limits=limits, exclusive=True)

    @precondition(lambda self: self.model)
    @rule(which=PLACES, at=st.integers(0, 18), what=EVENTS, forgotten=st.booleans())
    def a_restore_stands_still(self, which: int, at: int, what: list[str], forgotten: bool) -> None:
        """Also of a backup that is forgotten meanwhile, for a day."""
        name = self._one(which)
        content = self.model[name][1]
        try:
            with self._standing_still(at, [name, *what] if forgotten else what):
                assert self.engine.restore(name) == content
        except errors.NotFound:
            assert name not in self.model  # it was forgotten before it was looked for
        except errors.DataCorrupt:
            assert name not in self.model
            assert standing_still.hours(what) >= 24, "a restore under way has a day"

    @rule(at=PLACES, harm=HARMS, resumed=KILLS, killed=KILLS, full=st.booleans())
    def an_index_segment_is_damaged(
        self, at: int, harm: str, resumed: int | None, killed: int | None, full: bool
    ) -> None:
        """The packs say all that it did, whoever has open sessions."""
        self._back_up_in_two_attempts(resumed)
        self._damage("index/", at, harm)
        if killed is not None:
            self._dying(lambda: self._repair(full=full), killed, after=False)
        report = self._repair(full=full, drop_damaged=True)
        assert (report.damaged, report.dropped, report.chunks_lost) == ({}, [], 0)
        assert report.problems == [] or harm != "delete"
        self.everything_is_whole()

    @rule(at=PLACES, harm=HARMS, resumed=KILLS, killed=KILLS)
    def a_pack_is_damaged(
        self, at: int, harm: str, resumed: int | None, killed: int | None
    ) -> None:
        """What cannot be restored is said, each time, and nothing is built on it."""
        self._back_up_in_two_attempts(resumed)
        self._damage("packs/", at, harm)
        if killed is not None:
            self._dying(lambda: self._repair(full=True), killed, after=False)
        before = self._lost()
        for full in (True, False):
            damaged = self._repair(full=full).damaged.keys()
            assert damaged == (lost := self._lost())
            assert lost <= before  # of some chunks there are two
        for uid in VOLUMES:
            self.back_up(uid, "latest")
            assert self._lost() <= lost
        still = self._lost()
        assert self._repair(full=False, drop_damaged=True).damaged.keys() == still
        for name in still:
            del self.model[name]
        self.everything_is_whole()

    @rule(at=CALLS, what=EVENTS, full=st.booleans())
    def a_repair_stands_still(self, at: int, what: list[str], full: bool) -> None:
        """It goes by what it saw days ago, and drops nothing that is whole."""
        request = repair.RepairRequest(full=full, drop_damaged=True, exclusive=True)
        with self._standing_still(at, what), contextlib.suppress(errors.Busy):
            report = repair.repair(self.engine.open(), request, progress.Watch())
            assert not report.damaged.keys() & self.model.keys()

    @rule(hours=st.sampled_from([1, 12, 25, 49, 8 * 24]))
    def time_passes(self, hours: int) -> None:
        age(self.real, timedelta(hours=hours))

    @precondition(lambda self: self.model)
    @rule(which=PLACES)
    def restore(self, which: int) -> None:
        name = self._one(which)
        assert self.engine.restore(name) == self.model[name][1]

    @rule()
    def everything_is_whole(self) -> None:
        assert set(self.engine.open().backup_ids()) == set(self.model)
        for name, (_, content) in self.model.items():
            assert self.engine.restore(name) == content
        report = inspection.check_repository(self.engine.open(), progress.Watch(), full=True)
        assert report.problems == []

    @contextlib.contextmanager
    def _standing_still(self, at: int, what: list[str]) -> Iterator[None]:
        """Lets the engine's next work stand still before a call, while other things happen."""
        self.engine.store = StandingStill(self.real, at, lambda: self._happen(what))
        try:
            yield
        finally:
            self.engine.store = self.real

    def _happen(self, what: list[str]) -> None:
        others = standing_still.Others(self.engine, self.real, self.model)
        for event in what:
            if event in self.images:
                self.number += 1
                others.back_up(event, bytes(self.images[event]), f"bk-{self.number}")
            else:
                others.do(event)

    def _back_up_in_two_attempts(self, at: int | None) -> None:
        """The session of the first one, which is killed, stays open and what it sent is used."""
        if at is None:
            return
        self.number += 1
        name, uid = f"bk-{self.number}", VOLUMES[0]
        content = noise(name)
        self._dying(lambda: self.engine.back_up(content, name, uid=uid), at, after=False)
        self.engine.back_up(content, name, uid=uid)
        self.model[name] = (uid, content)

    def _one(self, which: int) -> str:
        return sorted(self.model)[which % len(self.model)]

    def _damage(self, prefix: str, at: int, harm: str) -> None:
        keys = self.engine.object_names(prefix)
        if not keys:
            return
        key = keys[at % len(keys)]
        data = bytearray(self.real.get(key, limit_bytes=1 << 20))
        self.real.delete(key)
        if harm == "flip":
            data[at % len(data)] ^= 1 << at % 8
        elif harm == "truncate":
            del data[len(data) * at // 1000 :]
        if harm != "delete":
            self.real.put(key, data)

    def _repair(self, **fields: bool) -> repair.RepairReport:
        request = repair.RepairRequest(**fields)
        age(self.real, timedelta(minutes=15), "lease")  # somebody may have been killed
        return repair.repair(self.engine.open(), request, progress.Watch())

    def _lost(self) -> set[str]:
        """Which backups do not come back; none brings other bytes."""
        lost = set()
        for name, (_, content) in self.model.items():
            try:
                assert self.engine.restore(name) == content
            except errors.DataCorrupt:
                lost.add(name)
        return lost

    def _collect(self, **fields: object) -> object:
        try:
            return collect(self.engine, **fields)
        except errors.Busy:
            age(self.real, timedelta(minutes=15), "lease")  # a collector was killed
            return collect(self.engine, **fields)

    def _dying(self, work: Callable[[], object], at: int, after: bool) -> None:
        self.engine.store = DyingStore(self.real, at, after=after)
        try:
            work()
        except (Killed, errors.Busy):
            pass
        finally:
            self.engine.store = self.real


RepositoryMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=25, deadline=None
)
test_the_repository_and_the_model_agree = RepositoryMachine.TestCase
