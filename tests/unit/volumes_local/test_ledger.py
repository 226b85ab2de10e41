"""The quick count of a pool's promises is never more generous than the full one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, ids, volumes
from mooring.ports.pools import OpenPool
from mooring.volumes.local.ledger import Ledger
from support.fake_storage import POOL, AttachablePool, MemoryRecords, spec

MIB = 1 << 20
CAPACITY_BYTES = 200 * MIB
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
names = st.sampled_from(["a", "b", "c", "d"])
kinds = st.sampled_from(["create", "grow", "write", "delete", "count"])
steps = st.tuples(kinds, names, st.integers(1, 120), st.booleans())


class StillClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.moment = MOMENT

    def now(self) -> datetime:
        return self.moment


class _Pool:
    """A pool whose volumes are made as the use cases make them."""

    def __init__(self) -> None:
        self.images = AttachablePool(CAPACITY_BYTES)
        self.records = MemoryRecords()
        self.clock = StillClock()
        self.ledger = self.fresh()

    def fresh(self) -> Ledger:
        return Ledger(OpenPool(POOL, "uuid", self.images, self.records, 1.0), self.clock)

    def run(self, what: str, name: str, count: int, flag: bool) -> None:
        key = ids.volume_id_for(name)
        record = self.records.volume(key)
        size_bytes = count * MIB
        if what == "count":
            self.ledger.budget()
        elif what == "create" and record is None:
            self._create(name, size_bytes, flag)
        elif record is None:
            return
        elif what == "grow" and size_bytes > record.spec.size_bytes:
            self._grow(record, size_bytes)
        elif what == "write" and not record.spec.preallocated:
            self.images.write(ids.ImageId(key), 0, bytes(min(size_bytes, record.spec.size_bytes)))
        elif what == "delete":
            self.images.remove(ids.ImageId(key))
            self.ledger.remove_volume(key)

    def _create(self, name: str, size_bytes: int, preallocated: bool) -> None:
        asked = spec(name, size_bytes=size_bytes, preallocated=preallocated)
        self.ledger.admit(size_bytes, "a volume")
        self.ledger.put_volume(
            volumes.VolumeRecord(asked, volumes.VolumeState.CREATING, False, MOMENT)
        )
        self.images.allocate(ids.ImageId(asked.volume_id), size_bytes, preallocate=preallocated)

    def _grow(self, record: volumes.VolumeRecord, size_bytes: int) -> None:
        image = ids.ImageId(record.spec.volume_id)
        self.ledger.admit(size_bytes - record.spec.size_bytes, "growing")
        self.ledger.put_volume(replace(record, growing_to_bytes=size_bytes))
        self.images.grow(image, size_bytes, preallocate=record.spec.preallocated)
        self.ledger.put_volume(replace(record, spec=replace(record.spec, size_bytes=size_bytes)))


@given(plan=st.lists(steps, max_size=25), wanted=st.integers(1, 220))
def test_what_it_takes_a_full_count_takes_too(
    plan: list[tuple[str, str, int, bool]], wanted: int
) -> None:
    pool = _Pool()
    for step in plan:
        try:
            pool.run(*step)
        except errors.SpaceExhausted:
            continue
        full = pool.fresh().budget()
        assert full.promised_bytes <= CAPACITY_BYTES
        assert pool.ledger.estimate().available_bytes <= full.available_bytes
        try:
            pool.ledger.admit(wanted * MIB, "probe")
        except errors.SpaceExhausted:
            assert wanted * MIB > full.available_bytes
        else:
            assert wanted * MIB <= full.available_bytes


def test_an_estimate_counts_anew_only_when_the_last_count_is_old() -> None:
    pool = _Pool()
    pool.run("create", "a", 50, False)
    assert pool.ledger.estimate().promised_bytes == 50 * MIB
    images, pool.images.images = pool.images.images, _refuse  # type: ignore[method-assign]
    assert pool.ledger.estimate().promised_bytes == 50 * MIB
    pool.images.images = images  # type: ignore[method-assign]
    pool.images.write(ids.ImageId(ids.volume_id_for("a")), 0, bytes(20 * MIB))
    strict = pool.ledger.estimate().available_bytes
    pool.clock.moment += timedelta(seconds=11)
    assert pool.ledger.estimate() == pool.fresh().budget()
    assert strict < pool.ledger.estimate().available_bytes


def _refuse() -> NoReturn:
    raise AssertionError("an estimate looked at every image")
