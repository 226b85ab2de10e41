"""What a pod went through from apply to Ready, read from objects as they were seen. Pure.

A mark is a moment; a step is the time from one mark to the next. Marks come from several watches
and from the driver's log, each a little late, so a mark never lies before the one in front of it.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_SELECTED_NODE = "volume.kubernetes.io/selected-node"


class Mark(enum.StrEnum):
    """The moments, in the order in which they come; the value names the step that ends there."""

    ACCEPTED = "kubectl apply, until the pod exists"
    NODE_CHOSEN = "scheduler chooses a node for the claim"
    CREATED = "CreateVolume ends"
    CLAIM_BOUND = "claim is bound"
    PLACED = "scheduler binds the pod to its node"
    STAGED = "NodeStageVolume ends"
    PUBLISHED = "NodePublishVolume ends"
    SANDBOX = "pod's sandbox is up"
    STARTED = "container is started"
    READY = "pod is Ready"


@dataclass(frozen=True)
class Sighting:
    """An object as a watch showed it.

    Attributes:
        at_seconds: When, by this process's monotonic clock.
        value: The object.
    """

    at_seconds: float
    value: Mapping[str, Any]


Marks = Mapping[Mark, float]


def marks_of(sightings: Iterable[Sighting], pod: str, claim: str) -> dict[Mark, float]:
    """Returns when each mark of one pod, and of the claim that it uses, was first seen."""
    found: dict[Mark, float] = {}
    for sighting in sightings:
        for mark in _shown(sighting.value, pod, claim):
            found.setdefault(mark, sighting.at_seconds)
    return found


def _shown(value: Mapping[str, Any], pod: str, claim: str) -> Sequence[Mark]:
    name = value["metadata"]["name"]
    match value["kind"]:
        case "Pod" if name == pod:
            return _shown_by_pod(value)
        case "PersistentVolumeClaim" if name == claim:
            return _shown_by_claim(value)
        case "Event" if value["involvedObject"].get("name") == pod:
            # The kubelet looks at the image first thing after volumes and sandbox are there.
            by_reason = {"Pulled": [Mark.SANDBOX], "Started": [Mark.STARTED]}
            return by_reason.get(value.get("reason", ""), [])
        case _:
            return []


def _shown_by_pod(pod: Mapping[str, Any]) -> Sequence[Mark]:
    marks = [Mark.ACCEPTED]
    if pod["spec"].get("nodeName"):
        marks.append(Mark.PLACED)
    conditions = pod.get("status", {}).get("conditions", [])
    if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
        marks.append(Mark.READY)
    return marks


def _shown_by_claim(claim: Mapping[str, Any]) -> Sequence[Mark]:
    marks = []
    if _SELECTED_NODE in claim["metadata"].get("annotations", {}):
        marks.append(Mark.NODE_CHOSEN)
    if claim.get("status", {}).get("phase") == "Bound":
        marks.append(Mark.CLAIM_BOUND)
    return marks


def steps_of(start_seconds: float, marks: Marks) -> dict[Mark, float]:
    """Returns the seconds of each step; those of all steps add up to the time until Ready."""
    steps: dict[Mark, float] = {}
    last = start_seconds
    for mark in Mark:
        if mark in marks:
            moment = max(last, min(marks[mark], marks.get(Mark.READY, marks[mark])))
            steps[mark] = moment - last
            last = moment
    return steps


def medians(rounds: Sequence[Mapping[Mark, float]]) -> dict[Mark, float]:
    """Returns the median of each step over the rounds that have it."""
    found = {}
    for mark in Mark:
        seen = [steps[mark] for steps in rounds if mark in steps]
        if seen:
            found[mark] = median(seen)
    return found
