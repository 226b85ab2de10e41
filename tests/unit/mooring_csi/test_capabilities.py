"""What the driver advertises, pinned: an orchestrator acts on every word of it."""

from support import csi_calls

EXPECTED_PLUGIN = {
    "CONTROLLER_SERVICE",
    "VOLUME_ACCESSIBILITY_CONSTRAINTS",
    "SNAPSHOT_METADATA_SERVICE",
    "ONLINE",
}
EXPECTED_CONTROLLER = {
    "CREATE_DELETE_VOLUME",
    "LIST_VOLUMES",
    "GET_CAPACITY",
    "CREATE_DELETE_SNAPSHOT",
    "LIST_SNAPSHOTS",
    "GET_SNAPSHOT",
    "CLONE_VOLUME",
    "EXPAND_VOLUME",
    "VOLUME_CONDITION",
    "GET_VOLUME",
    "SINGLE_NODE_MULTI_WRITER",
}
EXPECTED_NODE = {
    "STAGE_UNSTAGE_VOLUME",
    "GET_VOLUME_STATS",
    "EXPAND_VOLUME",
    "VOLUME_CONDITION",
    "SINGLE_NODE_MULTI_WRITER",
}


def test_plugin(tmp_path):
    with csi_calls.serve(tmp_path) as driver:
        found = driver.identity.GetPluginCapabilities(csi_calls.pb.GetPluginCapabilitiesRequest())
    services, expansions = csi_calls.pb.PluginCapability.Service, csi_calls.pb.PluginCapability
    names = {
        services.Type.Name(item.service.type)
        if item.HasField("service")
        else expansions.VolumeExpansion.Type.Name(item.volume_expansion.type)
        for item in found.capabilities
    }
    assert names == EXPECTED_PLUGIN
    assert len(found.capabilities) == len(EXPECTED_PLUGIN)


def test_controller(tmp_path):
    with csi_calls.serve(tmp_path) as driver:
        found = driver.controller.ControllerGetCapabilities(
            csi_calls.pb.ControllerGetCapabilitiesRequest()
        )
    kinds = csi_calls.pb.ControllerServiceCapability.RPC.Type
    assert {kinds.Name(item.rpc.type) for item in found.capabilities} == EXPECTED_CONTROLLER


def test_node(tmp_path):
    with csi_calls.serve(tmp_path) as driver:
        found = driver.node.NodeGetCapabilities(csi_calls.pb.NodeGetCapabilitiesRequest())
    kinds = csi_calls.pb.NodeServiceCapability.RPC.Type
    assert {kinds.Name(item.rpc.type) for item in found.capabilities} == EXPECTED_NODE
    assert len(found.capabilities) == len(EXPECTED_NODE)
