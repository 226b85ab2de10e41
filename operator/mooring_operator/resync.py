"""Everything is looked at now and then, whatever the watches said: level, not edge."""

from mooring.ports import cluster
from mooring_operator import resources, watching
from mooring_operator.work_queue import Key, WorkQueue

KIND = "Resync"
KEY = Key(KIND, "", "all")
_ROUND_SECONDS = 60.0
_PACE_SECONDS = 0.01
_OWN = (
    resources.VOLUME_CLAIMS,
    resources.BACKUPS,
    resources.BACKUP_REPOSITORIES,
    resources.BACKUP_SCHEDULES,
    resources.RESTORES,
)


class Resync:
    """Names every object to the queue, spread over some seconds."""

    def __init__(self, objects: cluster.ClusterObjects, queue: WorkQueue) -> None:
        self._objects = objects
        self._queue = queue

    def reconcile(self, _: Key) -> float | None:
        """Lists all kinds once; returns when to do it again, in seconds."""
        found = [
            Key(resource.kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for resource in _OWN
            for obj in self._objects.find(resource)
        ]
        for claim in self._objects.find(cluster.CLAIMS):
            found += watching.keys_of_claim(claim)
        for number, key in enumerate(found):
            self._queue.add(key, _PACE_SECONDS * number)
        return _ROUND_SECONDS
