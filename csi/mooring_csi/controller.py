"""CSI's Controller service: the fleet's use cases behind checked requests. It keeps no state."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import grpc
from google.protobuf import timestamp_pb2, wrappers_pb2

from mooring.api import keys
from mooring.domain import errors, ids, transfers, volumes
from mooring.ports import catalogue as catalogue_port
from mooring.volumes.fleet import fleet as fleet_use_cases
from mooring_csi import requests
from mooring_csi._generated import csi_pb2, csi_pb2_grpc

_RPC = csi_pb2.ControllerServiceCapability.RPC
CAPABILITIES = (
    _RPC.CREATE_DELETE_VOLUME,
    _RPC.LIST_VOLUMES,
    _RPC.GET_CAPACITY,
    _RPC.CREATE_DELETE_SNAPSHOT,
    _RPC.LIST_SNAPSHOTS,
    _RPC.GET_SNAPSHOT,
    _RPC.CLONE_VOLUME,
    _RPC.EXPAND_VOLUME,
    _RPC.VOLUME_CONDITION,
    _RPC.GET_VOLUME,
    _RPC.SINGLE_NODE_MULTI_WRITER,
)

Item = TypeVar("Item")
Entry = catalogue_port.CatalogueEntry


class Controller(csi_pb2_grpc.ControllerServicer):
    """Volumes and snapshots of the fleet."""

    def __init__(self, fleet: fleet_use_cases.Fleet) -> None:
        self._fleet = fleet

    def ControllerGetCapabilities(  # noqa: N802 - the interface names the methods
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """Returns what this controller can do."""
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.ControllerServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES
            ]
        )

    def CreateVolume(  # noqa: N802
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        """Makes a volume; the same name again returns the same volume."""
        entry = self._fleet.create_volume(requests.create_volume(request))
        return csi_pb2.CreateVolumeResponse(volume=_volume(entry))

    def DeleteVolume(  # noqa: N802
        self, request: csi_pb2.DeleteVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteVolumeResponse:
        """Deletes a volume; an absent one is no error."""
        try:
            volume_id = requests.volume_id(request.volume_id)
        except errors.NotFound:
            return csi_pb2.DeleteVolumeResponse()
        self._fleet.delete_volume(volume_id)
        return csi_pb2.DeleteVolumeResponse()

    def ValidateVolumeCapabilities(  # noqa: N802
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """Says whether a volume can be used in the ways asked about."""
        requests.text(request.volume_id, "volume_id")
        if not request.volume_capabilities:
            raise errors.InvalidInput("volume_capabilities is missing")
        spec = self._fleet.get_volume(requests.volume_id(request.volume_id)).spec
        for capability in request.volume_capabilities:
            fault = requests.capability_fault(capability) or _mismatch(capability, spec)
            if fault is not None:
                return csi_pb2.ValidateVolumeCapabilitiesResponse(message=fault)
        return csi_pb2.ValidateVolumeCapabilitiesResponse(
            confirmed=csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
                volume_context=request.volume_context,
                volume_capabilities=request.volume_capabilities,
                parameters=request.parameters,
            )
        )

    def ListVolumes(  # noqa: N802
        self, request: csi_pb2.ListVolumesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ListVolumesResponse:
        """Lists volumes by id; a token is the last id of the page before."""
        live = [entry for entry in self._fleet.list_volumes() if _is_live(entry)]
        page, token = _page(
            live,
            lambda entry: entry.spec.volume_id,
            request.max_entries,
            _token(request.starting_token, ids.parse_volume_id),
        )
        entries = [
            csi_pb2.ListVolumesResponse.Entry(
                volume=_volume(entry),
                status=csi_pb2.ListVolumesResponse.VolumeStatus(volume_condition=_condition(entry)),
            )
            for entry in page
        ]
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=token)

    def ControllerGetVolume(  # noqa: N802
        self, request: csi_pb2.ControllerGetVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetVolumeResponse:
        """Returns one volume and its health."""
        entry = self._fleet.get_volume(requests.volume_id(request.volume_id))
        return csi_pb2.ControllerGetVolumeResponse(
            volume=_volume(entry),
            status=csi_pb2.ControllerGetVolumeResponse.VolumeStatus(
                volume_condition=_condition(entry)
            ),
        )

    def GetCapacity(  # noqa: N802
        self, request: csi_pb2.GetCapacityRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetCapacityResponse:
        """Returns the room on the nodes asked about; a node that does not answer has none."""
        topology, pool = requests.capacity(request)
        room = self._fleet.capacity(topology, pool)
        return csi_pb2.GetCapacityResponse(
            available_capacity=room.available_bytes,
            maximum_volume_size=wrappers_pb2.Int64Value(value=room.largest_volume_bytes),
            minimum_volume_size=wrappers_pb2.Int64Value(value=volumes.MINIMUM_VOLUME_SIZE_BYTES),
        )

    def ControllerExpandVolume(  # noqa: N802
        self, request: csi_pb2.ControllerExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Grows a volume's image; its filesystem follows on the node."""
        requests.text(request.volume_id, "volume_id")
        if not request.HasField("capacity_range"):
            raise errors.InvalidInput("capacity_range is missing")
        asked = requests.size_range(request.capacity_range)
        spec = self._fleet.expand_volume(requests.volume_id(request.volume_id), asked)
        return csi_pb2.ControllerExpandVolumeResponse(
            capacity_bytes=spec.size_bytes,
            node_expansion_required=spec.mode is volumes.VolumeMode.FILESYSTEM,
        )

    def CreateSnapshot(  # noqa: N802
        self, request: csi_pb2.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateSnapshotResponse:
        """Takes a snapshot; the same name again returns the same snapshot."""
        source, name = requests.create_snapshot(request)
        record = self._fleet.create_snapshot(source, name)
        return csi_pb2.CreateSnapshotResponse(snapshot=_snapshot(record))

    def DeleteSnapshot(  # noqa: N802
        self, request: csi_pb2.DeleteSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteSnapshotResponse:
        """Deletes a snapshot; an absent one is no error."""
        try:
            snapshot_id = requests.snapshot_id(request.snapshot_id)
        except errors.NotFound:
            return csi_pb2.DeleteSnapshotResponse()
        self._fleet.delete_snapshot(snapshot_id)
        return csi_pb2.DeleteSnapshotResponse()

    def GetSnapshot(  # noqa: N802
        self, request: csi_pb2.GetSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetSnapshotResponse:
        """Returns one snapshot."""
        record = self._fleet.get_snapshot(requests.snapshot_id(request.snapshot_id))
        return csi_pb2.GetSnapshotResponse(snapshot=_snapshot(record))

    def ListSnapshots(  # noqa: N802
        self, request: csi_pb2.ListSnapshotsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ListSnapshotsResponse:
        """Lists snapshots by id; a filter that names nothing of ours gives an empty list."""
        page, token = _page(
            self._filtered(request),
            lambda record: record.snapshot_id,
            request.max_entries,
            _token(request.starting_token, ids.parse_snapshot_id),
        )
        entries = [
            csi_pb2.ListSnapshotsResponse.Entry(snapshot=_snapshot(record)) for record in page
        ]
        return csi_pb2.ListSnapshotsResponse(entries=entries, next_token=token)

    def _filtered(self, request: csi_pb2.ListSnapshotsRequest) -> Sequence[volumes.SnapshotRecord]:
        if request.snapshot_id:
            try:
                found = [self._fleet.get_snapshot(requests.snapshot_id(request.snapshot_id))]
            except errors.NotFound:
                return []
        else:
            # What is kept for the next backup is Mooring's own, and may go at any moment.
            found = [one for one in self._fleet.list_snapshots() if one.base is None]
        return [
            record
            for record in found
            if record.state is not volumes.SnapshotState.DELETING
            and transfers.target_of(record.name) is None
            and request.source_volume_id in ("", record.source_volume_id)
        ]


def _token(token: str, parse: Callable[[str], str]) -> str:
    """Checks a page token; one that this service never gave is answered as CSI wants, ABORTED."""
    if not token:
        return ""
    try:
        return parse(token)
    except errors.NotFound as error:
        raise errors.Busy("starting_token is not one of ours: list again from the start") from error


def _page(
    items: Sequence[Item], key: Callable[[Item], str], limit: int, after: str
) -> tuple[Sequence[Item], str]:
    """Cuts a page out of items that are sorted by key; also returns the next page's token.

    Raises:
        InvalidInput: The limit is negative.
    """
    if limit < 0:
        raise errors.InvalidInput("max_entries is negative")
    rest = [item for item in items if key(item) > after]
    if not limit or len(rest) <= limit:
        return rest, ""
    return rest[:limit], key(rest[limit - 1])


def _is_live(entry: Entry) -> bool:
    state = entry.status.record.state if entry.status else None
    return state not in (volumes.VolumeState.DELETING, volumes.VolumeState.TRASHED)


def _mismatch(capability: csi_pb2.VolumeCapability, spec: volumes.VolumeSpec) -> str | None:
    if requests.mode_of(capability) is not spec.mode:
        return f"the volume has volume mode {spec.mode}"
    if capability.mount.fs_type not in ("", spec.filesystem or ""):
        return f"the volume holds {spec.filesystem}"
    if spec.filesystem is None:
        return None
    flags = capability.mount.mount_flags
    return requests.flags_fault(flags, (spec.filesystem,), preallocated=spec.preallocated)


def _volume(entry: Entry) -> csi_pb2.Volume:
    spec = entry.spec
    source = None
    if spec.source is not None and spec.source.snapshot_id is not None:
        source = csi_pb2.VolumeContentSource(
            snapshot=csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=spec.source.snapshot_id)
        )
    elif spec.source is not None:
        source = csi_pb2.VolumeContentSource(
            volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id=spec.source.volume_id)
        )
    return csi_pb2.Volume(
        capacity_bytes=spec.size_bytes,
        volume_id=spec.volume_id,
        content_source=source,
        accessible_topology=[csi_pb2.Topology(segments={keys.TOPOLOGY_NODE: entry.node})],
    )


def _condition(entry: Entry) -> csi_pb2.VolumeCondition:
    if entry.status is None:
        return csi_pb2.VolumeCondition(
            abnormal=True, message=f"node {entry.node} has not reported this volume"
        )
    condition = entry.status.condition
    return csi_pb2.VolumeCondition(abnormal=condition.abnormal, message=condition.message)


def _snapshot(record: volumes.SnapshotRecord) -> csi_pb2.Snapshot:
    created = timestamp_pb2.Timestamp()
    created.FromDatetime(record.created_at)
    return csi_pb2.Snapshot(
        size_bytes=record.size_bytes,
        snapshot_id=record.snapshot_id,
        source_volume_id=record.source_volume_id,
        creation_time=created,
        ready_to_use=record.state is volumes.SnapshotState.READY,
    )
