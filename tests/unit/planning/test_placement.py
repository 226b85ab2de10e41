import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, ids, pools
from mooring.planning import placement

GIB = 1 << 30
NAMES = ("a", "b", "c", "d")


def status(node: str, available: int, pool: str = "main", *, healthy: bool = True):
    return pools.PoolStatus(
        name=ids.PoolName(pool),
        pool_uuid=f"{node}-{pool}",
        node=ids.NodeName(node),
        backend=pools.PoolBackend.MEMORY,
        capacity=pools.PoolCapacity(100 * GIB, available),
        provisioned_bytes=0,
        available_bytes=available,
        healthy=healthy,
        message="" if healthy else "it is broken",
    )


def offer(node: str, *statuses):
    return placement.Offer(ids.NodeName(node), tuple(statuses))


def test_the_most_room_wins_without_a_preference():
    found = placement.choose(
        [offer("a", status("a", 5 * GIB)), offer("b", status("b", 9 * GIB))],
        size_bytes=GIB,
        pool=None,
    )
    assert (found.node, found.pool) == ("b", "main")
    assert found.reason == "b has the most room among 2 nodes"


def test_a_preferred_node_wins_over_more_room():
    found = placement.choose(
        [offer("a", status("a", 5 * GIB)), offer("b", status("b", 9 * GIB))],
        size_bytes=GIB,
        pool=None,
        preferred=[ids.NodeName("a")],
    )
    assert found.node == "a"


def test_a_refusal_says_what_each_node_offers():
    with pytest.raises(errors.SpaceExhausted) as caught:
        placement.choose(
            [
                offer("a", status("a", GIB)),
                offer("b", status("b", 9 * GIB, healthy=False)),
                placement.Offer(ids.NodeName("c"), None),
                offer("d", status("d", 9 * GIB, "other")),
            ],
            size_bytes=2 * GIB,
            pool=ids.PoolName("main"),
        )
    assert str(caught.value) == (
        "no room for 2.0 GiB: pool main on a takes at most 1.0 GiB; "
        "pool main on b is not healthy: it is broken; c does not answer; d has no pool main. "
        "Delete volumes or snapshots there, or ask for less"
    )


def test_no_allowed_node_is_its_own_sentence():
    with pytest.raises(errors.SpaceExhausted, match="no node that has an agent is allowed"):
        placement.choose([], size_bytes=GIB, pool=None)


def test_only_allowed_nodes_preferred_first():
    topology = placement.Topology(
        requisite=tuple(map(ids.NodeName, "abc")), preferred=(ids.NodeName("c"),)
    )
    assert topology.allowed(list(map(ids.NodeName, "abcd"))) == ("c", "a", "b")
    assert placement.Topology(requisite=()).allowed([ids.NodeName("a")]) == ()
    assert placement.Topology().allowed([ids.NodeName("a")]) == ("a",)


offers = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 20), st.sampled_from(["x", "y"])),
    max_size=8,
    unique_by=lambda item: (item[0], item[2]),
)


@given(offers, st.integers(1, 20), st.sampled_from(["x", "y", None]), st.permutations(NAMES))
def test_a_choice_always_fits_and_never_depends_on_order(found, size, pool, preferred):
    statuses = [status(node, room, name) for node, room, name in found]
    made = [offer(node, *[one for one in statuses if one.node == node]) for node in NAMES]

    def choose(given):
        try:
            place = placement.choose(given, size_bytes=size, pool=pool, preferred=preferred)
        except errors.SpaceExhausted:
            return None
        return place.node, place.pool

    fitting = [
        one
        for one in statuses
        if one.available_bytes >= size and (pool is None or one.name == pool)
    ]
    chosen = choose(made)
    assert chosen == choose(made[::-1])
    if not fitting:
        assert chosen is None
        return
    assert chosen in {(one.node, one.name) for one in fitting}
    assert chosen[0] == min((one.node for one in fitting), key=preferred.index)
