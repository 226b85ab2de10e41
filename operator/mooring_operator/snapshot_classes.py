"""The VolumeSnapshotClasses of the cluster, read once a look."""

from mooring.api import keys
from mooring.domain import errors
from mooring.planning import foreign_volumes as plan
from mooring.planning.backup_run_plan import Need
from mooring.ports import cluster


class SnapshotClasses:
    """Chooses classes; made anew for each look, so that nothing is old."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects
        self._found: list[plan.SnapshotClass] | None = None

    def choose(self, driver: str, wanted: str | None) -> tuple[str, Need]:
        """Returns the class of a driver's snapshots; without one, why, and what to do."""
        if self._found is None:
            try:
                found = self._objects.find(cluster.VOLUME_SNAPSHOT_CLASSES)
            except errors.NotFound:
                return "", _NO_SNAPSHOTS
            self._found = [_read(one) for one in found]
        return plan.choose_class(driver, wanted, self._found)


_NO_SNAPSHOTS = Need(
    ready=False,
    reason="NoSnapshots",
    message="this cluster knows no VolumeSnapshots: an administrator has to install their CRDs and "
    "the snapshot-controller (kubernetes-csi/external-snapshotter)",
)


def _read(found: cluster.Object) -> plan.SnapshotClass:
    metadata = found["metadata"]
    default = (metadata.get("annotations") or {}).get(keys.DEFAULT_SNAPSHOT_CLASS)
    return plan.SnapshotClass(metadata["name"], str(found.get("driver", "")), default == "true")
