"""Whether a node takes over a pool that another one had."""

import pytest

from mooring.domain import ids, pools
from mooring.planning import pool_ownership

A, B, C = (ids.NodeName(f"node-{letter}") for letter in "abc")
FAST = ids.PoolName("fast")
OWNER = pools.PoolOwner("uuid", FAST, A)


@pytest.mark.parametrize(
    ("serving", "state", "told", "named"),
    [
        (None, pools.OwnerState.WITHOUT_IT, False, None),
        (None, pools.OwnerState.GONE, False, None),
        (None, pools.OwnerState.SILENT, False, "adoptPools"),
        (None, pools.OwnerState.SILENT, True, None),
        (A, pools.OwnerState.SILENT, False, "node node-a has it now"),
        (C, pools.OwnerState.GONE, True, "node node-c has it now"),
    ],
)
def test_it_is_refused_while_anybody_else_has_or_may_have_it(serving, state, told, named):
    refusal = pool_ownership.refusal(OWNER, pools.Sighting(serving, state), told=told)
    if named is None:
        assert refusal is None
    else:
        assert named in refusal


def _status(node: ids.NodeName, pool_uuid: str, *adopted_from: ids.NodeName) -> pools.PoolStatus:
    nothing = pools.PoolCapacity(0, 0)
    backend = pools.PoolBackend.DIRECTORY
    return pools.PoolStatus(
        FAST, pool_uuid, node, backend, nothing, 0, 0, True, "", adopted_from=adopted_from
    )


@pytest.mark.parametrize(
    ("statuses", "originals"),
    [
        ([_status(A, "u"), _status(B, "u", A)], {A: B}),
        ([_status(A, "u"), _status(B, "u", C, A), _status(C, "u")], {A: B, C: B}),
        ([_status(B, "u", A)], {}),
        ([_status(A, "v"), _status(B, "u", A)], {}),
        ([_status(A, ""), _status(B, "", A)], {}),
        ([_status(A, "u", B), _status(B, "u", A)], {}),
    ],
)
def test_whoever_has_what_another_adopted_from_it_is_named(statuses, originals):
    assert pool_ownership.originals(statuses) == originals


def test_who_had_it_is_remembered_once_and_never_oneself():
    assert not pool_ownership.must_ask(None, A)
    first = pool_ownership.owned(None, "uuid", FAST, A)
    assert first == OWNER
    assert not pool_ownership.must_ask(first, A)
    assert pool_ownership.must_ask(first, B)
    second = pool_ownership.owned(first, "uuid", FAST, B)
    assert (second.node, second.previous) == (B, (A,))
    third = pool_ownership.owned(second, "uuid", FAST, C)
    assert pool_ownership.owned(third, "uuid", FAST, A).previous == (B, C)
    assert pool_ownership.owned(third, "another", FAST, B).previous == ()
