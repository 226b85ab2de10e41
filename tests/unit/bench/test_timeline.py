"""Reading a pod's way to Ready out of what watches and the driver's log showed."""

import json

import pytest

from mooring.domain import ids
from mooring_dev.bench.provision import calls
from mooring_dev.bench.provision.timeline import Mark, Sighting, marks_of, medians, steps_of


def pod(name: str = "one", node: str = "", ready: bool = False) -> dict[str, object]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node} if node else {},
        "status": {"conditions": conditions},
    }


def claim(name: str = "one", node: str = "", phase: str = "Pending") -> dict[str, object]:
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": annotations},
        "status": {"phase": phase},
    }


def event(name: str, reason: str) -> dict[str, object]:
    return {
        "kind": "Event",
        "metadata": {"name": f"{name}.1"},
        "involvedObject": {"kind": "Pod", "name": name},
        "reason": reason,
    }


def test_each_mark_is_the_first_sighting_of_this_pod_and_its_claim() -> None:
    shown = [
        (1.0, claim()),
        (1.1, pod()),
        (1.2, pod("other", "node1", ready=True)),
        (1.3, claim(node="node1")),
        (1.4, claim("other", "node1", "Bound")),
        (2.0, claim(node="node1", phase="Bound")),
        (2.1, pod(node="node1")),
        (2.2, event("other", "Started")),
        (2.3, event("one", "Pulled")),
        (2.4, event("one", "Started")),
        (3.0, pod(node="node1", ready=True)),
        (9.0, pod(node="node1", ready=True)),
    ]
    marks = marks_of([Sighting(at, value) for at, value in shown], "one", "one")
    assert marks == {
        Mark.ACCEPTED: 1.1,
        Mark.NODE_CHOSEN: 1.3,
        Mark.CLAIM_BOUND: 2.0,
        Mark.PLACED: 2.1,
        Mark.SANDBOX: 2.3,
        Mark.STARTED: 2.4,
        Mark.READY: 3.0,
    }


def test_steps_add_up_to_the_time_until_ready() -> None:
    marks = {Mark.ACCEPTED: 10.5, Mark.PLACED: 10.75, Mark.STARTED: 11.5, Mark.READY: 12.0}
    steps = steps_of(10.0, marks)
    assert steps == {
        Mark.ACCEPTED: 0.5,
        Mark.PLACED: 0.25,
        Mark.STARTED: 0.75,
        Mark.READY: 0.5,
    }
    assert sum(steps.values()) == 2.0


def test_a_mark_that_was_seen_late_takes_its_time_from_the_next_one() -> None:
    marks = {
        Mark.CLAIM_BOUND: 2.0,
        Mark.PLACED: 1.5,  # the other watch was quicker
        Mark.STARTED: 4.0,  # the event came after the status
        Mark.READY: 3.0,
    }
    steps = steps_of(1.0, marks)
    assert steps == {
        Mark.CLAIM_BOUND: 1.0,
        Mark.PLACED: 0.0,
        Mark.STARTED: 1.0,
        Mark.READY: 0.0,
    }


def test_a_median_is_over_the_rounds_that_have_the_step() -> None:
    rounds = [{Mark.READY: 1.0, Mark.STAGED: 5.0}, {Mark.READY: 2.0}, {Mark.READY: 9.0}]
    assert medians(rounds) == {Mark.READY: 2.0, Mark.STAGED: 5.0}


def test_calls_are_told_by_their_volume() -> None:
    volume_id = ids.volume_id_for("pvc-123")
    lines = [
        "not of the driver",
        json.dumps({"event": "the agent serves", "timestamp": "2026-01-01T00:00:00Z"}),
        line("Controller/CreateVolume", 1, {"name": "pvc-123"}),
        line("Controller/CreateVolume", 2, {"name": "pvc-456"}),
        line("Node/NodeStageVolume", 3, {"volume_id": volume_id}, code="ABORTED"),
        line("Node/NodeStageVolume", 4, {"volume_id": volume_id}),
        line("Node/NodePublishVolume", 5, {"volume_id": volume_id}),
        line("Node/NodeUnpublishVolume", 6, {"volume_id": volume_id}),
    ]
    marks = calls.marks_of(calls.parse(lines), "123")
    assert list(marks) == [Mark.CREATED, Mark.STAGED, Mark.PUBLISHED]
    assert marks[Mark.STAGED] - marks[Mark.CREATED] == pytest.approx(3.0)
    assert marks[Mark.PUBLISHED] - marks[Mark.STAGED] == pytest.approx(1.0)


def line(method: str, second: int, request: dict[str, str], code: str = "OK") -> str:
    return json.dumps(
        {
            "event": "call",
            "method": f"/csi.v1.{method}",
            "request": request,
            "code": code,
            "seconds": 0.01,
            "timestamp": f"2026-01-01T00:00:{second:02d}.000000Z",
        }
    )
