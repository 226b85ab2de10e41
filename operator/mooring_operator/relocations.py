"""PersistentVolumes follow volumes whose pool came to another node.

A PersistentVolume's node affinity can never be changed, so it is made anew: what shall be made is
written onto the Volume first, then the old one is taken away without a word to the driver, then
the new one is made under the same name for the same claim. Kubernetes shows the claim as Lost in
between, and as Bound again afterwards. Killed anywhere, the next round goes on.
"""

import json
from collections.abc import Mapping
from typing import Any

import structlog

from mooring.api import keys, persistent_volumes
from mooring.domain import errors, volumes
from mooring.ports import cluster
from mooring_operator import observing, resources
from mooring_operator.work_queue import Key

KIND = "Relocations"
KEY = Key(KIND, "", "all")
_ROUND_SECONDS = 20.0
_log = structlog.get_logger("relocations")


class Relocations:
    """Compares where volumes are with where their PersistentVolumes say that they are."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects

    def reconcile(self, _: Key) -> float | None:
        """Looks at all of them once; returns when to do it again, in seconds."""
        by_handle = observing.volumes_by_handle(self._objects)
        for obj in self._objects.find(resources.VOLUMES):
            try:
                self._follow(obj, by_handle.get(_name(obj)))
            except errors.Unreachable:
                raise
            except (errors.MooringError, ValueError) as error:  # one must not hold up the others
                _log.warning("not relocated", volume=_name(obj), message=str(error))
        return _ROUND_SECONDS

    def _follow(self, obj: cluster.Object, volume: cluster.Object | None) -> None:
        node = obj.get("spec", {}).get("node", "")
        pending = obj["metadata"].get("annotations", {}).get(keys.RELOCATING)
        if pending is None:
            if volume is None or not _is_stale(volume, obj):
                return
            wanted = persistent_volumes.relocated(volume, node)
            self._write_down(obj, json.dumps(wanted))
        else:
            wanted = persistent_volumes.relocated(json.loads(pending), node)
        if volume is not None and not persistent_volumes.is_on(volume, node):
            self._take_away(volume)
            volume = None
        if volume is None:
            self._objects.create(cluster.PERSISTENT_VOLUMES, wanted)
            _log.info("a PersistentVolume follows its volume", name=_name(wanted), node=node)
        self._write_down(obj, None)

    def _write_down(self, obj: cluster.Object, wanted: str | None) -> None:
        change = {"metadata": {"annotations": {keys.RELOCATING: wanted}}}
        self._objects.patch(resources.VOLUMES, _name(obj), change)

    def _take_away(self, volume: cluster.Object) -> None:
        """Removes a PersistentVolume alone: its data, and its claim, stay."""
        name = _name(volume)
        kept = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
        self._objects.patch(cluster.PERSISTENT_VOLUMES, name, kept)
        self._objects.delete(cluster.PERSISTENT_VOLUMES, name, uid=volume["metadata"]["uid"])
        present = self._objects.get(cluster.PERSISTENT_VOLUMES, name)
        if present is not None and present["metadata"]["uid"] == volume["metadata"]["uid"]:
            # It is protected while a claim is bound to it, which is what shall stay so.
            freed = {
                "metadata": {
                    "finalizers": None,
                    "resourceVersion": present["metadata"]["resourceVersion"],
                }
            }
            self._objects.patch(cluster.PERSISTENT_VOLUMES, name, freed)


def _is_stale(volume: cluster.Object, obj: cluster.Object) -> bool:
    """Whether a volume is whole on another node than its PersistentVolume says."""
    spec: Mapping[str, Any] = obj.get("spec", {})
    if "deletionTimestamp" in volume["metadata"] or spec.get("deletionRequested"):
        return False
    if obj.get("status", {}).get("state") != volumes.VolumeState.READY.value:
        return False
    return not persistent_volumes.is_on(volume, spec.get("node", ""))


def _name(obj: cluster.Object) -> str:
    name: str = obj["metadata"]["name"]
    return name
