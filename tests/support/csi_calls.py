"""The driver on a unix socket in this process, over fakes, called as an orchestrator calls it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

from mooring.adapters import registry
from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.adapters.host import change_lists
from mooring.domain import handles
from mooring.ports import nodes as nodes_port
from mooring.runtime.locks import ThreadLocks
from mooring.volumes.fleet.fleet import Fleet
from mooring.volumes.local.node import LocalNode
from mooring_csi import controller, identity, interceptors, server, snapshot_metadata
from mooring_csi import node as node_service
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_csi.compose import OneNode
from support import fake_storage

GIB = 1 << 30
MIB = 1 << 20
_TIMEOUT_SECONDS = 60


@dataclass
class Driver:
    """Stubs of the served driver, and what is behind it."""

    identity: rpc.IdentityStub
    controller: rpc.ControllerStub
    node: rpc.NodeStub
    world: fake_storage.World
    folders: list[tuple[str, str]]
    channel: grpc.Channel
    storage: LocalNode


@contextmanager
def serve(folder: Path, nodes: nodes_port.Nodes | None = None) -> Iterator[Driver]:
    """Serves one node in memory, or the given fleet."""
    world = fake_storage.World()
    local = world.node()
    fleet = Fleet(MemoryCatalogue(), nodes or OneNode(local.name, local), ThreadLocks())
    folders: list[tuple[str, str]] = []

    def publish(handle: handles.RepositoryFolder, target: str, read_only: bool) -> None:
        folders.append((handles.render(handle), target))

    def unpublish(handle: handles.RepositoryFolder, target: str) -> None:
        with suppress(ValueError):
            folders.remove((handles.render(handle), target))

    mounts = node_service.FolderMounts(publish, unpublish)
    listed = change_lists.ChangeLists(registry.kernel_host().paths, local.changes.since_base)
    lists = node_service.ChangeLists(listed.publish, listed.unpublish)
    services = (
        (rpc.add_IdentityServicer_to_server, identity.Identity("test", lambda: True)),
        (rpc.add_ControllerServicer_to_server, controller.Controller(fleet)),
        (
            rpc.add_SnapshotMetadataServicer_to_server,
            snapshot_metadata.SnapshotMetadata(fleet),
        ),
        (rpc.add_NodeServicer_to_server, node_service.Node(local, mounts, lists, lambda: None)),
    )
    endpoint = folder / "csi.sock"
    serving = server.SocketServer(
        endpoint,
        [
            lambda target, add=add, service=service: add(service, target)
            for add, service in services
        ],
        [interceptors.call_interceptor()],
    )
    serving.start()
    options = (("grpc.default_authority", "localhost"),)
    with grpc.insecure_channel(f"unix:{endpoint}", options=options) as channel:
        stubs = (rpc.IdentityStub(channel), rpc.ControllerStub(channel), rpc.NodeStub(channel))
        yield Driver(*stubs, world, folders, channel, local)
    serving.stop(0)


def mount_capability(
    mode: "pb.VolumeCapability.AccessMode.Mode" = pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER,
    **mount: object,
) -> pb.VolumeCapability:
    return pb.VolumeCapability(
        mount=pb.VolumeCapability.MountVolume(**mount),  # type: ignore[arg-type]
        access_mode=pb.VolumeCapability.AccessMode(mode=mode),
    )


def block_capability() -> pb.VolumeCapability:
    return pb.VolumeCapability(
        block=pb.VolumeCapability.BlockVolume(),
        access_mode=pb.VolumeCapability.AccessMode(
            mode=pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        ),
    )


def create_request(
    name: str = "pvc-1", size: int = GIB, **fields: object
) -> pb.CreateVolumeRequest:
    given: dict[str, object] = {
        "capacity_range": pb.CapacityRange(required_bytes=size),
        "volume_capabilities": [mount_capability()],
        **fields,
    }
    return pb.CreateVolumeRequest(name=name, **given)  # type: ignore[arg-type]


@contextmanager
def published(node: rpc.NodeStub, volume_id: str, place: Path) -> Iterator[Path]:
    """Stages and publishes a volume with a filesystem for the time of a block."""
    staging, target = place / "staging", place / "target"
    staging.mkdir(parents=True)
    given = {"volume_id": volume_id, "staging_target_path": str(staging)}
    capability = mount_capability()
    node.NodeStageVolume(
        pb.NodeStageVolumeRequest(**given, volume_capability=capability), timeout=_TIMEOUT_SECONDS
    )
    node.NodePublishVolume(
        pb.NodePublishVolumeRequest(**given, target_path=str(target), volume_capability=capability),
        timeout=_TIMEOUT_SECONDS,
    )
    try:
        yield target
    finally:
        node.NodeUnpublishVolume(
            pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target)),
            timeout=_TIMEOUT_SECONDS,
        )
        node.NodeUnstageVolume(pb.NodeUnstageVolumeRequest(**given), timeout=_TIMEOUT_SECONDS)
