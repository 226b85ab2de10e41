"""The controller service, called over its socket."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from support.csi_calls import (
    GIB,
    MIB,
    block_capability,
    create_request,
    mount_capability,
    pb,
    serve,
)

CODE = grpc.StatusCode


@pytest.fixture
def driver(tmp_path):
    with serve(tmp_path) as found:
        yield found


def code_of(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code()


def test_a_volume_says_its_node_size_and_source(driver):
    volume = driver.controller.CreateVolume(create_request(size=GIB - 5)).volume
    assert volume.capacity_bytes == GIB
    assert [dict(item.segments) for item in volume.accessible_topology] == [
        {"topology.mooring.dev/node": "node-a"}
    ]
    snapshot = driver.controller.CreateSnapshot(
        pb.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id)
    ).snapshot
    source = pb.VolumeContentSource(
        snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=snapshot.snapshot_id)
    )
    restored = driver.controller.CreateVolume(create_request("pvc-2", volume_content_source=source))
    assert restored.volume.content_source == source


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 2 * GIB},
        {"volume_capabilities": [block_capability()]},
        {"volume_capabilities": [mount_capability(fs_type="xfs")]},
        {"parameters": {"preallocate": "true"}},
        {"capacity_range": pb.CapacityRange(limit_bytes=512 * MIB)},
    ],
)
def test_the_same_name_for_something_else_already_exists(driver, changes):
    driver.controller.CreateVolume(create_request())
    assert code_of(driver.controller.CreateVolume, create_request(**changes)) is CODE.ALREADY_EXISTS
    assert len(driver.controller.ListVolumes(pb.ListVolumesRequest()).entries) == 1


def test_fifty_parallel_calls_with_one_name_make_one_volume(driver):
    def create(_):
        try:
            return driver.controller.CreateVolume(create_request()).volume.volume_id
        except grpc.RpcError as error:
            return error.code()

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(create, range(50)))
    volume_id = driver.controller.CreateVolume(create_request()).volume.volume_id
    assert answers <= {volume_id, CODE.ABORTED}
    assert volume_id in answers
    assert len(driver.world.records.volumes) == 1


def test_what_is_too_large_names_the_room(driver):
    with pytest.raises(grpc.RpcError) as caught:
        driver.controller.CreateVolume(create_request(size=1 << 50))
    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
    assert "takes at most" in caught.value.details()
    assert not driver.controller.ListVolumes(pb.ListVolumesRequest()).entries


def test_a_pool_that_is_nowhere_is_a_mistake(driver):
    request = create_request(parameters={"pool": "tape"})
    with pytest.raises(grpc.RpcError, match="there is no pool 'tape' on any node; there are: fast"):
        driver.controller.CreateVolume(request)
    assert code_of(driver.controller.CreateVolume, request) is CODE.INVALID_ARGUMENT


def test_another_topology_is_exhausted_so_that_the_scheduler_goes_on(driver):
    request = create_request(
        accessibility_requirements=pb.TopologyRequirement(
            requisite=[pb.Topology(segments={"topology.mooring.dev/node": "node-z"})]
        )
    )
    assert code_of(driver.controller.CreateVolume, request) is CODE.RESOURCE_EXHAUSTED


def test_capacity_is_that_of_the_segment(driver):
    def ask(**fields):
        return driver.controller.GetCapacity(pb.GetCapacityRequest(**fields))

    def segment(node):
        return pb.Topology(segments={"topology.mooring.dev/node": node})

    there, elsewhere = (
        ask(accessible_topology=segment("node-a")),
        ask(accessible_topology=segment("node-z")),
    )
    assert there.available_capacity == ask().available_capacity > 0
    assert there.maximum_volume_size.value == there.available_capacity
    assert elsewhere.available_capacity == 0
    assert ask(parameters={"pool": "tape"}).available_capacity == 0
    secret = {"csi.storage.k8s.io/node-stage-secret-name": "key"}
    assert ask(parameters=secret).available_capacity == there.available_capacity
    request = pb.GetCapacityRequest(parameters={"speed": "9"})
    assert code_of(driver.controller.GetCapacity, request) is CODE.INVALID_ARGUMENT


def test_shrinking_changes_nothing_and_a_limit_below_is_out_of_range(driver):
    volume = driver.controller.CreateVolume(create_request(size=2 * GIB)).volume

    def expand(**bounds):
        return pb.ControllerExpandVolumeRequest(
            volume_id=volume.volume_id, capacity_range=pb.CapacityRange(**bounds)
        )

    kept = driver.controller.ControllerExpandVolume(expand(required_bytes=GIB))
    assert kept.capacity_bytes == 2 * GIB
    grown = driver.controller.ControllerExpandVolume(expand(required_bytes=3 * GIB))
    assert (grown.capacity_bytes, grown.node_expansion_required) == (3 * GIB, True)
    refused = expand(limit_bytes=GIB)
    assert code_of(driver.controller.ControllerExpandVolume, refused) is CODE.OUT_OF_RANGE
    found = driver.controller.ControllerGetVolume(
        pb.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    )
    assert found.volume.capacity_bytes == 3 * GIB
    assert not found.status.volume_condition.abnormal


def test_a_copy_smaller_than_its_source_is_out_of_range(driver):
    volume = driver.controller.CreateVolume(create_request(size=2 * GIB)).volume
    source = pb.VolumeContentSource(
        volume=pb.VolumeContentSource.VolumeSource(volume_id=volume.volume_id)
    )
    small = create_request("pvc-2", size=GIB, volume_content_source=source)
    assert code_of(driver.controller.CreateVolume, small) is CODE.OUT_OF_RANGE
    same = pb.CreateVolumeRequest(
        name="pvc-3",
        volume_capabilities=[mount_capability()],
        volume_content_source=source,
    )
    assert driver.controller.CreateVolume(same).volume.capacity_bytes == 2 * GIB
    other_mode = create_request(
        "pvc-4", 2 * GIB, volume_content_source=source, volume_capabilities=[block_capability()]
    )
    assert code_of(driver.controller.CreateVolume, other_mode) is CODE.INVALID_ARGUMENT


def test_snapshots_outlive_their_volume(driver):
    volume = driver.controller.CreateVolume(create_request()).volume
    snapshot = driver.controller.CreateSnapshot(
        pb.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id)
    ).snapshot
    for _ in range(2):
        driver.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume.volume_id))
    assert not driver.controller.ListVolumes(pb.ListVolumesRequest()).entries
    found = driver.controller.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=snapshot.snapshot_id))
    assert found.snapshot == snapshot
    restored = create_request(
        "pvc-2",
        volume_content_source=pb.VolumeContentSource(
            snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=snapshot.snapshot_id)
        ),
    )
    assert driver.controller.CreateVolume(restored).volume.capacity_bytes == GIB
    for _ in range(2):
        driver.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id))
    gone = pb.GetSnapshotRequest(snapshot_id=snapshot.snapshot_id)
    assert code_of(driver.controller.GetSnapshot, gone) is CODE.NOT_FOUND
    again = driver.controller.CreateVolume(create_request())
    assert again.volume.volume_id == volume.volume_id, "the name is free once all is gone"


def test_the_same_snapshot_name_of_another_volume_already_exists(driver):
    ids = [
        driver.controller.CreateVolume(create_request(name)).volume.volume_id for name in ("a", "b")
    ]
    requests = [pb.CreateSnapshotRequest(name="s", source_volume_id=item) for item in ids]
    first = driver.controller.CreateSnapshot(requests[0])
    assert driver.controller.CreateSnapshot(requests[0]) == first
    assert code_of(driver.controller.CreateSnapshot, requests[1]) is CODE.ALREADY_EXISTS
    unknown = pb.CreateSnapshotRequest(
        name="t", source_volume_id=ids[0], parameters={"incremental": "true"}
    )
    assert code_of(driver.controller.CreateSnapshot, unknown) is CODE.INVALID_ARGUMENT


def test_listing_in_pages_and_by_filter(driver):
    volumes = [
        driver.controller.CreateVolume(create_request(f"pvc-{number}", 64 * MIB)).volume.volume_id
        for number in range(5)
    ]
    snapshots = [
        driver.controller.CreateSnapshot(
            pb.CreateSnapshotRequest(name=f"s-{item}", source_volume_id=item)
        ).snapshot.snapshot_id
        for item in volumes
    ]
    seen, token = [], ""
    while True:
        page = driver.controller.ListSnapshots(
            pb.ListSnapshotsRequest(max_entries=2, starting_token=token)
        )
        seen += [entry.snapshot.snapshot_id for entry in page.entries]
        token = page.next_token
        if not token:
            break
    assert seen == sorted(snapshots)

    def listed(**fields):
        answer = driver.controller.ListSnapshots(pb.ListSnapshotsRequest(**fields))
        return [entry.snapshot.snapshot_id for entry in answer.entries]

    assert listed(source_volume_id=volumes[1]) == [snapshots[1]]
    assert listed(snapshot_id=snapshots[2]) == [snapshots[2]]
    assert listed(snapshot_id=snapshots[2], source_volume_id=volumes[1]) == []
    assert listed(source_volume_id="nothing") == listed(snapshot_id="nothing") == []
    bad = pb.ListVolumesRequest(starting_token="7")
    assert code_of(driver.controller.ListVolumes, bad) is CODE.ABORTED
    negative = pb.ListVolumesRequest(max_entries=-1)
    assert code_of(driver.controller.ListVolumes, negative) is CODE.INVALID_ARGUMENT


def test_validation_confirms_only_what_the_volume_is(driver):
    volume = driver.controller.CreateVolume(create_request()).volume

    def validate(*capabilities):
        return driver.controller.ValidateVolumeCapabilities(
            pb.ValidateVolumeCapabilitiesRequest(
                volume_id=volume.volume_id, volume_capabilities=capabilities
            )
        )

    assert validate(mount_capability()).HasField("confirmed")
    many = pb.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER
    for wrong in (block_capability(), mount_capability(many), mount_capability(fs_type="xfs")):
        answer = validate(mount_capability(), wrong)
        assert not answer.HasField("confirmed")
        assert answer.message


def test_methods_that_are_not_advertised_are_not_implemented(driver):
    publish = pb.ControllerPublishVolumeRequest(volume_id="x", node_id="y")
    assert code_of(driver.controller.ControllerPublishVolume, publish) is CODE.UNIMPLEMENTED
    modify = pb.ControllerModifyVolumeRequest(volume_id="x")
    assert code_of(driver.controller.ControllerModifyVolume, modify) is CODE.UNIMPLEMENTED
