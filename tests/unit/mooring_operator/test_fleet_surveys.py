"""What the Pool objects say of pools that are emptied, and of nodes that have them no more."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.domain import ids, pools
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet.fleet import Fleet
from mooring_operator import fleet_surveys, resources, statuses
from mooring_operator.fleet_surveys import FleetSurveys
from mooring_operator.recorder import Recorder
from mooring_operator.surroundings import Surroundings
from support.fake_cluster import FakeCluster
from support.fake_nodes import FakeNode, FakeNodes
from support.set_clock import SetClock

ITEM = pools.HeldItem("Volume", "vol-1", "delete its claim")
LEFT = pools.Evacuation(pools.PoolUse.REMOVED, 1, (ITEM,))


class Emptied(FakeNode):
    """A node that does not say what it has by itself."""

    def __init__(self, name: str) -> None:
        super().__init__(name, pool="default")
        self.emptied = False
        self.has_it = True
        self.adopted_from: tuple[ids.NodeName, ...] = ()

    def list_pools(self) -> list[pools.PoolStatus]:
        found = list(super().list_pools()) if self.has_it else []
        found = [
            replace(one, pool_uuid="one and the same", adopted_from=self.adopted_from)
            for one in found
        ]
        if self.emptied:
            found = [
                replace(one, available_bytes=0, message="takes no new volumes", evacuation=LEFT)
                for one in found
            ]
        return found


Seen = Callable[[], tuple[str, dict[str, dict[str, Any]]]]


def surveyed(*found: Emptied) -> Seen:
    """What the Pool says after a round: the reason, and the entry of each node."""
    objects, clock = FakeCluster(), SetClock()
    nodes, catalogue = FakeNodes(*found), MemoryCatalogue()
    fleet = Fleet(catalogue, nodes, ThreadLocks())
    surroundings = Surroundings(nodes, fleet, catalogue, clock)
    surveys = FleetSurveys(objects, Recorder(objects, clock), surroundings)

    def seen() -> tuple[str, dict[str, dict[str, Any]]]:
        surveys.reconcile(fleet_surveys.KEY)
        pool = objects.must_get(resources.POOLS, "default")
        ready = statuses.condition(pool, "Ready")
        return str(ready["reason"]), {one["node"]: one for one in pool["status"]["nodes"]}

    return seen


def test_a_pool_that_is_emptied_says_what_is_left_and_a_node_without_it_is_dropped() -> None:
    first, second = Emptied("node-1"), Emptied("node-2")
    seen = surveyed(first, second)
    assert seen()[0] == "Healthy"
    second.emptied = True
    reason, shown = seen()
    assert reason == "Evacuating"
    left = shown["node-2"]
    assert (left["evacuating"], left["heldCount"]) == (True, 1)
    assert left["held"] == [{"kind": "Volume", "name": "vol-1", "whatToDo": "delete its claim"}]
    second.has_it = False
    reason, shown = seen()
    assert (reason, sorted(shown)) == ("Healthy", ["node-1"])
    first.silent = True
    reason, shown = seen()
    assert (reason, sorted(shown)) == ("Degraded", ["node-1"])


def test_a_node_that_returns_with_what_another_adopted_is_named() -> None:
    returned, heir = Emptied("node-1"), Emptied("node-2")
    seen = surveyed(returned, heir)
    assert seen()[0] == "Healthy"
    heir.adopted_from = (ids.NodeName("node-1"),)
    for heir.silent in (False, True, False):
        reason, shown = seen()
        assert reason == ("Degraded" if heir.silent else "AdoptedElsewhere")
        assert shown["node-1"]["adoptedBy"] == "node-2"
        assert "node node-2 adopted pool" in shown["node-1"]["message"]
        assert "adoptedBy" not in shown["node-2"]
    heir.has_it = False
    reason, shown = seen()
    assert reason == "Healthy", "it went back, or was let go"
    assert "adoptedBy" not in shown["node-1"]
    heir.has_it = True
    assert seen()[0] == "AdoptedElsewhere"
    returned.has_it = False
    assert seen()[0] == "Healthy"


def _entry(node: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"node": node, "healthy": True, "message": message, **more}


FULL = _entry("node-1", "12 MiB are left")
EMPTIED = _entry("node-1", "takes no new volumes", evacuating=True)
WAITING = _entry("node-2", "2 volumes wait", waitingVolumes=2)
ORIGINAL = _entry("node-4", "node node-2 adopted it", adoptedBy="node-2")
BROKEN = _entry("node-3", "EIO", healthy=False)


@pytest.mark.parametrize(
    ("entries", "reason", "says"),
    [
        ([_entry("node-1")], "Healthy", ""),
        ([EMPTIED], "Evacuating", "node-1 takes no new volumes"),
        ([FULL, EMPTIED], "LowSpace", "no new volumes on node-1: 12 MiB are left"),
        ([FULL, ORIGINAL], "AdoptedElsewhere", "node-4: node node-2 adopted"),
        ([ORIGINAL, WAITING], "WritesWait", "volumes are frozen on node-2"),
        ([FULL, WAITING], "WritesWait", "volumes are frozen on node-2: 2 volumes wait"),
        ([FULL, WAITING, BROKEN], "Degraded", "no new volumes on node-3: EIO"),
    ],
)
def test_the_worst_of_a_pools_nodes_is_what_it_says(
    entries: list[dict[str, Any]], reason: str, says: str
) -> None:
    verdict = fleet_surveys.pool_verdict(entries)
    assert verdict.reason == reason
    assert says in verdict.message
