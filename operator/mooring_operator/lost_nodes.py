"""The round over all Volumes for those whose node was removed: noted on them, never acted upon.

What is noted is a condition, which nobody else writes, and the same words as the Volume's message,
over which the node's agent writes with its next report if it still runs.
"""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mooring.domain import errors, ids
from mooring.planning import lost_nodes, verdicts
from mooring.planning.lost_nodes import Standing
from mooring.ports import cluster
from mooring.volumes.fleet import surveys
from mooring_operator import resources, statuses
from mooring_operator.recorder import Recorder
from mooring_operator.surroundings import Surroundings
from mooring_operator.work_queue import Key

KIND = "LostNodes"
KEY = Key(KIND, "", "round")
CONDITION = "Lost"
_ROUND_SECONDS = 15.0


class LostNodes:
    """Notes on Volumes that their node was removed, and takes it back when it returns."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        surroundings: Surroundings,
        lost_after: timedelta,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._nodes = surroundings.nodes
        self._time = surroundings.time
        self._lost_after = lost_after

    def reconcile(self, _: Key) -> float | None:
        """Looks at every Volume and Pool once; returns when to look again, in seconds."""
        existing = {obj["metadata"]["name"] for obj in self._objects.find(cluster.NODES)}
        volumes = self._objects.find(resources.VOLUMES)
        pools = self._objects.find(resources.POOLS)
        holding = {str(obj["spec"]["node"]) for obj in volumes}
        away = (holding | {name for obj in pools for name in _nodes_of(obj)}) - existing
        answering = self._answering(sorted(away))
        now = self._time.now()
        for obj in volumes:
            node = str(obj["spec"]["node"])
            if node in away or statuses.condition(obj, CONDITION):
                self._judge(obj, node in existing, node in answering, now)
        for obj in pools:
            self._forget_in(obj, away - answering - holding)
        return _ROUND_SECONDS

    def _forget_in(self, pool: cluster.Object, gone: set[str]) -> None:
        """Takes out of a Pool's status the nodes that are gone with everything that they had."""
        if not gone.intersection(_nodes_of(pool)):
            return
        kept = [entry for entry in pool["status"]["nodes"] if entry["node"] not in gone]
        self._write(resources.POOLS, pool, {"nodes": kept})

    def _answering(self, names: Sequence[str]) -> set[str]:
        """Returns those of some nodes whose agents answer all the same."""
        if not names:
            return set()
        wanted = [ids.NodeName(name) for name in names]
        answers = surveys.ask(self._nodes, wanted, lambda node: tuple(node.list_pools()))
        return {str(node) for node, answer in answers.items() if answer is not None}

    def _judge(self, obj: cluster.Object, exists: bool, answers: bool, now: datetime) -> None:
        noted = statuses.condition(obj, CONDITION)
        sight = lost_nodes.Sight(
            node_exists=exists,
            agent_answers=answers,
            noted=_standing(noted),
            since=statuses.parse_timestamp(noted.get("lastTransitionTime")),
            untouched=obj.get("status", {}).get("message") == noted.get("message"),
        )
        found = lost_nodes.judge(sight, now, self._lost_after)
        if found.standing is Standing.PRESENT:
            self._take_back(obj, noted)
            return
        wanted = _condition(obj, found)
        if wanted == noted and sight.untouched:
            return
        health = "Lost" if found.standing is Standing.LOST else "Abnormal"
        self._write(
            resources.VOLUMES,
            obj,
            {"health": health, "message": wanted["message"], "conditions": [wanted]},
        )
        if found.standing is Standing.LOST and sight.noted is not Standing.LOST:
            self._recorder.event(obj, verdicts.stuck(CONDITION, wanted["message"]))

    def _take_back(self, obj: cluster.Object, noted: Mapping[str, Any]) -> None:
        """The node is back: its agent says the rest, unless it has already."""
        change: dict[str, Any] = {"conditions": []}
        if obj.get("status", {}).get("message") == noted.get("message"):
            text = lost_nodes.message(obj["spec"]["node"], Standing.PRESENT, self._time.now())
            change |= {"health": "Abnormal", "message": text}
        self._write(resources.VOLUMES, obj, change)

    def _write(
        self, resource: cluster.Resource, obj: cluster.Object, change: dict[str, Any]
    ) -> None:
        metadata = obj["metadata"]
        # Conditional: an agent that reports meanwhile must not be written over unseen.
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": change}
        with contextlib.suppress(errors.Busy, errors.NotFound):  # the next round looks again
            self._objects.patch(resource, metadata["name"], body, status=True)


def _nodes_of(pool: cluster.Object) -> list[str]:
    return [entry["node"] for entry in pool.get("status", {}).get("nodes", [])]


def _standing(noted: Mapping[str, Any]) -> Standing:
    if not noted:
        return Standing.PRESENT
    return Standing.LOST if noted.get("status") == "True" else Standing.MISSING


def _condition(obj: cluster.Object, found: lost_nodes.Judgement) -> dict[str, Any]:
    return {
        "type": CONDITION,
        "status": "True" if found.standing is Standing.LOST else "False",
        "observedGeneration": obj["metadata"].get("generation", 1),
        "lastTransitionTime": statuses.timestamp(found.since),
        "reason": found.standing.value,
        "message": lost_nodes.message(obj["spec"]["node"], found.standing, found.since),
    }
