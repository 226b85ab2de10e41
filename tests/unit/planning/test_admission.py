"""Admission: what a pool promises, it can keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, pools, volumes
from mooring.planning import admission

MIB = 1 << 20
sizes = st.integers(min_value=1, max_value=1 << 20).map(lambda count: count * MIB)


@given(
    total=sizes,
    wanted=st.lists(st.tuples(sizes, st.booleans()), max_size=30),
    overcommit=st.floats(min_value=0.1, max_value=1.0),
)
def test_preallocated_volumes_that_were_admitted_always_fit(
    total: int, wanted: list[tuple[int, bool]], overcommit: float
) -> None:
    promises: list[admission.Promise] = []
    taken = 0
    for size_bytes, preallocated in wanted:
        capacity = pools.PoolCapacity(total, total - taken)
        cost = admission.volume_cost_bytes(
            size_bytes, preallocated=preallocated, overcommit=overcommit
        )
        try:
            admission.admit(cost, admission.budget(capacity, promises), "a volume")
        except errors.SpaceExhausted:
            continue
        used = size_bytes if preallocated else 0
        taken += used
        promises.append(admission.Promise(cost, used))
        assert taken <= total
        assert sum(one.cost_bytes for one in promises) <= total


@given(total=sizes, free=sizes, promised=sizes, outstanding=sizes)
def test_available_is_what_admit_takes(
    total: int, free: int, promised: int, outstanding: int
) -> None:
    budget = admission.Budget(pools.PoolCapacity(total, min(free, total)), promised, outstanding)
    admission.admit(budget.available_bytes, budget, "all of it")
    with pytest.raises(errors.SpaceExhausted, match="can promise only"):
        admission.admit(budget.available_bytes + 1, budget, "more")


class TestLowSpace:
    """Of 100 MiB, 10 are kept for sparse volumes that may still write."""

    def _pool(self, free: int, *promises: admission.Promise, trash: int = 0) -> admission.Budget:
        capacity = pools.PoolCapacity(100 * MIB, free * MIB)
        return admission.budget(capacity, list(promises), trash_bytes=trash * MIB)

    def _sparse(self, size: int, used: int, overcommit: float = 1.0) -> admission.Promise:
        return admission.Promise(int(size * overcommit) * MIB, used * MIB, size_bytes=size * MIB)

    def _preallocated(self, size: int, used: int) -> admission.Promise:
        return admission.Promise(size * MIB, used * MIB, preallocated=True, size_bytes=size * MIB)

    def test_nothing_is_taken_while_sparse_volumes_want_it(self) -> None:
        pool = self._pool(9, self._sparse(50, 49), self._preallocated(10, 10))
        with pytest.raises(
            errors.SpaceExhausted, match=r"9\.0 MiB of 100\.0 MiB are free.*1\.0 MiB"
        ):
            admission.admit(0, pool, "a snapshot")
        assert pool.available_bytes == 0
        assert not self._pool(10, self._sparse(50, 49)).is_low

    def test_preallocated_volumes_need_none(self) -> None:
        pool = self._pool(9, self._preallocated(91, 91))
        assert pool.available_bytes == 7 * MIB
        assert not self._pool(5, self._sparse(50, 50)).is_low
        assert self._pool(5).is_low, "who is the first would be the one to want it"

    def test_what_preallocated_volumes_may_still_rewrite_is_not_free(self) -> None:
        assert self._pool(39, self._sparse(10, 1), self._preallocated(30, 0)).is_low
        assert not self._pool(40, self._sparse(10, 1), self._preallocated(30, 0)).is_low

    def test_the_trash_makes_room_up_to_the_mark(self) -> None:
        pool = self._pool(4, self._sparse(40, 20), trash=40)
        assert not pool.is_low
        assert pool.shortage_bytes(0) == 6 * MIB
        assert pool.shortage_bytes(15 * MIB) == (2 + 20 + 15 - 4) * MIB
        assert self._pool(4, self._sparse(40, 20), trash=5).available_bytes == 0

    def test_with_overcommit_a_promise_leaves_the_mark(self) -> None:
        pool = self._pool(60, self._sparse(80, 40, overcommit=0.1))
        assert pool.available_bytes == 50 * MIB


@given(size=sizes, held=sizes, overcommit=st.floats(min_value=0.1, max_value=1.0))
def test_a_snapshot_costs_what_it_can_hold(size: int, held: int, overcommit: float) -> None:
    sparse = admission.snapshot_cost_bytes(size, held, preallocated=False, overcommit=overcommit)
    whole = admission.snapshot_cost_bytes(size, held, preallocated=True, overcommit=overcommit)
    assert sparse <= min(size, held)
    assert whole == size


@pytest.mark.parametrize("size_bytes", [0, -1, -MIB, 1, MIB - 1, MIB + 1, 65 * MIB])
def test_sizes_that_no_volume_can_have(size_bytes: int) -> None:
    with pytest.raises(errors.SizeOutOfRange):
        admission.check_size(size_bytes, None, pools.PoolCapacity(64 * MIB, 64 * MIB))


@pytest.mark.parametrize("filesystem", [None, *volumes.FilesystemType])
def test_the_smallest_volume_of_each_filesystem(
    filesystem: volumes.FilesystemType | None,
) -> None:
    smallest = admission.minimum_size_bytes(filesystem)
    capacity = pools.PoolCapacity(1 << 40, 1 << 40)
    admission.check_size(smallest, filesystem, capacity)
    with pytest.raises(errors.SizeOutOfRange):
        admission.check_size(smallest - MIB, filesystem, capacity)
