"""CSI's Identity service, the same for the controller and every node."""

from collections.abc import Callable

import grpc
from google.protobuf import wrappers_pb2

from mooring.api import keys
from mooring_csi._generated import csi_pb2, csi_pb2_grpc

_SERVICES = (
    csi_pb2.PluginCapability.Service.CONTROLLER_SERVICE,
    csi_pb2.PluginCapability.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS,
    csi_pb2.PluginCapability.Service.SNAPSHOT_METADATA_SERVICE,
)


class Identity(csi_pb2_grpc.IdentityServicer):
    """Who the driver is and what it serves."""

    def __init__(self, version: str, ready: Callable[[], bool]) -> None:
        """Takes the product's version and a question that answers at once."""
        self._version = version
        self._ready = ready

    def GetPluginInfo(  # noqa: N802 - the interface names the method
        self, request: csi_pb2.GetPluginInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginInfoResponse:
        """Returns name and version."""
        return csi_pb2.GetPluginInfoResponse(name=keys.DRIVER, vendor_version=self._version)

    def GetPluginCapabilities(  # noqa: N802
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """Returns what the plugin as a whole can do."""
        services = [
            csi_pb2.PluginCapability(service=csi_pb2.PluginCapability.Service(type=service))
            for service in _SERVICES
        ]
        online = csi_pb2.PluginCapability.VolumeExpansion(
            type=csi_pb2.PluginCapability.VolumeExpansion.ONLINE
        )
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[*services, csi_pb2.PluginCapability(volume_expansion=online)]
        )

    def Probe(  # noqa: N802
        self, request: csi_pb2.ProbeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ProbeResponse:
        """Says whether calls can be served now."""
        return csi_pb2.ProbeResponse(ready=wrappers_pb2.BoolValue(value=self._ready()))
