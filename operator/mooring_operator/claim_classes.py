"""Whose claims are: Mooring's by their StorageClass, or those that hold repositories."""

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring_operator import observing, resources


class ClaimClasses:
    """Looks each class up once; made anew for each look, so that nothing is old."""

    def __init__(self, objects: cluster.ClusterObjects) -> None:
        self._objects = objects
        self._found: dict[str, cluster.Object | None] = {}

    def of(self, claim: cluster.Object) -> cluster.Object | None:
        """Returns a claim's class; None when it has none or that is gone."""
        name = claim.get("spec", {}).get("storageClassName") or ""
        if not name:
            return None
        if name not in self._found:
            self._found[name] = self._objects.get(cluster.STORAGE_CLASSES, name)
        return self._found[name]

    def is_ours(self, claim: cluster.Object) -> bool:
        """Whether a claim is on a volume of Mooring's, or is going to be."""
        storage_class = self.of(claim)
        if storage_class is not None:
            return storage_class.get("provisioner") == keys.DRIVER
        try:
            return observing.bound_volume(self._objects, claim) is not None
        except errors.PreconditionFailed:
            return False


def repository_claims(objects: cluster.ClusterObjects, namespace: str = "") -> set[tuple[str, str]]:
    """Returns namespace and name of the claims that hold BackupRepositories."""
    found = set()
    for obj in objects.find(resources.BACKUP_REPOSITORIES, namespace):
        spec = obj.get("spec")
        directory = spec.get("directory") if isinstance(spec, dict) else None
        name = directory.get("claimName") if isinstance(directory, dict) else None
        if name:
            found.add((obj["metadata"]["namespace"], str(name)))
    return found
