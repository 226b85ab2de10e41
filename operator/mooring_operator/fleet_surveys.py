"""The round over all agents: Pool objects follow what the nodes say. Volumes report themselves.

One loop for the whole fleet instead of a timer an object. A node that does not answer keeps its
last words, its pools are shown as unreachable, and nobody else waits for it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mooring.api import keys
from mooring.domain import ids, pools, quantities
from mooring.planning import pool_ownership, verdicts
from mooring.ports import cluster
from mooring.volumes.fleet import surveys
from mooring_operator import resources
from mooring_operator.recorder import Recorder
from mooring_operator.surroundings import Surroundings
from mooring_operator.work_queue import Key

KIND = "Fleet"
KEY = Key(KIND, "", "survey")
_ROUND_SECONDS = 10.0


class FleetSurveys:
    """Projects what agents say of their pools into Pool objects."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        recorder: Recorder,
        surroundings: Surroundings,
    ) -> None:
        self._objects = objects
        self._recorder = recorder
        self._nodes = surroundings.nodes

    def reconcile(self, _: Key) -> float | None:
        """Asks every agent once; returns when to ask again, in seconds."""
        names = self._nodes.names()
        found = surveys.ask(self._nodes, names, lambda node: tuple(node.list_pools()))
        self._pools(found)
        return _ROUND_SECONDS

    def _pools(self, found: Mapping[ids.NodeName, Sequence[pools.PoolStatus] | None]) -> None:
        by_name: dict[str, list[pools.PoolStatus]] = {}
        for answer in found.values():
            for status in answer or ():
                by_name.setdefault(status.name, []).append(status)
        present = {obj["metadata"]["name"]: obj for obj in self._objects.find(resources.POOLS)}
        answered = {str(name) for name, answer in found.items() if answer is not None}
        for name in sorted(by_name.keys() | present.keys()):
            obj = present.get(name) or self._make(name)
            self._report(obj, by_name.get(name, []), answered)

    def _make(self, name: str) -> cluster.Object:
        labels = {keys.NAME: keys.NAME_VALUE}
        body = {"metadata": {"name": name, "labels": labels}, "spec": {}}
        return self._objects.create(resources.POOLS, body)

    def _report(
        self, obj: cluster.Object, answers: Sequence[pools.PoolStatus], answered: Collection[str]
    ) -> None:
        """Writes what is known of one pool; a node that answered without it has it no more."""
        before = obj.get("status", {}).get("nodes", [])
        known = {entry["node"]: entry for entry in before if entry["node"] not in answered}
        heirs = {**_remembered(before, known, answers), **pool_ownership.originals(answers)}
        for status in answers:
            known[status.node] = {**_entry(status), **_adopted(status, heirs.get(status.node))}
        for name, entry in known.items():
            if name not in answered:
                known[name] = {**entry, **_SILENT}
        entries = [known[name] for name in sorted(known)]
        fields = {
            "nodes": entries,
            "nodeCount": len(entries),
            "total": _sum(entries, "totalBytes"),
            "free": _sum(entries, "freeBytes"),
            "provisioned": _sum(entries, "provisionedBytes"),
        }
        self._recorder.report(resources.POOLS, obj, "Ready", pool_verdict(entries), fields)


_STUCK: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], bool]]] = (
    ("Degraded", "no new volumes on ", lambda entry: not entry["healthy"]),
    ("WritesWait", "volumes are frozen on ", lambda entry: bool(entry.get("waitingVolumes"))),
    ("AdoptedElsewhere", "", lambda entry: bool(entry.get("adoptedBy"))),
    (
        "LowSpace",
        "no new volumes on ",
        lambda entry: bool(entry["message"]) and not entry.get("evacuating"),
    ),
)
"""What somebody has to look after, the worst first: reason, how it is said, and of which nodes."""


def pool_verdict(entries: Sequence[Mapping[str, Any]]) -> verdicts.Verdict:
    """Says how a pool stands over its nodes."""
    for reason, opening, concerns in _STUCK:
        said = [f"{entry['node']}: {entry['message']}" for entry in entries if concerns(entry)]
        if said:
            return verdicts.stuck(reason, f"{opening}{'; '.join(said)}")
    emptied = [f"{entry['node']} {entry['message']}" for entry in entries if entry["message"]]
    if emptied:
        return verdicts.working("Evacuating", "; ".join(emptied))
    if not entries:
        return verdicts.working("NoNodes", "no node has this pool")
    return verdicts.done("Healthy", f"{len(entries)} nodes take new volumes")


_STEP_BYTES = 1 << 20
_SILENT = {"healthy": False, "message": "its agent does not answer", "waitingVolumes": 0}


def _entry(status: pools.PoolStatus) -> dict[str, Any]:
    return {
        "node": str(status.node),
        "poolUuid": status.pool_uuid,
        "backend": status.backend.value,
        "totalBytes": _rounded(status.capacity.total_bytes),
        "freeBytes": _rounded(status.capacity.free_bytes),
        "provisionedBytes": _rounded(status.provisioned_bytes),
        "availableBytes": _rounded(max(status.available_bytes, 0)),
        "healthy": status.healthy,
        "message": status.message,
        "waitingVolumes": status.waiting_volumes,
        **_evacuation(status.evacuation),
    }


def _remembered(
    before: Sequence[Mapping[str, Any]],
    silent: Collection[str],
    answers: Sequence[pools.PoolStatus],
) -> dict[ids.NodeName, ids.NodeName]:
    """Returns what was said of adoptions by nodes that cannot repeat it, or whose disk failed."""
    present = {(str(one.node), one.pool_uuid) for one in answers}
    return {
        ids.NodeName(entry["node"]): ids.NodeName(heir)
        for entry in before
        if (heir := entry.get("adoptedBy"))
        and (heir in silent or (heir, entry["poolUuid"]) in present)
    }


def _adopted(status: pools.PoolStatus, heir: ids.NodeName | None) -> dict[str, Any]:
    """Says of a node's entry that another one has this pool, too, and rightly."""
    if heir is None:
        return {}
    said = pool_ownership.original_message(status.pool_uuid, heir)
    return {"adoptedBy": heir, "message": "; ".join(filter(None, [status.message, said]))}


def _evacuation(found: pools.Evacuation | None) -> dict[str, Any]:
    if found is None:
        return {}
    held = [
        {"kind": item.kind, "name": item.name, "whatToDo": item.what_to_do} for item in found.held
    ]
    return {"evacuating": True, "heldCount": found.held_count, "held": held}


def _rounded(size_bytes: int) -> int:
    """Rounds down to whole MiB, so that a pool in use is not written to at every round."""
    return size_bytes // _STEP_BYTES * _STEP_BYTES


def _sum(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    return quantities.show_bytes(sum(int(entry[name]) for entry in entries))
