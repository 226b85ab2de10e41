"""Movers as Jobs: start, observe, take away; and the claims through which they see things.

Every act is idempotent and named after its owner, so a retry meets what an earlier try made.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mooring.api import keys
from mooring.domain import errors, ids
from mooring.planning import movers
from mooring.planning.movers import MoverState
from mooring.ports import cluster
from mooring_operator import mover_places, observing
from mooring_operator.builders import jobs, owners, persistent_volumes
from mooring_operator.builders.persistent_volumes import Exposure

_LOG_LINES = 5
_WAITING_WITHOUT_NEWS = ("ContainerCreating", "PodInitializing")


class MoverJobs:
    """The movers of one cluster."""

    def __init__(self, objects: cluster.ClusterObjects, settings: jobs.MoverSettings) -> None:
        self._objects = objects
        self._settings = settings

    def start(self, run: jobs.MoverRun, spec: Mapping[str, Any]) -> None:
        """Makes the mover's settings and Job; a no-op when they are there.

        Where it can run on one node alone, it tolerates what that node is kept for.
        """
        node = mover_places.only_node(self._objects, run)
        if node is not None:
            run = replace(run, taints=self._taints(node))
        self._make(cluster.CONFIG_MAPS, jobs.spec_config_map(run, spec))
        self._make(cluster.JOBS, jobs.job(run, self._settings))

    def _make(self, resource: cluster.Resource, body: cluster.Object) -> cluster.Object:
        metadata = body["metadata"]
        try:
            return self._objects.create(resource, body)
        except errors.AlreadyExists:
            found = self._objects.get(resource, metadata["name"], metadata.get("namespace", ""))
            if found is None:
                raise errors.Busy(f"{resource.kind} {metadata['name']} comes and goes") from None
            return found

    def remove(self, owner: owners.Owner, role: str) -> bool:
        """Deletes a mover and its settings; True once nothing of it is left."""
        name, namespace = owner.child_name(role), owner.namespace
        left = False
        for resource in (cluster.JOBS, cluster.CONFIG_MAPS):
            found = self._objects.get(resource, name, namespace)
            if found is None:
                continue
            left = True
            if "deletionTimestamp" not in found["metadata"]:
                self._objects.delete(resource, name, namespace, uid=found["metadata"]["uid"])
        return not left and not self._pods(owner, role)

    def job(self, owner: owners.Owner, role: str) -> cluster.Object | None:
        """Returns a mover's Job, or None."""
        return self._objects.get(cluster.JOBS, owner.child_name(role), owner.namespace)

    def observe(self, owner: owners.Owner, role: str) -> movers.Mover:
        """Returns how a mover stands."""
        found = self.job(owner, role)
        if found is None:
            return movers.ABSENT
        if "deletionTimestamp" in found["metadata"]:
            return movers.Mover(MoverState.LEAVING)
        attempts = int(found.get("status", {}).get("failed", 0) or 0)
        pods = self._pods(owner, role)
        for entry in found.get("status", {}).get("conditions", []):
            if entry.get("status") != "True":
                continue
            if entry["type"] == "Complete":
                return movers.Mover(
                    MoverState.SUCCEEDED, attempts, result=_left_behind(pods, "Succeeded")
                )
            if entry["type"] == "Failed":
                return _failed(entry, pods, attempts)
        return self._active(found, pods, attempts)

    def _active(
        self, job: cluster.Object, pods: list[cluster.Object], attempts: int
    ) -> movers.Mover:
        for pod in pods:
            if pod.get("status", {}).get("phase") == "Running":
                progress = self._progress(pod)
                return movers.Mover(MoverState.RUNNING, attempts, progress=progress)
        waiting = [pod for pod in pods if pod.get("status", {}).get("phase") == "Pending"]
        reason, message = self._why_pending(waiting[-1] if waiting else job)
        return movers.Mover(MoverState.PENDING, attempts, reason, message)

    def _pods(self, owner: owners.Owner, role: str) -> list[cluster.Object]:
        selector = f"{keys.OWNER_UID}={owner.uid},{keys.ROLE}={role}"
        found = self._objects.find(cluster.PODS, owner.namespace, label_selector=selector)
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    def _progress(self, pod: cluster.Object) -> dict[str, Any]:
        metadata = pod["metadata"]
        text = self._objects.log_tail(metadata["name"], metadata["namespace"], lines=_LOG_LINES)
        for line in reversed(text.splitlines()):
            entry = _json_object(line)
            if entry.get("event") == "progress":
                return entry
        return {}

    def said(
        self, owner: owners.Owner, role: str, event: str, *, lines: int
    ) -> list[dict[str, Any]]:
        """Returns what a mover that succeeded wrote to its log under one name."""
        for pod in reversed(self._pods(owner, role)):
            metadata = pod["metadata"]
            if pod.get("status", {}).get("phase") != "Succeeded":
                continue
            text = self._objects.log_tail(metadata["name"], metadata["namespace"], lines=lines)
            entries = map(_json_object, text.splitlines())
            return [entry for entry in entries if entry.get("event") == event]
        return []

    def _why_pending(self, about: cluster.Object) -> tuple[str, str]:
        status = about.get("status", {})
        for entry in status.get("conditions", []):
            if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
                return "MoverUnschedulable", str(entry.get("message", ""))
        for container in status.get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("message") and waiting.get("reason") not in _WAITING_WITHOUT_NEWS:
                return str(waiting["reason"]), str(waiting["message"])
        return "MoverPending", observing.last_warning(self._objects, about)

    def _taints(self, node: ids.NodeName) -> list[cluster.Object]:
        found = self._objects.get(cluster.NODES, node) or {}
        return list(found.get("spec", {}).get("taints") or [])

    def expose(self, exposure: Exposure) -> bool:
        """Makes the claim and the volume behind it; True once they are bound.

        A pod made earlier would only be refused by the scheduler, and wait for its next turn.
        """
        claim = self._make(cluster.CLAIMS, persistent_volumes.exposing_claim(exposure))
        if "deletionTimestamp" in claim["metadata"]:
            raise errors.Busy(f"an earlier claim {exposure.name} is going away")
        is_bound = persistent_volumes.is_bound(exposure, claim)
        body = persistent_volumes.exposing_volume(exposure, claim)
        volume = self._make(cluster.PERSISTENT_VOLUMES, body)
        if volume["spec"]["claimRef"].get("uid") != claim["metadata"]["uid"]:
            # Somebody deleted the claim that it was made for. It is kept by Retain, as are bytes.
            self._objects.delete(
                cluster.PERSISTENT_VOLUMES, exposure.name, uid=volume["metadata"]["uid"]
            )
            raise errors.Busy(f"volume {exposure.name} is of an earlier claim; it is made anew")
        return is_bound

    def is_exposed(self, owner: owners.Owner, role: str) -> bool:
        """Whether a claim or a volume of that role is there."""
        name = owner.child_name(role)
        return (
            self._objects.get(cluster.PERSISTENT_VOLUMES, name) is not None
            or self._objects.get(cluster.CLAIMS, name, owner.namespace) is not None
        )

    def withdraw(self, owner: owners.Owner, role: str) -> bool:
        """Deletes claim, then volume; True once both are gone."""
        name = owner.child_name(role)
        claim = self._objects.get(cluster.CLAIMS, name, owner.namespace)
        if claim is not None:
            if "deletionTimestamp" not in claim["metadata"]:
                uid = claim["metadata"]["uid"]
                self._objects.delete(cluster.CLAIMS, name, owner.namespace, uid=uid)
            return False
        volume = self._objects.get(cluster.PERSISTENT_VOLUMES, name)
        if volume is not None and "deletionTimestamp" not in volume["metadata"]:
            self._objects.delete(cluster.PERSISTENT_VOLUMES, name)
        return volume is None


def _failed(condition: cluster.Object, pods: list[cluster.Object], attempts: int) -> movers.Mover:
    if condition.get("reason") == "DeadlineExceeded":
        text = "it took longer than spec.activeDeadlineSeconds"
        return movers.Mover(MoverState.FAILED, attempts, "DeadlineExceeded", text)
    said = _left_behind(pods, "Failed")
    reason = str(said.get("reason") or "MoverFailed")
    message = str(said.get("message") or condition.get("message") or "")
    return movers.Mover(MoverState.FAILED, attempts, reason, message)


def _left_behind(pods: list[cluster.Object], phase: str) -> dict[str, Any]:
    """Returns the termination message of the newest pod of that phase, as JSON."""
    for pod in reversed(pods):
        if pod.get("status", {}).get("phase") != phase:
            continue
        for container in pod.get("status", {}).get("containerStatuses", []):
            terminated = container.get("state", {}).get("terminated", {})
            said = _json_object(str(terminated.get("message", "")))
            if said:
                return said
            if terminated.get("reason") == "OOMKilled":
                return {"reason": "OutOfMemory", "message": "the mover ran out of memory"}
    return {}


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
