"""Forgetting a node that is gone for good: what was on it, and the word that nothing waits for it.

No byte is touched. What has a PersistentVolume is marked, and goes when that does; what nobody can
reach any more goes from the catalogue at once. A node that returns all the same reports what is on
its disk, so that it is shown again: see docs/decisions/0017.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mooring.api import keys
from mooring.domain import errors, handles, ids
from mooring.ports import catalogue as catalogue_port
from mooring.ports import cluster
from mooring.volumes.fleet.undeletion import ClaimName, claim_of

_AGENTS = f"{keys.NAME}={keys.NAME_VALUE},{keys.COMPONENT}={keys.COMPONENT_NODE}"


@dataclass(frozen=True)
class Left:
    """A volume that was on the node.

    Attributes:
        entry: What the catalogue has of it.
        volume: Name of its PersistentVolume; None when nothing in Kubernetes leads to it.
        claim: The claim that has the PersistentVolume, or had it, or that it was made for.
        kept: Whether the PersistentVolume stays when its claim is deleted.
    """

    entry: catalogue_port.CatalogueEntry
    volume: str | None
    claim: ClaimName | None
    kept: bool = False


class Farewell:
    """Says of nodes that they are gone for good.

    Args:
        catalogue: Volumes of the fleet.
        farewells: The same, for the word.
        objects: The cluster's objects.
    """

    def __init__(
        self,
        catalogue: catalogue_port.Catalogue,
        farewells: catalogue_port.NodeFarewells,
        objects: cluster.ClusterObjects,
    ) -> None:
        self._catalogue = catalogue
        self._farewells = farewells
        self._objects = objects

    def left_on(self, node: ids.NodeName) -> Sequence[Left]:
        """Returns what was on a node, by id; changes nothing.

        Raises:
            PreconditionFailed: It is still in the cluster, or it is not certain that it is silent.
        """
        if self._objects.get(cluster.NODES, node) is not None:
            raise errors.PreconditionFailed(
                f"node {node} is in the cluster, so it is not forgotten: deletions are carried out "
                f"when it is back. If it is gone for good, and switched off: kubectl delete node "
                f"{node}, and again once its volumes are shown as Lost"
            )
        entries = [entry for entry in self._catalogue.entries() if entry.node == node]
        if not entries:
            return []
        self._require_silence(node, entries)
        volumes = self._volumes()
        return [_left(entry, volumes.get(entry.spec.volume_id)) for entry in entries]

    def forget(self, left: Sequence[Left]) -> None:
        """Marks what has a PersistentVolume, and drops the rest; can be repeated."""
        for one in left:
            if one.volume is not None:
                self._farewells.forget(one.entry.spec.volume_id)
            else:
                self._catalogue.drop(one.entry.spec.volume_id)

    def _require_silence(
        self, node: ids.NodeName, entries: Sequence[catalogue_port.CatalogueEntry]
    ) -> None:
        agents = self._objects.find(cluster.PODS, keys.NAMESPACE, label_selector=_AGENTS)
        running = [pod["metadata"]["name"] for pod in agents if _runs_on(pod, node)]
        if running:
            raise errors.PreconditionFailed(
                f"pod {running[0]} of Mooring is still there on node {node}: Kubernetes takes it "
                "away about a minute after the Node object; then try again"
            )
        heard = [entry.spec.volume_id for entry in entries if not entry.lost]
        if heard:
            raise errors.PreconditionFailed(
                f"{len(heard)} of {len(entries)} volumes on node {node} are not Lost yet, such as "
                f"{heard[0]}: that takes some minutes in which its agent says nothing, and an "
                "operator that runs. See kubectl get volumes, and try again"
            )

    def _volumes(self) -> Mapping[ids.VolumeId, cluster.Object]:
        found: dict[ids.VolumeId, cluster.Object] = {}
        for obj in self._objects.find(cluster.PERSISTENT_VOLUMES):
            csi = obj.get("spec", {}).get("csi", {})
            if csi.get("driver") != keys.DRIVER:
                continue
            try:
                handle = handles.parse(str(csi.get("volumeHandle", "")))
            except errors.NotFound:
                continue  # nothing of ours can have it
            if isinstance(handle, handles.UserVolume):
                found[handle.volume_id] = obj
        return found


def _runs_on(pod: cluster.Object, node: ids.NodeName) -> bool:
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return pod.get("spec", {}).get("nodeName") == node and not ended


def _left(entry: catalogue_port.CatalogueEntry, volume: cluster.Object | None) -> Left:
    if volume is None:
        return Left(entry, None, claim_of(entry))
    spec = volume["spec"]
    ref = spec.get("claimRef", {})
    names = (ref.get("namespace"), ref.get("name"))
    claim = ClaimName(*names) if all(names) else claim_of(entry)
    kept = spec.get("persistentVolumeReclaimPolicy") != "Delete"
    return Left(entry, volume["metadata"]["name"], claim, kept)
