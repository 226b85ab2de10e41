"""Where the CSI driver picks its adapters; nothing else here imports them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc
import structlog
import yaml

import mooring
from mooring.adapters import registry
from mooring.adapters.catalogue.directory import DirectoryCatalogue
from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.adapters.host.change_lists import ChangeLists
from mooring.adapters.host.repository_folders import RepositoryFolders
from mooring.adapters.kubernetes import agent_addresses, authority, client
from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.agent import (
    authority_folder,
    authorization,
    metrics,
    pool_sightings,
    renewal,
    reporting,
    signer,
    upkeep,
)
from mooring.agent import client as agent_client
from mooring.agent import service as agent_service
from mooring.api import keys
from mooring.domain import errors, ids
from mooring.planning import repository_plan
from mooring.ports import catalogue as catalogue_port
from mooring.ports import cluster
from mooring.ports import nodes as nodes_port
from mooring.ports import pools as pool_ports
from mooring.runtime.locks import ThreadLocks
from mooring.runtime.metrics import MetricsServer
from mooring.runtime.settings import AgentSettings
from mooring.volumes.fleet import claim_placements
from mooring.volumes.fleet.fleet import Fleet
from mooring.volumes.local.node import LocalNode
from mooring.volumes.local.outgoing import Transfers
from mooring_csi import (
    agent_serving,
    controller,
    identity,
    interceptors,
    registration,
    server,
    snapshot_metadata,
)
from mooring_csi import node as node_service
from mooring_csi._generated import csi_pb2_grpc

_log = structlog.get_logger("csi")
_GRACE_SECONDS = 25.0


class Part(Protocol):
    """Something that runs beside the calls."""

    def start(self) -> None:
        """Begins."""

    def stop(self) -> None:
        """Ends."""


@dataclass
class Process:
    """A process that is wired but not started: one CSI socket and what runs beside it.

    Attributes:
        serving: The CSI server.
        parts: Started after the server, in order; stopped before it, in reverse.
    """

    serving: server.SocketServer
    parts: list[Part] = field(default_factory=list)

    def start(self) -> None:
        """Serves."""
        self.serving.start()
        for part in self.parts:
            part.start()

    def stop(self) -> None:
        """Stops what runs beside, then the calls, giving those under way time to end."""
        for part in reversed(self.parts):
            part.stop()
        self.serving.stop(_GRACE_SECONDS)


@dataclass(frozen=True)
class NodeOptions:
    """What a node plugin is told on its command line.

    Attributes:
        settings: The node's pools.
        csi_socket: Where the kubelet's calls arrive.
        folders_file: The administrator's list of folders; may be absent.
        registration_folder: The kubelet's plugins_registry; None registers nowhere.
        kubelet_socket: The CSI socket as the kubelet sees it.
        agent_listen: `host:port` of the agent's own server; None serves no agent.
        metrics_listen: `host:port` of the metrics; None serves none.
    """

    settings: AgentSettings
    csi_socket: Path
    folders_file: Path | None = None
    registration_folder: Path | None = None
    kubelet_socket: str = ""
    agent_listen: str | None = None
    metrics_listen: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a process finds around it.

    Attributes:
        catalogue: Volumes of the fleet.
        certificate: What it proves itself with.
        node_exists: Whether there is a node of some name; without a cluster nobody knows.
        placements: Where claims ask to be; None without a cluster.
    """

    catalogue: catalogue_port.Catalogue
    certificate: renewal.CurrentCertificate
    node_exists: pool_sightings.NodeExists = lambda _: True
    placements: claim_placements.ClaimPlacements | None = None


def without_cluster(
    role: authorization.Identity, tls_folder: Path, catalogue_folder: Path
) -> Surroundings:
    """Finds catalogue and certificate authority in folders of this machine."""
    current = authority_folder.current_certificate(tls_folder, role, registry.system_clock())
    return Surroundings(DirectoryCatalogue(catalogue_folder), current)


def in_cluster(
    objects: cluster.ClusterObjects, namespace: str, signer_address: str, token_file: Path
) -> Surroundings:
    """Finds the catalogue in Volume objects, and gets certificates from the operator."""
    obtain = signer.obtain_from_operator(
        signer_address, token_file, lambda: authority.published(objects, namespace)
    )
    current = renewal.CurrentCertificate(obtain, registry.system_clock())

    def node_exists(node: ids.NodeName) -> bool:
        return objects.get(cluster.NODES, node) is not None

    placements = claim_placements.ClaimPlacements(objects)
    return Surroundings(KubernetesCatalogue(objects), current, node_exists, placements)


def connect(kubeconfig: str | None = None) -> cluster.ClusterObjects:
    """Connects to the API server, from within a pod or by a kubeconfig."""
    return client.connect(kubeconfig)


def cluster_agents(objects: cluster.ClusterObjects, namespace: str) -> agent_client.Addresses:
    """Returns what knows the present address of each node's agent."""
    return agent_addresses.AgentAddresses(objects, namespace)


def build_controller(
    csi_socket: Path, found: Surroundings, addresses: agent_client.Addresses
) -> Process:
    """Wires the controller: the fleet over node agents."""
    connections = agent_client.AgentConnections(found.certificate)
    nodes = agent_client.RemoteNodes(addresses, connections)
    fleet = Fleet(found.catalogue, nodes, ThreadLocks(), found.placements)
    # The sidecars wait for this: without a certificate every node would seem to be away.
    serving = _csi_server(
        csi_socket, [_controller_part(fleet)], lambda: found.certificate.present is not None
    )
    return Process(serving, [found.certificate, _Closing(connections)])


def build_node(
    options: NodeOptions, found: Surroundings, addresses: agent_client.Addresses
) -> Process:
    """Wires a node plugin with its agent, which copies from the others."""
    connections = agent_client.AgentConnections(found.certificate)
    nodes = agent_client.RemoteNodes(addresses, connections)
    sightings = pool_sightings.PeerPools(options.settings.node, nodes, found.node_exists)
    node = _open_node(options.settings, sightings, agent_client.PeerSnapshots(nodes))
    reporter = reporting.Reporter(found.catalogue, node.name, node)
    serving = _csi_server(options.csi_socket, [_node_part(node, options, reporter.changed)])
    works = _upkeep(node, options.settings, reporter)
    process = Process(serving, [found.certificate, reporter, _Closing(connections), *works])
    if options.registration_folder is not None:
        endpoint = options.kubelet_socket or str(options.csi_socket)
        process.parts.append(registration.Registrar(options.registration_folder, endpoint))
    if options.metrics_listen is not None:
        process.parts.append(MetricsServer(options.metrics_listen, [metrics.PoolMetrics(node)]))
    if options.agent_listen is not None:
        storage = reporting.ReportingStorage(node, reporter)
        process.parts.append(
            agent_serving.AgentServer(
                agent_service.NodeAgent(node.name, storage, node.outgoing.read),
                options.agent_listen,
                found.certificate,
                reporter,
            )
        )
    return process


def build_standalone(options: NodeOptions) -> Process:
    """Wires controller and node in one process on one socket, for one node without a cluster."""
    node = _open_node(options.settings, pool_sightings.NoPeers())
    catalogue = MemoryCatalogue()
    reporter = reporting.Reporter(catalogue, node.name, node)
    reporter.run_once()
    storage = reporting.ReportingStorage(node, reporter)
    fleet = Fleet(catalogue, OneNode(node.name, storage), ThreadLocks())
    serving = _csi_server(
        options.csi_socket,
        [_controller_part(fleet), _node_part(node, options, reporter.changed)],
    )
    return Process(serving, [reporter, *_upkeep(node, options.settings, reporter)])


class OneNode:
    """`ports.nodes.Nodes` of the one node that this process is."""

    def __init__(self, name: ids.NodeName, storage: nodes_port.NodeStorageAndSnapshots) -> None:
        self._name = name
        self._storage = storage

    def names(self) -> Sequence[ids.NodeName]:
        """Returns the one name."""
        return [self._name]

    def storage(self, node: ids.NodeName) -> nodes_port.NodeStorageAndSnapshots:
        """Returns this node's storage."""
        if node != self._name:
            raise errors.NotFound(f"this process is node {self._name}, there is no node {node}")
        return self._storage


class _Closing:
    """Closes connections at the end."""

    def __init__(self, connections: agent_client.AgentConnections) -> None:
        self._connections = connections

    def start(self) -> None:
        """Nothing: connections are made when they are used."""

    def stop(self) -> None:
        """Closes them."""
        self._connections.close()


def static_agents(pairs: Mapping[ids.NodeName, str]) -> agent_client.Addresses:
    """Returns agents at fixed addresses."""
    return lambda: pairs


def _open_node(
    settings: AgentSettings,
    sightings: pool_ports.PoolSightings,
    peers: agent_client.PeerSnapshots | None = None,
) -> LocalNode:
    told = [str(pool_uuid) for pool_uuid in settings.adopt_pools]
    wishes = registry.Wishes(
        registry.Ownership(settings.node, sightings, told),
        frozenset(str(pool_uuid) for pool_uuid in settings.forget_pools),
    )
    parts = registry.open_node_parts(settings.pool_configurations(), settings.state_folder, wishes)
    for failed in parts.failed_pools:
        _log.error("a pool could not be opened", pool=failed.name, message=failed.message)
    transfers = Transfers(peers, settings.transfer_rate)
    node = LocalNode(settings.node, parts, ThreadLocks(), registry.system_clock(), transfers)
    for note in node.recover():
        _log.info("recovered", note=note)
    # The guard thawed what stood still for want of room: it stops again before anything is served.
    for note in node.space_watch.check():
        _log.warning("space-watch", note=note)
    return node


def _upkeep(
    node: LocalNode, settings: AgentSettings, reporter: reporting.Reporter
) -> list[upkeep.Upkeep]:
    works = [
        upkeep.pool_watch(node, reporter.changed),
        upkeep.space(node),
        upkeep.space_watch(node, reporter.changed),
        upkeep.forgotten(node, reporter.changed),
    ]
    policy = settings.defragmentation.policy()
    return works if policy is None else [*works, upkeep.defragmentation(node, policy)]


def _csi_server(
    socket: Path, register: Sequence[server.Register], ready: Callable[[], bool] = lambda: True
) -> server.SocketServer:
    who = identity.Identity(mooring.__version__, ready)

    def add_identity(target: grpc.Server) -> None:
        csi_pb2_grpc.add_IdentityServicer_to_server(  # type: ignore[no-untyped-call]
            who, target
        )

    return server.SocketServer(socket, [add_identity, *register], [interceptors.call_interceptor()])


def _controller_part(fleet: Fleet) -> server.Register:
    def add(target: grpc.Server) -> None:
        csi_pb2_grpc.add_ControllerServicer_to_server(  # type: ignore[no-untyped-call]
            controller.Controller(fleet), target
        )
        csi_pb2_grpc.add_SnapshotMetadataServicer_to_server(  # type: ignore[no-untyped-call]
            snapshot_metadata.SnapshotMetadata(fleet), target
        )

    return add


def _node_part(
    node: LocalNode, options: NodeOptions, changed: node_service.Changed
) -> server.Register:
    folders = RepositoryFolders(
        registry.kernel_host(), lambda: _folder_entries(options.folders_file), keys.MOVER_GROUP_ID
    )
    mounts = node_service.FolderMounts(folders.publish, folders.unpublish)
    lists = ChangeLists(registry.kernel_host().paths, node.changes.since_base)
    published = node_service.ChangeLists(lists.publish, lists.unpublish)

    def add(target: grpc.Server) -> None:
        csi_pb2_grpc.add_NodeServicer_to_server(  # type: ignore[no-untyped-call]
            node_service.Node(node, mounts, published, changed), target
        )

    return add


def _folder_entries(path: Path | None) -> tuple[repository_plan.FolderEntry, ...]:
    """Reads the administrator's list anew each time, since a mounted ConfigMap changes."""
    if path is None or not path.exists():
        return ()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise errors.PreconditionFailed(f"the list of folders {path} cannot be read") from error
    return repository_plan.parse_folders(document)
