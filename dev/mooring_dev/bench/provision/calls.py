"""When the driver's own calls ended, from its log: what no object of the cluster shows."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mooring.domain import ids
from mooring_dev.bench.provision.timeline import Mark
from mooring_dev.kubectl import Kubectl

_NAMESPACE = "mooring-system"
_COMPONENTS = {"csi-controller": "controller", "node": "node"}  # and their container
_MARKS = {
    "/csi.v1.Controller/CreateVolume": Mark.CREATED,
    "/csi.v1.Node/NodeStageVolume": Mark.STAGED,
    "/csi.v1.Node/NodePublishVolume": Mark.PUBLISHED,
}


@dataclass(frozen=True)
class Call:
    """One call that succeeded.

    Attributes:
        mark: Which call it was.
        volume_id: The volume's id.
        ended_at: When it ended, in seconds since 1970.
        seconds: How long it took.
    """

    mark: Mark
    volume_id: str
    ended_at: float
    seconds: float


def parse(lines: Iterable[str]) -> list[Call]:
    """Reads the calls out of the driver's log."""
    found = []
    for line in lines:
        if not line.startswith("{"):
            continue
        entry: Mapping[str, Any] = json.loads(line)
        mark = _MARKS.get(entry.get("method", ""))
        if mark is None or entry.get("code") != "OK":
            continue
        request = entry["request"]
        # CreateVolume is asked for a name, which the id is made from.
        volume_id = request.get("volume_id") or ids.volume_id_for(request["name"])
        ended_at = datetime.fromisoformat(entry["timestamp"]).timestamp()
        found.append(Call(mark, volume_id, ended_at, float(entry["seconds"])))
    return found


def logged(cluster: Kubectl) -> list[Call]:
    """Returns the calls of every process of the driver."""
    lines: list[str] = []
    for component, container in _COMPONENTS.items():
        selector = f"app.kubernetes.io/component={component}"
        lines += cluster.run(
            "logs", "-n", _NAMESPACE, "-l", selector, "-c", container, "--tail=-1"
        ).splitlines()
    return parse(lines)


def marks_of(calls: Iterable[Call], claim_uid: str) -> dict[Mark, float]:
    """Returns when the calls for one claim's volume ended, by this process's monotonic clock."""
    volume_id = ids.volume_id_for(f"pvc-{claim_uid}")
    offset_seconds = time.time() - time.monotonic()
    return {
        call.mark: call.ended_at - offset_seconds for call in calls if call.volume_id == volume_id
    }
