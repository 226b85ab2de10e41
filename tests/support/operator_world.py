"""The operator's reconcilers in a cluster in memory, with somebody who plays Kubernetes' part.

`step` looks at everything once; `play` binds volumes and runs Jobs as controllers and kubelets do.
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any, Self

from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.api import keys
from mooring.domain import errors, ids, volumes
from mooring.planning import listed_backups
from mooring.ports import cluster
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet.fleet import Fleet
from mooring_operator import compose, resources, statuses
from mooring_operator.backup_repositories import KIND as REPOSITORY
from mooring_operator.backup_schedules import KIND as SCHEDULE
from mooring_operator.backups import KIND as BACKUP
from mooring_operator.claims_to_fill import KIND as CLAIM_TO_FILL
from mooring_operator.metrics import ClaimGauges
from mooring_operator.restores import KIND as RESTORE
from mooring_operator.settings import OperatorSettings
from mooring_operator.surroundings import Surroundings
from mooring_operator.volume_claims import KIND as VOLUME_CLAIM
from mooring_operator.work_queue import Key
from support.fake_cluster import FakeCluster
from support.fake_nodes import FakeNode, FakeNodes
from support.set_clock import SetClock

GIB = 1 << 30
NAMESPACE = "shop"
RECOVERY_KEY = "mooring-recovery-" + "a" * 58
_RESOURCES = {
    VOLUME_CLAIM: resources.VOLUME_CLAIMS,
    REPOSITORY: resources.BACKUP_REPOSITORIES,
    BACKUP: resources.BACKUPS,
    SCHEDULE: resources.BACKUP_SCHEDULES,
    RESTORE: resources.RESTORES,
}
_PROTECTION = "kubernetes.io/pvc-protection"
_FOLDERS = """
folders:
  - {name: backups, path: /srv/backups, namespaces: ["*"]}
  - {name: private, path: /srv/private, namespaces: [bank]}
"""


class OperatorWorld:
    """Two nodes, a StorageClass, a folder for backups, and the operator."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.clock = SetClock()
        self.cluster.now = lambda: statuses.timestamp(self.clock.now())
        self.nodes = [FakeNode("node-1", pool="default"), FakeNode("node-2", pool="default")]
        for node in self.nodes:
            node.now = self.clock.now
        fleet_nodes = FakeNodes(*self.nodes)
        self.catalogue = KubernetesCatalogue(self.cluster)
        self.fleet = fleet = Fleet(self.catalogue, fleet_nodes, ThreadLocks())
        world = Surroundings(fleet_nodes, fleet, self.catalogue, self.clock)
        settings = OperatorSettings(image="mooring:test")
        self.gauges = ClaimGauges()
        self.reconcilers = compose.reconcilers(settings, self.cluster, world, self.gauges)
        self.mover_answers: dict[str, dict[str, Any]] = {
            "probe": {"repositoryId": "r" * 32, "recoverySlots": ["x25519:" + "ab" * 8]},
            "backup": {"bytesTotal": GIB, "bytesRead": GIB, "bytesSent": 5, "bytesStored": 3},
            "restore": {"bytesTotal": GIB, "bytesRead": 9, "bytesWritten": 8},
            "forget": {},
        }
        self.held: list[dict[str, Any]] = []
        self.page_size = 100
        self.failing: dict[str, dict[str, str]] = {}
        self.paused: set[str] = set()
        self.ended: list[str] = []
        self.others: list[Callable[[], None]] = []  # further controllers, for tests that have them
        self._prepare()

    @classmethod
    def with_volume(cls, repository_id: str) -> Self:
        """Returns one that has settled with a volume, and with a repository of that id."""
        world = cls()
        world.mover_answers["backup"]["repositoryId"] = repository_id
        world.make_repository()
        world.make_volume()
        world.settle(6)
        return world

    def _prepare(self) -> None:
        storage_class = {
            "metadata": {"name": "mooring"},
            "provisioner": keys.DRIVER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
            "reclaimPolicy": "Delete",
            "mountOptions": ["noatime"],
            "parameters": {"pool": "default", "csi.storage.k8s.io/fstype": "ext4"},
        }
        self.cluster.create(cluster.STORAGE_CLASSES, storage_class)
        config = {
            "metadata": {"name": keys.CONFIG_MAP, "namespace": keys.NAMESPACE},
            "data": {keys.CONFIG_FOLDERS_KEY: _FOLDERS},
        }
        self.cluster.create(cluster.CONFIG_MAPS, config)
        entries = []
        for node in self.nodes:
            taint = {"key": "role", "value": "db", "effect": "NoSchedule"}
            body = {
                "metadata": {"name": node.name, "labels": {"kubernetes.io/os": "linux"}},
                "spec": {"taints": [taint]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            self.cluster.create(cluster.NODES, body)
            room = {"availableBytes": 100 * GIB, "healthy": True}
            entries.append({"node": node.name, **room})
        self.cluster.create(resources.POOLS, {"metadata": {"name": "default"}})
        self.cluster.set_status(resources.POOLS, "default", "", {"nodes": entries})

    # What users do.

    def apply(self, resource: cluster.Resource, name: str, spec: dict[str, Any]) -> cluster.Object:
        metadata = {"name": name, "namespace": NAMESPACE}
        return self.cluster.create(resource, {"metadata": metadata, "spec": spec})

    def make_repository(self, name: str = "main", folder: str = "backups") -> None:
        encryption = {"keySecretName": "key", "recoveryKeys": [RECOVERY_KEY]}
        spec = {"directory": {"folder": folder}, "encryption": encryption}
        self.apply(resources.BACKUP_REPOSITORIES, name, spec)

    def make_volume(self, name: str = "data", node: int = 0, size_bytes: int = GIB) -> None:
        """Makes a claim with a volume of Mooring's, as the CSI driver would have."""
        request = {"requests": {"storage": str(size_bytes)}}
        spec = {"storageClassName": "mooring", "resources": request, "accessModes": ["X"]}
        claim = self.apply(cluster.CLAIMS, name, spec)
        csi_name = f"pvc-{claim['metadata']['uid']}"
        volume = volumes.VolumeSpec(
            ids.volume_id_for(csi_name),
            csi_name,
            ids.PoolName("default"),
            size_bytes,
            labels={"namespace": NAMESPACE, "claim": name},
        )
        self.catalogue.reserve(volume, self.nodes[node].name)
        self.nodes[node].create_volume(volume)
        body = {
            "metadata": {"name": csi_name},
            "spec": {
                "csi": {"driver": keys.DRIVER, "volumeHandle": volume.volume_id},
                "claimRef": {"uid": claim["metadata"]["uid"]},
                "capacity": {"storage": str(size_bytes)},
            },
        }
        expression = {"key": keys.TOPOLOGY_NODE, "values": [self.nodes[node].name]}
        terms = [{"matchExpressions": [expression]}]
        body["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
        self.cluster.create(cluster.PERSISTENT_VOLUMES, body)
        self.play()

    def make_backup(self, name: str = "one", claim: str = "data", **more: Any) -> None:
        spec = {"source": {"persistentVolumeClaimName": claim}, "repositoryName": "main"}
        self.apply(resources.BACKUPS, name, {**spec, **more})

    def make_schedule(self, name: str = "nightly", **more: Any) -> cluster.Object:
        spec = {"schedule": "0 3 * * *", "claims": {"all": True}, "repositoryName": "main"}
        return self.apply(resources.BACKUP_SCHEDULES, name, {**spec, **more})

    def make_restore(self, name: str = "back", claim: str = "restored", **more: Any) -> None:
        spec = {"backupName": "one", "target": {"claimName": claim}}
        self.apply(resources.RESTORES, name, {**spec, **more})

    def make_claim_of(self, kind: str, source: str, name: str, size_bytes: int = GIB) -> None:
        """Makes a claim that names a Backup or Restore as what it is to be filled from."""
        spec = {
            "storageClassName": "mooring",
            "dataSourceRef": {"apiGroup": keys.GROUP, "kind": kind, "name": source},
            "resources": {"requests": {"storage": str(size_bytes)}},
            "accessModes": ["ReadWriteOnce"],
        }
        self.apply(cluster.CLAIMS, name, spec)

    def pick_node(self, claim: str, node: str) -> None:
        """Says which node the scheduler has picked for a claim."""
        note = {"metadata": {"annotations": {keys.SELECTED_NODE: node}}}
        self.cluster.patch(cluster.CLAIMS, claim, note, NAMESPACE)

    def set_ready(self, node: str, *, ready: bool) -> None:
        """Has a node's kubelet report, or fall silent."""
        condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
        self.cluster.set_status(cluster.NODES, node, "", {"conditions": [condition]})

    def succeeded(self, resource: cluster.Resource, name: str) -> dict[str, Any]:
        obj = self.cluster.must_get(resource, name, NAMESPACE)
        return statuses.condition(obj, "Succeeded")

    def status(self, resource: cluster.Resource, name: str) -> dict[str, Any]:
        found = self.cluster.must_get(resource, name, NAMESPACE).get("status", {})
        assert isinstance(found, dict)
        return found

    # What the operator does.

    def keys(self) -> list[Key]:
        found = [
            Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for kind, resource in _RESOURCES.items()
            for obj in self.cluster.find(resource)
        ]
        for claim in self.cluster.find(cluster.CLAIMS):
            metadata = claim["metadata"]
            found.append(Key(CLAIM_TO_FILL, metadata["namespace"], metadata["name"]))
        return found

    def step(self) -> None:
        """Looks at every object once."""
        for key in self.keys():
            self.reconcilers[key.kind](key)

    def settle(self, rounds: int = 25) -> None:
        """Lets operator and cluster take turns until things are as they stay."""
        for _ in range(rounds):
            self.step()
            self.play()
            self.clock.advance(1)

    # What controllers and kubelets do.

    def cut_short(self, key: Key, calls: int) -> None:
        """Reconciles once with an API that fails for good after so many calls, as a kill does."""
        left = [calls]

        def killed(_: str) -> errors.MooringError | None:
            left[0] -= 1
            return errors.Unreachable("killed here") if left[0] < 0 else None

        self.cluster.fail = killed
        with contextlib.suppress(errors.Unreachable):
            self.reconcilers[key.kind](key)
        self.cluster.fail = lambda _: None

    def backup_id(self, name: str) -> str:
        """Returns the name of a Backup in its repository."""
        return str(self.status(resources.BACKUPS, name)["backupId"])

    def play(self) -> None:
        for other in self.others:
            other()
        self._bind()
        self._run_jobs()
        self._protect_claims()

    def _protect_claims(self) -> None:
        """A claim is held as long as a pod names it, also one that has ended."""
        used = {
            (pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
            for pod in self.cluster.find(cluster.PODS)
            for volume in pod["spec"].get("volumes", [])
            if "persistentVolumeClaim" in volume
        }
        for claim in self.cluster.find(cluster.CLAIMS):
            metadata = claim["metadata"]
            others = [f for f in metadata.get("finalizers", []) if f != _PROTECTION]
            key = (metadata["namespace"], metadata["name"])
            protected = "deletionTimestamp" not in metadata or key in used
            wanted = [*others, _PROTECTION] if protected else others
            if wanted != metadata.get("finalizers", []):
                change = {"metadata": {"finalizers": wanted}}
                self.cluster.patch(cluster.CLAIMS, key[1], change, key[0])

    def _bind(self) -> None:
        claims = {c["metadata"]["uid"]: c for c in self.cluster.find(cluster.CLAIMS)}
        for volume in self.cluster.find(cluster.PERSISTENT_VOLUMES):
            claim = claims.get(volume["spec"]["claimRef"]["uid"])
            if claim is None or claim.get("status", {}).get("phase") == "Bound":
                continue
            name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
            change = {"spec": {"volumeName": volume["metadata"]["name"]}}
            self.cluster.patch(cluster.CLAIMS, name, change, namespace)
            status = {"phase": "Bound", "capacity": volume["spec"]["capacity"]}
            self.cluster.set_status(cluster.CLAIMS, name, namespace, status)

    def _run_jobs(self) -> None:
        jobs = {job["metadata"]["uid"]: job for job in self.cluster.find(cluster.JOBS)}
        for pod in self.cluster.find(cluster.PODS):
            if pod["metadata"]["annotations"]["job"] not in jobs:
                metadata = pod["metadata"]
                self.cluster.delete(cluster.PODS, metadata["name"], metadata["namespace"])
        for job in jobs.values():
            if not job.get("status"):
                self._start(job)
            elif not self._is_supplied(job):
                continue
            elif job["status"].get("active") and self._role(job) not in self.paused:
                self._end(job)

    def _is_supplied(self, job: cluster.Object) -> bool:
        """Whether all claims of a mover are bound."""
        namespace = job["metadata"]["namespace"]
        names = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in job["spec"]["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        found = [self.cluster.get(cluster.CLAIMS, name, namespace) or {} for name in names]
        return all(claim.get("status", {}).get("phase") == "Bound" for claim in found)

    def _role(self, job: cluster.Object) -> str:
        return str(job["metadata"]["labels"][keys.ROLE])

    def _start(self, job: cluster.Object) -> None:
        metadata = job["metadata"]
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-x",
                "namespace": metadata["namespace"],
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "annotations": {"job": metadata["uid"]},
            },
            "spec": job["spec"]["template"]["spec"],
            "status": {"phase": "Running" if self._is_supplied(job) else "Pending"},
        }
        self.cluster.create(cluster.PODS, pod)
        line = {"event": "progress", "bytesTotal": GIB, "bytesRead": GIB // 2, "percent": 50.0}
        log = json.dumps(line)
        if self._role(job) == keys.ROLE_LIST:
            log = self._list(json.loads(self._told(metadata)))
        self.cluster.set_log(pod["metadata"]["name"], metadata["namespace"], log)
        self._set(job, {"active": 1})

    def _told(self, metadata: cluster.Object) -> str:
        name, namespace = metadata["name"], metadata["namespace"]
        found = self.cluster.must_get(cluster.CONFIG_MAPS, name, namespace)
        return str(found["data"]["spec.json"])

    def _list(self, spec: dict[str, Any]) -> str:
        """Plays `mooring mover list` over what is held."""
        rest = [entry for entry in self.held if entry["backupId"] > (spec["after"] or "")]
        page = rest[: self.page_size]
        self.mover_answers["list"] = {
            "listed": len(page),
            "skipped": 0,
            "digest": listed_backups.digest(page),
            "nextAfter": page[-1]["backupId"] if len(rest) > len(page) else None,
        }
        lines = [{"event": listed_backups.EVENT, "entry": entry} for entry in page]
        return "\n".join(map(json.dumps, lines))

    def _end(self, job: cluster.Object) -> None:
        role, metadata = self._role(job), job["metadata"]
        self.ended.append(role)
        failure = self.failing.get(role)
        message = failure or self.mover_answers[role]
        terminated = {"message": json.dumps(message), "exitCode": 1 if failure else 0}
        container = {"name": "mover", "state": {"terminated": terminated}}
        status = {
            "phase": "Failed" if failure else "Succeeded",
            "containerStatuses": [container],
        }
        self.cluster.set_status(cluster.PODS, f"{metadata['name']}-x", NAMESPACE, status)
        name = "Failed" if failure else "Complete"
        done = {"active": 0, "conditions": [{"type": name, "status": "True"}]}
        self._set(job, done | ({"failed": 7} if failure else {"succeeded": 1}))

    def _set(self, job: cluster.Object, status: cluster.Object) -> None:
        metadata = job["metadata"]
        self.cluster.set_status(cluster.JOBS, metadata["name"], metadata["namespace"], status)
