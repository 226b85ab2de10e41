"""CSI's Node service: this node's volumes for the kubelet, and devices for movers.

A volume handle says which of the two it is; see `mooring.domain.handles`. What a mover opens is
made at publish and needs no staging, so staging it succeeds and does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message

from mooring.api import keys
from mooring.domain import errors, handles, ids, volumes
from mooring.volumes.local import node as local_node
from mooring.volumes.local import publish, staging
from mooring_csi import requests
from mooring_csi._generated import csi_pb2, csi_pb2_grpc

_RPC = csi_pb2.NodeServiceCapability.RPC
CAPABILITIES = (
    _RPC.STAGE_UNSTAGE_VOLUME,
    _RPC.GET_VOLUME_STATS,
    _RPC.EXPAND_VOLUME,
    _RPC.VOLUME_CONDITION,
    _RPC.SINGLE_NODE_MULTI_WRITER,
)
MAXIMUM_VOLUMES = 256
"""The kernel has a loop device for each; more on one node were never tried."""

_MODE = csi_pb2.VolumeCapability.AccessMode
_READER = _MODE.SINGLE_NODE_READER_ONLY
_ONE_POD_MODES = frozenset({_MODE.SINGLE_NODE_WRITER, _MODE.SINGLE_NODE_SINGLE_WRITER})

Changed = Callable[[], None]


@dataclass(frozen=True)
class FolderMounts:
    """How repository folders are published on this node.

    Attributes:
        publish: Takes the folder, the target path and whether it is read-only.
        unpublish: Takes the target path.
    """

    publish: Callable[[handles.RepositoryFolder, str, bool], None]
    unpublish: Callable[[handles.RepositoryFolder, str], None]


@dataclass(frozen=True)
class ChangeLists:
    """How lists of changes are published on this node.

    Attributes:
        publish: Takes the snapshot and the target path.
        unpublish: Takes the target path.
    """

    publish: Callable[[ids.SnapshotId, str], None]
    unpublish: Callable[[str], None]


class Node(csi_pb2_grpc.NodeServicer):
    """Staging and publishing on this node."""

    def __init__(
        self,
        node: local_node.LocalNode,
        folders: FolderMounts,
        lists: ChangeLists,
        changed: Changed,
    ) -> None:
        """Takes the node's storage, what else it shows, and whom to tell of a volume's use."""
        self._lists = lists
        self._node = node
        self._folders = folders
        self._changed = changed

    def NodeGetCapabilities(  # noqa: N802 - the interface names the methods
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """Returns what this node service can do."""
        return csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES
            ]
        )

    def NodeGetInfo(  # noqa: N802
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        """Returns the node's name and topology."""
        return csi_pb2.NodeGetInfoResponse(
            node_id=self._node.name,
            max_volumes_per_node=MAXIMUM_VOLUMES,
            accessible_topology=csi_pb2.Topology(segments={keys.TOPOLOGY_NODE: self._node.name}),
        )

    def NodeStageVolume(  # noqa: N802
        self, request: csi_pb2.NodeStageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Attaches a volume and mounts the filesystem inside it."""
        _require(request, "volume_id", "staging_target_path", "volume_capability")
        handle = requests.handle(request.volume_id)
        path = requests.path(request.staging_target_path, "staging_target_path")
        capability = _capability(request.volume_capability, handle)
        if isinstance(handle, handles.UserVolume):
            self._node.publisher.stage(handle.volume_id, path, _access(capability))
            self._changed()
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        """Undoes NodeStageVolume."""
        _require(request, "volume_id", "staging_target_path")
        handle = requests.handle(request.volume_id)
        path = requests.path(request.staging_target_path, "staging_target_path")
        if isinstance(handle, handles.UserVolume):
            self._node.publisher.unstage(handle.volume_id, path)
            self._changed()
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(  # noqa: N802
        self, request: csi_pb2.NodePublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Shows a staged volume to a pod, or a snapshot, new volume or folder to a mover."""
        _require(request, "volume_id", "target_path", "volume_capability")
        handle = requests.handle(request.volume_id)
        target = requests.path(request.target_path, "target_path")
        capability = _capability(request.volume_capability, handle)
        match handle:
            case handles.UserVolume(volume_id):
                self._publish(volume_id, target, request, capability)
            case handles.RepositoryFolder():
                self._folders.publish(handle, target, request.readonly)
            case handles.ChangeList(snapshot_id):
                self._lists.publish(snapshot_id, target)
            case handles.SnapshotReader() | handles.PopulateWriter():
                self._expose(handle, target, request, capability)
        self._changed()
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Undoes NodePublishVolume."""
        _require(request, "volume_id", "target_path")
        handle = requests.handle(request.volume_id)
        target = requests.path(request.target_path, "target_path")
        match handle:
            case handles.UserVolume(volume_id):
                self._node.publisher.unpublish(volume_id, target)
            case handles.RepositoryFolder():
                self._folders.unpublish(handle, target)
            case handles.ChangeList():
                self._lists.unpublish(target)
            case handles.SnapshotReader() | handles.PopulateWriter():
                self._node.exposures.unexpose(handles.render(handle), target)
        self._changed()
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(  # noqa: N802
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """Returns use and health of a published volume."""
        _require(request, "volume_id", "volume_path")
        volume_id = _user_volume(request.volume_id)
        stats = self._node.publisher.stats(volume_id, _present_path(request.volume_path))
        bytes_unit, inodes_unit = csi_pb2.VolumeUsage.BYTES, csi_pb2.VolumeUsage.INODES
        if stats.usage is None:
            usage = [csi_pb2.VolumeUsage(total=stats.size_bytes, unit=bytes_unit)]
        else:
            usage = [
                csi_pb2.VolumeUsage(
                    total=stats.usage.total_bytes,
                    used=stats.usage.used_bytes,
                    available=stats.usage.available_bytes,
                    unit=bytes_unit,
                ),
                csi_pb2.VolumeUsage(
                    total=stats.usage.total_inodes,
                    used=stats.usage.used_inodes,
                    available=stats.usage.available_inodes,
                    unit=inodes_unit,
                ),
            ]
        condition = csi_pb2.VolumeCondition(
            abnormal=stats.condition.abnormal, message=stats.condition.message
        )
        return csi_pb2.NodeGetVolumeStatsResponse(usage=usage, volume_condition=condition)

    def NodeExpandVolume(  # noqa: N802
        self, request: csi_pb2.NodeExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Grows the filesystem to its grown image."""
        _require(request, "volume_id", "volume_path")
        volume_id = _user_volume(request.volume_id)
        path = _present_path(request.volume_path)
        given = request.HasField("capacity_range")
        asked = requests.size_range(request.capacity_range if given else None)
        size_bytes = self._node.publisher.node_expand(volume_id, path)
        if not asked.holds(size_bytes):
            raise errors.SizeOutOfRange(
                f"the volume has {size_bytes} bytes, and the node grows it no further: the "
                "controller grows a volume, when its claim asks for more"
            )
        self._changed()
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size_bytes)

    def _publish(
        self,
        volume_id: ids.VolumeId,
        target: str,
        request: csi_pb2.NodePublishVolumeRequest,
        capability: csi_pb2.VolumeCapability,
    ) -> None:
        if not request.staging_target_path:
            raise errors.PreconditionFailed(
                "staging_target_path is missing: stage the volume first"
            )
        publication = publish.Publication(
            staging_path=requests.path(request.staging_target_path, "staging_target_path"),
            target_path=target,
            access=_access(capability),
            read_only=request.readonly or capability.access_mode.mode == _READER,
            single_target=capability.access_mode.mode in _ONE_POD_MODES,
        )
        self._node.publisher.publish(volume_id, publication)

    def _expose(
        self,
        handle: handles.Handle,
        target: str,
        request: csi_pb2.NodePublishVolumeRequest,
        capability: csi_pb2.VolumeCapability,
    ) -> None:
        if not capability.HasField("block"):
            raise errors.InvalidInput("snapshots and volumes to fill are block devices only")
        self._node.exposures.expose(
            handles.render(handle),
            target,
            read_only=request.readonly,
            group_id=keys.MOVER_GROUP_ID,
        )


def _user_volume(value: str) -> ids.VolumeId:
    handle = requests.handle(value)
    if not isinstance(handle, handles.UserVolume):
        raise errors.NotFound("only users' volumes have statistics and grow")
    return handle.volume_id


def _require(request: Message, *fields: str) -> None:
    """Refuses a request that lacks a field, before anything is looked up."""
    given = {field.name for field, _ in request.ListFields()}
    for field in fields:
        if field not in given:
            raise errors.InvalidInput(f"{field} is missing")


def _present_path(value: str) -> str:
    """Reads a path that a volume must already be at; a path that cannot exist is not found."""
    try:
        return requests.path(value, "volume_path")
    except errors.InvalidInput as error:
        raise errors.NotFound(f"no volume is there: {error}") from error


def _capability(
    capability: csi_pb2.VolumeCapability, handle: handles.Handle
) -> csi_pb2.VolumeCapability:
    """Checks a capability; what a mover opens may name any access mode, its volume is not real."""
    if isinstance(handle, handles.UserVolume):
        return requests.capability(capability)
    if capability.WhichOneof("access_type") is None:
        raise errors.InvalidInput("a volume capability names neither block nor mount")
    return capability


def _access(capability: csi_pb2.VolumeCapability) -> staging.Access:
    mode = requests.mode_of(capability)
    if mode is volumes.VolumeMode.BLOCK:
        return staging.Access(mode)
    filesystem = capability.mount.fs_type
    return staging.Access(
        mode,
        volumes.FilesystemType(filesystem) if filesystem else None,
        tuple(capability.mount.mount_flags),
    )
