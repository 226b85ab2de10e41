"""Where the operator picks its adapters; nothing else here imports them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import kopf

from mooring.adapters.host import pod_lock
from mooring.adapters.host.clock import SystemClock
from mooring.adapters.kubernetes import agent_addresses, authority, client, token_review
from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.agent import authorization, certificates, renewal, signer
from mooring.agent import client as agent_client
from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster
from mooring.runtime.locks import ThreadLocks
from mooring.runtime.metrics import MetricsServer
from mooring.volumes.fleet.fleet import Fleet
from mooring_operator import (
    backup_repositories,
    backup_schedules,
    backups,
    claims_to_fill,
    fencing,
    fleet_surveys,
    held_claims,
    lost_nodes,
    protection_rounds,
    relocations,
    restores,
    resync,
    volume_claims,
    waiting_claims,
    watching,
)
from mooring_operator.builders import jobs
from mooring_operator.leadership import Holder, Leadership
from mooring_operator.metrics import ClaimGauges
from mooring_operator.mover_jobs import MoverJobs
from mooring_operator.node_states import NodeStates
from mooring_operator.populator import Populator
from mooring_operator.recorder import Recorder
from mooring_operator.repository_access import RepositoryAccess
from mooring_operator.settings import OperatorSettings
from mooring_operator.surroundings import Surroundings
from mooring_operator.work_queue import WorkQueue
from mooring_operator.workers import Reconcile, Workers

_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Operator:
    """The parts of the process, wired but not started."""

    queue: WorkQueue
    workers: Workers
    leadership: Leadership
    registry: kopf.OperatorRegistry
    identity: "IdentityService"
    metrics: MetricsServer | None


class IdentityService:
    """The authority, the operator's own certificate, and the signer that serves others."""

    def __init__(self, objects: cluster.ClusterObjects, namespace: str, address: str) -> None:
        self._objects = objects
        self._namespace = namespace
        self._address = address
        self._clock = SystemClock()
        self.current = renewal.CurrentCertificate(self._issue, self._clock)
        self._authority: certificates.CertificateAuthority | None = None

    def _issue(self) -> certificates.Certificate:
        """Loads or makes the authority, publishes its certificate, and signs for ourselves."""
        if self._authority is None:
            store = authority.SecretAuthorityStore(self._objects, self._namespace)
            self._authority = certificates.CertificateAuthority.load_or_create(
                store, self._clock.now()
            )
        authority.publish(self._objects, self._authority.certificate_pem, self._namespace)
        own = authorization.Identity(authorization.Role.OPERATOR)
        return self._authority.issue(own, self._clock.now())

    def serve(self) -> Callable[[], None]:
        """Serves the signer; call it once there is a certificate. Returns what stops it."""
        if self._authority is None:
            raise errors.PreconditionFailed("there is no authority before the first certificate")
        prefix = f"system:serviceaccount:{self._namespace}:"
        accounts = {
            f"{prefix}{keys.NODE_SERVICE_ACCOUNT}": authorization.Role.NODE,
            f"{prefix}{keys.CONTROLLER_SERVICE_ACCOUNT}": authorization.Role.CONTROLLER,
        }
        service = signer.Signer(
            self._authority,
            token_review.KubernetesTokenReviewer(self._objects),
            accounts,
            self._clock,
        )
        serving, _ = signer.serve(self._address, self.current, service)

        def stop() -> None:
            serving.stop(_GRACE_SECONDS).wait(_GRACE_SECONDS)

        return stop


def connect(settings: OperatorSettings) -> cluster.ClusterObjects:
    """Connects to the API server."""
    kubeconfig = None if settings.kubeconfig is None else str(settings.kubeconfig)
    return client.connect(kubeconfig)


def with_image(settings: OperatorSettings, objects: cluster.ClusterObjects) -> OperatorSettings:
    """Fills in the movers' image: the one of this pod, so that an update changes both at once.

    Raises:
        PreconditionFailed: There is no such pod, and none was set.
    """
    if settings.image:
        return settings
    pod = objects.get(cluster.PODS, settings.pod_name, settings.namespace)
    containers = (pod or {}).get("spec", {}).get("containers", [])
    if not containers:
        raise errors.PreconditionFailed(
            f"there is no pod {settings.pod_name} in {settings.namespace}; set MOORING_IMAGE to "
            "the image that movers shall run"
        )
    return settings.model_copy(update={"image": str(containers[0]["image"])})


def holder(settings: OperatorSettings) -> Holder:
    """Names this process; after its predecessors in the same pod, if they are surely dead.

    Raises:
        HostFailure: The pod's folder cannot be used.
    """
    own = str(uuid.uuid4())
    if settings.pod_folder is None or not settings.pod_uid:
        return Holder(f"{settings.pod_name}/{own}")
    try:
        alone = pod_lock.take(settings.pod_folder)
    except OSError as error:
        raise errors.HostFailure(f"cannot lock {settings.pod_folder}: {error}") from error
    pod = f"{settings.pod_name}/{settings.pod_uid}/"
    return Holder(f"{pod}{own}", dead=pod) if alone else Holder(f"{settings.pod_name}/{own}")


def build(settings: OperatorSettings, objects: cluster.ClusterObjects, holder: Holder) -> Operator:
    """Wires the operator."""
    identity = IdentityService(objects, settings.namespace, settings.signer_address)
    connections = agent_client.AgentConnections(identity.current)
    addresses = agent_addresses.AgentAddresses(objects, settings.namespace)
    leadership = Leadership(objects, holder, settings.namespace)
    fenced = fencing.FencedObjects(objects, leadership.may_act)
    nodes = fencing.FencedNodes(
        agent_client.RemoteNodes(addresses, connections), leadership.may_act
    )
    catalogue = KubernetesCatalogue(fenced)
    fleet = Fleet(catalogue, nodes, ThreadLocks())
    world = Surroundings(nodes, fleet, catalogue, SystemClock())
    queue = WorkQueue()
    gauges = ClaimGauges()
    found = reconcilers(settings, fenced, world, gauges)
    found[resync.KIND] = resync.Resync(fenced, queue).reconcile
    workers = Workers(queue, found, leadership.may_act, settings.workers)
    serving = metrics(settings, gauges)
    return Operator(queue, workers, leadership, watching.registry(queue), identity, serving)


def metrics(settings: OperatorSettings, gauges: ClaimGauges) -> MetricsServer | None:
    """Wires the server of metrics, if the settings want one."""
    listen = settings.metrics_listen
    return MetricsServer(listen, [gauges.unprotected, gauges.suspect]) if listen else None


def reconcilers(
    settings: OperatorSettings,
    objects: cluster.ClusterObjects,
    world: Surroundings,
    gauges: ClaimGauges,
) -> dict[str, Reconcile]:
    """Wires the reconciler of each kind."""
    recorder = Recorder(objects, world.time)
    movers = MoverJobs(
        objects,
        jobs.MoverSettings(
            image=settings.image,
            pull_policy=settings.image_pull_policy,
            permanent_exit_codes=settings.permanent_exit_codes,
            device_groups=settings.device_group_ids,
        ),
    )
    access = RepositoryAccess(objects, settings.namespace)
    populator = Populator(objects, recorder, movers, access, world)
    nodes = NodeStates(objects, world.time)
    return {
        volume_claims.KIND: volume_claims.VolumeClaims(
            objects, recorder, world.time, nodes
        ).reconcile,
        held_claims.KIND: held_claims.HeldClaims(objects, recorder, nodes).reconcile,
        backups.KIND: backups.Backups(objects, recorder, movers, access, world).reconcile,
        backup_repositories.KIND: backup_repositories.BackupRepositories(
            objects, recorder, movers, access, world.time
        ).reconcile,
        backup_schedules.KIND: backup_schedules.BackupSchedules(
            objects, recorder, world.time
        ).reconcile,
        restores.KIND: restores.Restores(objects, recorder, populator, world.time).reconcile,
        claims_to_fill.KIND: claims_to_fill.ClaimsToFill(objects, recorder, populator).reconcile,
        **_rounds(settings, objects, recorder, world, gauges),
    }


def _rounds(
    settings: OperatorSettings,
    objects: cluster.ClusterObjects,
    recorder: Recorder,
    world: Surroundings,
    gauges: ClaimGauges,
) -> dict[str, Reconcile]:
    """Wires what looks at everything now and then."""
    return {
        lost_nodes.KIND: lost_nodes.LostNodes(
            objects, recorder, world, timedelta(seconds=settings.lost_after_seconds)
        ).reconcile,
        fleet_surveys.KIND: fleet_surveys.FleetSurveys(objects, recorder, world).reconcile,
        relocations.KIND: relocations.Relocations(objects).reconcile,
        waiting_claims.KIND: waiting_claims.WaitingClaims(objects, recorder).reconcile,
        protection_rounds.KIND: protection_rounds.ProtectionRounds(
            objects, recorder, world.time, gauges
        ).reconcile,
    }
