"""A VolumeClaim's surroundings in memory, and somebody who plays Kubernetes' part."""

from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.api import keys
from mooring.domain import ids, volumes
from mooring.ports import cluster
from mooring.ports.catalogue import NodeReport
from mooring_operator import resources, statuses
from mooring_operator.held_claims import HeldClaims
from mooring_operator.node_states import NodeStates
from mooring_operator.recorder import Recorder
from mooring_operator.volume_claims import VolumeClaims
from mooring_operator.work_queue import Key
from support.fake_cluster import FakeCluster
from support.fake_nodes import CREATED_AT
from support.set_clock import SetClock

KEY = Key("VolumeClaim", "apps", "data")


class World:
    """A cluster with a StorageClass, two nodes, and the reconciler."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.clock = SetClock()
        recorder = Recorder(self.cluster, self.clock)
        nodes = NodeStates(self.cluster, self.clock)
        self.claims = VolumeClaims(self.cluster, recorder, self.clock, nodes)
        self.held = HeldClaims(self.cluster, recorder, nodes)
        self.cluster.create(
            cluster.STORAGE_CLASSES,
            {
                "metadata": {"name": "mooring"},
                "provisioner": keys.DRIVER,
                "volumeBindingMode": "WaitForFirstConsumer",
                "allowVolumeExpansion": True,
            },
        )
        for name, room in (("node-1", 5 << 30), ("node-2", 50 << 30)):
            self.cluster.create(
                cluster.NODES,
                {
                    "metadata": {"name": name, "labels": {"disk": "nvme"}},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                },
            )
            self.room = room
        self.cluster.create(resources.POOLS, {"metadata": {"name": "default"}})
        nodes = [
            {"node": "node-1", "healthy": True, "availableBytes": 5 << 30},
            {"node": "node-2", "healthy": True, "availableBytes": 50 << 30},
        ]
        self.cluster.set_status(resources.POOLS, "default", "", {"nodes": nodes})

    def apply(self, **spec: object) -> None:
        body = {"metadata": {"name": "data", "namespace": "apps"}, "spec": {"size": "10Gi"} | spec}
        self.cluster.create(resources.VOLUME_CLAIMS, body)

    def settle(self) -> dict[str, str]:
        for _ in range(3):
            self.claims.reconcile(KEY)
        return self.ready()

    def ready(self) -> dict[str, str]:
        obj = self.cluster.must_get(resources.VOLUME_CLAIMS, "data", "apps")
        return statuses.condition(obj, "Ready")

    def pvc(self) -> cluster.Object:
        return self.cluster.must_get(cluster.CLAIMS, "data", "apps")

    def bind(self, size: str = "10Gi") -> None:
        handle = ids.volume_id_for("pvc-1")
        expression = {"key": keys.TOPOLOGY_NODE, "operator": "In", "values": ["node-1"]}
        if self.cluster.get(cluster.PERSISTENT_VOLUMES, "pv-1") is None:
            body = {
                "metadata": {"name": "pv-1"},
                "spec": {
                    "claimRef": {
                        "namespace": "apps",
                        "name": "data",
                        "uid": self.pvc()["metadata"]["uid"],
                    },
                    "csi": {"driver": keys.DRIVER, "volumeHandle": handle},
                    "nodeAffinity": {
                        "required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
                    },
                },
            }
            self.cluster.create(cluster.PERSISTENT_VOLUMES, body)
        self.cluster.patch(cluster.CLAIMS, "data", {"spec": {"volumeName": "pv-1"}}, "apps")
        status = {"phase": "Bound", "capacity": {"storage": size}}
        self.cluster.set_status(cluster.CLAIMS, "data", "apps", status)

    def use(self, node: str) -> None:
        """Runs a pod with the claim, which Kubernetes then protects."""
        finalizers = ["kubernetes.io/pvc-protection"]
        notes = {keys.STORAGE_PROVISIONER: keys.DRIVER}
        change = {"metadata": {"finalizers": finalizers, "annotations": notes}}
        self.cluster.patch(cluster.CLAIMS, "data", change, "apps")
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        spec = {"nodeName": node, "volumes": [volume]}
        pod = {"metadata": {"name": "db-0", "namespace": "apps"}, "spec": spec}
        self.cluster.create(cluster.PODS, pod)

    def frozen(self, *, waits: bool) -> None:
        """The node reports that the volume stands still, or that it is in order."""
        entry = {"node": "node-1", "healthy": True, "waitingVolumes": int(waits)}
        self.cluster.set_status(resources.POOLS, "default", "", {"nodes": [entry]})
        spec = volumes.VolumeSpec(
            ids.volume_id_for("pvc-1"), "pvc-1", ids.PoolName("default"), 10 << 30
        )
        record = volumes.VolumeRecord(spec, volumes.VolumeState.READY, True, CREATED_AT)
        message = "pool default is full: delete snapshots" if waits else "healthy"
        condition = volumes.VolumeCondition(waits, message, waits)
        status = volumes.VolumeStatus(record, 0, published=True, condition=condition)
        KubernetesCatalogue(self.cluster).report(ids.NodeName("node-1"), NodeReport([status]))

    def told(self, kind: str) -> list[tuple[str, str]]:
        """Type and reason of the Events about the objects of a kind."""
        found = self.cluster.find(cluster.EVENTS)
        return [(e["type"], e["reason"]) for e in found if e["involvedObject"]["kind"] == kind]

    def silence(self, node: str) -> None:
        """Kubernetes hears nothing of a node any more."""
        self._set_ready(node, "Unknown")

    def awake(self, node: str) -> None:
        """Kubernetes hears of a node again."""
        self._set_ready(node, "True")

    def _set_ready(self, node: str, status: str) -> None:
        conditions = [{"type": "Ready", "status": status}]
        self.cluster.set_status(cluster.NODES, node, "", {"conditions": conditions})
        self.clock.advance(5)
