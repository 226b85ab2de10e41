import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.domain import errors, ids, volumes
from mooring_csi import requests
from mooring_csi._generated import csi_pb2 as pb
from support.csi_calls import GIB, block_capability, create_request, mount_capability

MODE = pb.VolumeCapability.AccessMode


def test_everything_that_a_class_and_kubernetes_say_arrives():
    found = requests.create_volume(
        create_request(
            parameters={
                "pool": "fast",
                "csi.storage.k8s.io/fstype": "xfs",
                "preallocate": "true",
                "csi.storage.k8s.io/pvc/name": "data",
                "csi.storage.k8s.io/pvc/namespace": "shop",
                "csi.storage.k8s.io/pv/name": "pvc-1",
            },
            capacity_range=pb.CapacityRange(required_bytes=GIB, limit_bytes=2 * GIB),
            accessibility_requirements=pb.TopologyRequirement(
                requisite=[topology("node-b"), topology("node-a")], preferred=[topology("node-a")]
            ),
        )
    )
    assert found.pool == "fast"
    assert found.filesystem is volumes.FilesystemType.XFS
    assert found.preallocated
    assert found.labels == {"claim": "data", "namespace": "shop", "persistentVolume": "pvc-1"}
    assert (found.size.required_bytes, found.size.limit_bytes) == (GIB, 2 * GIB)
    assert found.topology.requisite == ("node-b", "node-a")
    assert found.topology.preferred == ("node-a",)


def topology(node: str) -> pb.Topology:
    return pb.Topology(segments={"topology.mooring.dev/node": node})


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 129},
        {"name": "\u00e9" * 65},
        {"name": "a\x00b"},
        {"name": "a\x1bb"},
        {"volume_capabilities": []},
        {"volume_capabilities": [pb.VolumeCapability()]},
        {"volume_capabilities": [mount_capability(MODE.UNKNOWN)]},
        {"volume_capabilities": [mount_capability(MODE.MULTI_NODE_MULTI_WRITER)]},
        {"volume_capabilities": [mount_capability(MODE.MULTI_NODE_READER_ONLY)]},
        {"volume_capabilities": [mount_capability(MODE.MULTI_NODE_SINGLE_WRITER)]},
        {"volume_capabilities": [mount_capability(), block_capability()]},
        {"volume_capabilities": [mount_capability(fs_type="ntfs")]},
        {"volume_capabilities": [mount_capability(mount_flags=["nobarrier"])]},
        {"volume_capabilities": [mount_capability(mount_flags=["noatime,dev"])]},
        {"parameters": {"Pool": "fast"}},
        {"parameters": {"pool": "../etc"}},
        {"parameters": {"pool": ""}},
        {"parameters": {"preallocate": "yes"}},
        {"parameters": {"fsType": "ext3"}},
        {"parameters": {"fsType": "xfs", "csi.storage.k8s.io/fstype": "ext4"}},
        {"parameters": {"csi.storage.k8s.io/pvc/name": "x" * 5000}},
        {"mutable_parameters": {"iops": "1"}},
        {"capacity_range": pb.CapacityRange()},
        {"capacity_range": pb.CapacityRange(required_bytes=-1)},
        {"capacity_range": pb.CapacityRange(limit_bytes=-1)},
        {"volume_content_source": pb.VolumeContentSource()},
        {
            "volume_content_source": pb.VolumeContentSource(
                snapshot=pb.VolumeContentSource.SnapshotSource()
            )
        },
        {
            "accessibility_requirements": pb.TopologyRequirement(
                requisite=[pb.Topology(segments={"topology.mooring.dev/node": "../x"})]
            )
        },
    ],
)
def test_what_cannot_be_met_is_invalid(fields):
    given_name = fields.pop("name", "pvc-1")
    with pytest.raises(errors.InvalidInput) as caught:
        requests.create_volume(create_request(given_name, **fields))
    assert type(caught.value) is errors.InvalidInput


def test_limit_below_required_is_out_of_range():
    with pytest.raises(errors.SizeOutOfRange):
        requests.create_volume(
            create_request(capacity_range=pb.CapacityRange(required_bytes=2, limit_bytes=1))
        )


def test_an_unknown_parameter_is_named_with_the_known_ones():
    with pytest.raises(errors.InvalidInput, match=r"'fs'; known are: fsType, fstype, pool, preall"):
        requests.create_volume(create_request(parameters={"fs": "xfs"}))


def test_a_segment_of_another_driver_allows_no_node():
    found = requests.create_volume(
        create_request(
            accessibility_requirements=pb.TopologyRequirement(
                requisite=[pb.Topology(segments={"zone": "z1"})]
            )
        )
    )
    assert found.topology.requisite == ()


@pytest.mark.parametrize("value", ["vol-../../etc", "a/b", "vol-" + "G" * 32, "\u202e", "-x"])
def test_a_strange_id_is_not_found(value):
    with pytest.raises(errors.NotFound):
        requests.volume_id(value)


@pytest.mark.parametrize("value", ["relative", "/a/../b", "/a\nb", "", "/a\x00b", "/" + "x" * 4096])
def test_a_path_is_absolute_and_has_no_detours(value):
    with pytest.raises(errors.InvalidInput):
        requests.path(value, "target_path")


@given(st.text(max_size=200))
@settings(max_examples=50)
def test_any_name_becomes_a_request_or_an_error_and_never_a_path(name):
    try:
        found = requests.create_volume(create_request(name))
    except errors.InvalidInput:
        return
    assert ids.parse_volume_id(ids.volume_id_for(found.name))


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), min_size=1, max_size=3))
@settings(max_examples=50)
def test_random_parameters_never_pass_silently(parameters):
    known = {"pool", "preallocate", "fsType", "fstype"}
    try:
        requests.create_volume(create_request(parameters=parameters))
    except errors.InvalidInput:
        return
    assert set(parameters) <= known
