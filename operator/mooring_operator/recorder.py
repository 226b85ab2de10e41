"""Writes what the operator has to say: statuses, Events, finalizers. One way for every kind."""

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import verdicts
from mooring.ports import clock, cluster
from mooring_operator import statuses
from mooring_operator.builders import events


class Recorder:
    """Statuses and Events of objects."""

    def __init__(self, objects: cluster.ClusterObjects, time: clock.Clock) -> None:
        self._objects = objects
        self._time = time

    def report(
        self,
        resource: cluster.Resource,
        obj: cluster.Object,
        main: str,
        verdict: verdicts.Verdict,
        fields: cluster.Object,
    ) -> None:
        """Writes an object's whole status when it differs, and an Event when its reason does.

        Args:
            resource: Its kind.
            obj: The object as it was read.
            main: `Ready` or `Succeeded`.
            verdict: How it stands.
            fields: The status but for observedGeneration; its conditions come after the main ones.
        """
        now = self._time.now()
        wanted = {
            **{name: value for name, value in fields.items() if value is not None},
            "observedGeneration": obj["metadata"].get("generation", 1),
            "conditions": [
                *statuses.conditions(main, verdict, obj, now),
                *fields.get("conditions", ()),
            ],
        }
        patch = statuses.changes(obj.get("status", {}), wanted)
        if not patch:
            return
        metadata = obj["metadata"]
        try:
            self._objects.patch(
                resource,
                metadata["name"],
                {"status": patch},
                metadata.get("namespace", ""),
                status=True,
            )
        except errors.NotFound:
            return
        if statuses.condition(obj, main).get("reason") != verdict.reason:
            self.event(obj, verdict)

    def event(self, about: cluster.Object, verdict: verdicts.Verdict) -> None:
        """Writes an Event; the same one again counts up. Losing an Event is no failure."""
        warning = verdict.outcome in (verdicts.Outcome.STUCK, verdicts.Outcome.FAILED)
        body = events.event(
            about,
            warning=warning,
            reason=verdict.reason,
            message=verdict.message,
            now=self._time.now(),
        )
        try:
            self._objects.create(cluster.EVENTS, body)
        except errors.AlreadyExists:
            self._count_up(body)
        except errors.MooringError:
            return

    def _count_up(self, body: cluster.Object) -> None:
        metadata = body["metadata"]
        try:
            present = self._objects.get(cluster.EVENTS, metadata["name"], metadata["namespace"])
            if present is None:
                return
            change = {
                "count": int(present.get("count", 1)) + 1,
                "lastTimestamp": body["lastTimestamp"],
            }
            self._objects.patch(cluster.EVENTS, metadata["name"], change, metadata["namespace"])
        except errors.MooringError:
            return

    def hold(
        self, resource: cluster.Resource, obj: cluster.Object, finalizer: str = keys.FINALIZER
    ) -> None:
        """Puts a finalizer on an object; a no-op when it is there."""
        present = list(obj["metadata"].get("finalizers", []))
        if finalizer not in present:
            self._set_finalizers(resource, obj, [*present, finalizer])

    def let_go(
        self, resource: cluster.Resource, obj: cluster.Object, finalizer: str = keys.FINALIZER
    ) -> None:
        """Takes the finalizer off; a no-op when it is not there or the object is gone."""
        present = list(obj["metadata"].get("finalizers", []))
        if finalizer in present:
            self._set_finalizers(resource, obj, [name for name in present if name != finalizer])

    def _set_finalizers(
        self, resource: cluster.Resource, obj: cluster.Object, finalizers: list[str]
    ) -> None:
        metadata = obj["metadata"]
        change = {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}
        try:
            updated = self._objects.patch(
                resource, metadata["name"], {"metadata": change}, metadata.get("namespace", "")
            )
        except errors.NotFound:
            return
        metadata["finalizers"] = finalizers
        metadata["resourceVersion"] = updated["metadata"]["resourceVersion"]
