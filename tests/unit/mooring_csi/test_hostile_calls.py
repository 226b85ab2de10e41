"""Calls that no orchestrator makes: each is a clear error, and nothing is changed by it."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.domain import errors, ids
from mooring.ports import nodes as nodes_port
from support import csi_calls, spoiling
from support.csi_calls import GIB, MIB, Driver, create_request, mount_capability, pb
from support.spoiling import Spoiler, outcome

CODE = grpc.StatusCode
FAULTS = (CODE.INTERNAL, CODE.UNKNOWN)
STAGING, TARGET = "/k/staging", "/k/pod/mount"
VOLUME = ids.volume_id_for("pvc-1")
ABSENT = ids.volume_id_for("absent")
SNAPSHOT = ids.snapshot_id_for("s", VOLUME)
CANARY = "canary-5up3rs3cr3t"
STRINGS = (
    *spoiling.STRINGS, f"{VOLUME}/..", f"snapshot/{SNAPSHOT}", f"snapshot/../{VOLUME}",
    f"populate/{VOLUME}", "folder/nas/shop/daily", "folder/../shop/daily", "ro,dev", "discard",
    "fs", VOLUME, SNAPSHOT, STAGING, TARGET,
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with csi_calls.serve(tmp_path_factory.mktemp("csi")) as found:
        yield found


def refused(call: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details()


def used(driver: Driver) -> None:
    """Makes sure of one volume with a snapshot, staged and published; repeating is no error."""
    driver.controller.CreateVolume(create_request())
    driver.controller.CreateSnapshot(pb.CreateSnapshotRequest(name="s", source_volume_id=VOLUME))
    for name in ("NodeStageVolume", "NodePublishVolume"):
        getattr(driver.node, name)(template(name))


def template(name: str) -> Message:
    """A request that succeeds."""
    size = pb.CapacityRange(required_bytes=GIB)
    where = {"volume_id": VOLUME, "staging_target_path": STAGING}
    use = {**where, "volume_capability": mount_capability(mount_flags=["noatime"])}
    topology = pb.TopologyRequirement(
        requisite=[pb.Topology(segments={"topology.mooring.dev/node": "node-a"})]
    )
    given_fields: dict[str, dict[str, Any]] = {
        "CreateVolume": {
            "name": "pvc-2",
            "capacity_range": size,
            "volume_capabilities": [mount_capability(mount_flags=["noatime"])],
            "parameters": {"pool": "fast", "preallocate": "false", "fsType": "ext4"},
            "volume_content_source": pb.VolumeContentSource(
                snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=SNAPSHOT)
            ),
            "accessibility_requirements": topology,
        },
        "DeleteVolume": {"volume_id": ABSENT},
        "ValidateVolumeCapabilities": {
            "volume_id": VOLUME,
            "volume_capabilities": [mount_capability()],
        },
        "ListVolumes": {"max_entries": 1, "starting_token": VOLUME},
        "ControllerGetVolume": {"volume_id": VOLUME},
        "GetCapacity": {
            "parameters": {"pool": "fast"},
            "accessible_topology": topology.requisite[0],
            "volume_capabilities": [mount_capability()],
        },
        "ControllerExpandVolume": {"volume_id": VOLUME, "capacity_range": size},
        "CreateSnapshot": {"name": "s", "source_volume_id": VOLUME},
        "DeleteSnapshot": {"snapshot_id": ids.snapshot_id_for("absent", VOLUME)},
        "GetSnapshot": {"snapshot_id": SNAPSHOT},
        "ListSnapshots": {"snapshot_id": SNAPSHOT, "source_volume_id": VOLUME},
        "NodeStageVolume": use,
        "NodeUnstageVolume": {**where, "staging_target_path": "/k/x", "volume_id": ABSENT},
        "NodePublishVolume": {**use, "target_path": TARGET},
        "NodeUnpublishVolume": {"volume_id": VOLUME, "target_path": "/k/other/mount"},
        "NodeGetVolumeStats": {"volume_id": VOLUME, "volume_path": TARGET},
        "NodeExpandVolume": {"volume_id": VOLUME, "volume_path": TARGET, "capacity_range": size},
    }  # fmt: skip
    message: Message = getattr(pb, f"{name}Request")(**given_fields[name])
    return message


METHODS = sorted(
    {method.name for name in ("Controller", "Node")
     for method in pb.DESCRIPTOR.services_by_name[name].methods
     if len(method.input_type.fields)}
    - {"ControllerPublishVolume", "ControllerUnpublishVolume", "ControllerModifyVolume"}
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_the_request_that_is_spoilt_would_succeed(driver: Driver, method: str) -> None:
    used(driver)
    _stub(driver, method)(template(method))
    _put_away(driver)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_in_a_request_is_a_fault_of_the_driver(
    driver: Driver, method: str, data: st.DataObject
) -> None:
    used(driver)
    request = template(method)
    for _ in range(data.draw(st.integers(1, 2))):
        Spoiler(data.draw, STRINGS).spoil(request)
    before = driver.world.state()
    code, details = outcome(_stub(driver, method), request)
    assert code not in FAULTS, (details, request)
    if code is CODE.OK:
        _put_away(driver)
    else:
        assert details
        assert driver.world.state() == before


def _stub(driver: Driver, method: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = getattr(driver.node, method, None) or getattr(
        driver.controller, method
    )
    return found


def _put_away(driver: Driver) -> None:
    """Removes what a spoilt request made after all: all but the first volume."""
    for mount in list(driver.world.kernel.mounts):
        driver.world.kernel.unmount(mount.target)
    for path in list(driver.world.kernel.devices):
        del driver.world.kernel.devices[path]
    driver.world.kernel.folders.clear()
    driver.world.kernel.files.clear()
    driver.folders.clear()
    for volume_id in set(driver.world.records.volumes):
        driver.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume_id))
    for snapshot_id in set(driver.world.records.snapshots):
        driver.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=snapshot_id))


def sized(**bounds: int) -> dict[str, Any]:
    return {"capacity_range": pb.CapacityRange(**bounds)}


def flags(*names: str, **mount: Any) -> dict[str, Any]:
    return {"volume_capabilities": [mount_capability(mount_flags=names, **mount)]}


def moded(name: str) -> dict[str, Any]:
    mode = pb.VolumeCapability.AccessMode.Mode.Value(name)
    return {"volume_capabilities": [mount_capability(mode)]}


PREALLOCATED = {"parameters": {"preallocate": "true"}}
INVALID, RANGE = CODE.INVALID_ARGUMENT, CODE.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        (sized(), INVALID, "give required_bytes or limit_bytes"),
        (sized(required_bytes=-1), INVALID, "negative"),
        (sized(limit_bytes=-(1 << 63)), INVALID, "negative"),
        (sized(required_bytes=2 * GIB, limit_bytes=GIB), RANGE, "below the required"),
        (sized(required_bytes=(1 << 63) - 1), RANGE, "larger than any volume"),
        (sized(limit_bytes=1), RANGE, "whole MiB"),
        (sized(required_bytes=MIB, limit_bytes=MIB), RANGE, "at least 4Mi"),
        (sized(required_bytes=1 << 50), CODE.RESOURCE_EXHAUSTED, "ask for less"),
        (
            sized(required_bytes=1 << 50) | {"parameters": {"pool": "fast"}},
            RANGE,
            "larger than the whole pool",
        ),
        ({"parameters": {"pool": "tape"}}, INVALID, "there are: fast"),
        ({"parameters": {"pool": "../fast"}}, INVALID, "is not a DNS label"),
        ({"parameters": {"Pool": "fast"}}, INVALID, "known are: fsType"),
        ({"parameters": {"preallocate": "yes"}}, INVALID, "write true or false"),
        ({"parameters": {"preallocate": "True"}}, INVALID, "write true or false"),
        ({"parameters": {"fsType": "ntfs"}}, INVALID, "ext4, xfs, btrfs"),
        ({"parameters": {"fsType": "ext4,dev"}}, INVALID, "ext4, xfs, btrfs"),
        ({"parameters": {"fsType": "xfs", "fstype": "ext4"}}, INVALID, "several"),
        ({"mutable_parameters": {"iops": "1"}}, INVALID, "mutable"),
        (flags("nobarrier"), INVALID, "mount option number 1 is not allowed on ext4"),
        (flags("noatime", "commit=5,dev"), INVALID, "number 2"),
        (flags("logbufs=8"), INVALID, "mountOptions"),
        (flags("discard") | PREALLOCATED, INVALID, "preallocated volume with ext4"),
        (flags(volume_mount_group="1000"), INVALID, "fsGroup"),
        (moded("MULTI_NODE_MULTI_WRITER"), INVALID, "ReadWriteOnce"),
        (moded("MULTI_NODE_READER_ONLY"), INVALID, "ReadWriteOnce"),
        (moded("UNKNOWN"), INVALID, "no access mode"),
        ({"volume_capabilities": []}, INVALID, "volume_capabilities is missing"),
        (
            {"volume_capabilities": [mount_capability(), csi_calls.block_capability()]},
            INVALID,
            "at once",
        ),
        ({"name": ""}, INVALID, "name is missing"),
        ({"name": "x" * 129}, INVALID, "longer than 128"),
        ({"name": "a\0b"}, INVALID, "control"),
        ({"name": "pvc-1"}, CODE.ALREADY_EXISTS, "use another name"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_made(
    driver: Driver, fields: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    used(driver)
    before = driver.world.state()
    for _ in range(2):
        found = refused(
            driver.controller.CreateVolume,
            create_request(**{"name": "new", "size": 2 * GIB, **fields}),
        )
        assert found[0] is code, found
        assert words in found[1]
        assert driver.world.state() == before
    _put_away(driver)


def test_options_of_another_filesystem_pass_where_they_belong(driver: Driver) -> None:
    for options in (
        flags("logbufs=8") | {"parameters": {"fsType": "xfs"}},
        flags("logbufs=8", fs_type="xfs"),
        flags("discard"),
    ):
        driver.controller.CreateVolume(create_request("new", **options))
        _put_away(driver)


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x0f"]
)  # no message, a string that is no UTF-8, a length beyond the end
def test_bytes_that_are_no_message_are_invalid(driver: Driver, data: bytes) -> None:
    call = driver.channel.unary_unary("/csi.v1.Controller/DeleteVolume")
    code, details = refused(call, data)
    assert code is CODE.INVALID_ARGUMENT
    assert "no UTF-8" in details


def test_a_long_refusal_reaches_the_caller(tmp_path: Any) -> None:
    class Verbose(nodes_port.Nodes):
        def names(self) -> list[ids.NodeName]:
            return [ids.NodeName("node-a")]

        def storage(self, node: ids.NodeName) -> Any:
            raise errors.Busy("é" * 20_000)

    with csi_calls.serve(tmp_path, Verbose()) as driver:
        code, details = refused(driver.controller.CreateVolume, create_request())
    assert code is CODE.ABORTED
    assert details.startswith("éé")
    assert details.endswith("…")


@pytest.mark.parametrize("method", METHODS)
def test_no_secret_is_logged_or_answered(driver: Driver, method: str) -> None:
    request = template(method)
    fields = request.DESCRIPTOR.fields_by_name
    if "secrets" in fields:
        request.secrets["password"] = CANARY  # type: ignore[attr-defined]
    for name in ("volume_context", "publish_context"):
        if name in fields:
            getattr(request, name)["csi.storage.k8s.io/serviceAccount.tokens"] = CANARY
    for name in ("volume_capability", "volume_capabilities"):
        if name in fields:
            found = getattr(request, name)
            capability = found[0] if fields[name].is_repeated else found
            capability.mount.mount_flags.append(CANARY)
    with structlog.testing.capture_logs() as lines:
        try:
            answer = str(_stub(driver, method)(request))
        except grpc.RpcError as error:
            answer = f"{error.details()} {error.trailing_metadata()}"
    assert CANARY not in str(lines)
    assert CANARY not in answer or method == "ValidateVolumeCapabilities"


class TestUse:
    """What one volume's users do to each other, through the socket."""

    @pytest.fixture(autouse=True)
    def _used(self, driver: Driver) -> Iterator[None]:
        _put_away(driver)
        used(driver)
        yield
        _put_away(driver)

    def publish(self, target: str, mode: "pb.VolumeCapability.AccessMode.Mode") -> Any:
        request = template("NodePublishVolume")
        request.target_path = target  # type: ignore[attr-defined]
        request.volume_capability.access_mode.mode = mode  # type: ignore[attr-defined]
        return request

    def test_a_second_pod_of_a_volume_for_one_pod_is_refused(self, driver: Driver) -> None:
        modes = pb.VolumeCapability.AccessMode
        for mode in (modes.SINGLE_NODE_SINGLE_WRITER, modes.SINGLE_NODE_WRITER):
            driver.node.NodePublishVolume(self.publish(TARGET, mode))
            before = driver.world.state()
            second = self.publish("/k/second/mount", mode)
            code, details = refused(driver.node.NodePublishVolume, second)
            assert code is CODE.FAILED_PRECONDITION
            assert f"already published at {TARGET}" in details
            assert driver.world.state() == before
        many = self.publish("/k/second/mount", modes.SINGLE_NODE_MULTI_WRITER)
        driver.node.NodePublishVolume(many)

    @pytest.mark.parametrize(
        ("method", "changes", "code", "words"),
        [
            ("DeleteVolume", {"volume_id": VOLUME}, CODE.FAILED_PRECONDITION, "delete the pods"),
            (
                "NodeUnstageVolume",
                {"volume_id": VOLUME, "staging_target_path": STAGING},
                CODE.FAILED_PRECONDITION,
                TARGET,
            ),
            (
                "NodeUnstageVolume",
                {"volume_id": VOLUME, "staging_target_path": "/k/wrong"},
                CODE.FAILED_PRECONDITION,
                f"still mounted at {STAGING}",
            ),
            ("NodeExpandVolume", {"volume_path": "/k/wrong"}, CODE.NOT_FOUND, "is not at /k/wrong"),
            ("NodeGetVolumeStats", {"volume_path": "/k/wrong"}, CODE.NOT_FOUND, "is not at"),
            ("NodePublishVolume", {"readonly": True}, CODE.ALREADY_EXISTS, "already published"),
            ("NodePublishVolume", {"staging_target_path": ""}, CODE.FAILED_PRECONDITION, "stage"),
        ],
    )
    def test_what_is_in_use_stays(
        self, driver: Driver, method: str, changes: dict[str, Any], code: Any, words: str
    ) -> None:
        request = template(method)
        for name, value in changes.items():
            setattr(request, name, value)
        before = driver.world.state()
        found = refused(_stub(driver, method), request)
        assert found[0] is code, found
        assert words in found[1]
        assert driver.world.state() == before

    def test_a_node_does_not_say_that_it_grew_what_it_did_not(self, driver: Driver) -> None:
        request = template("NodeExpandVolume")
        request.capacity_range.required_bytes = 2 * GIB  # type: ignore[attr-defined]
        code, details = refused(driver.node.NodeExpandVolume, request)
        assert code is CODE.OUT_OF_RANGE
        assert "controller" in details

    @pytest.mark.parametrize(
        "method",
        ["ControllerExpandVolume", "CreateSnapshot", "DeleteVolume", "CreateVolume",
         "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume",
         "NodeExpandVolume"],
    )  # fmt: skip
    def test_a_volume_does_one_thing_at_a_time(self, driver: Driver, method: str) -> None:
        """While a snapshot of it has it frozen, every other change of it is ABORTED."""
        request = template(method)
        if method == "CreateVolume":
            request = create_request()
        elif method in {"DeleteVolume", "NodeUnstageVolume"}:
            request.volume_id = VOLUME  # type: ignore[attr-defined]
        found: list[tuple[grpc.StatusCode, str]] = []
        driver.world.kernel.during_freeze.append(
            lambda: found.append(refused(_stub(driver, method), request))
        )
        try:
            driver.controller.CreateSnapshot(
                pb.CreateSnapshotRequest(name="other", source_volume_id=VOLUME)
            )
        finally:
            driver.world.kernel.during_freeze.clear()
        assert [code for code, _ in found] == [CODE.ABORTED]
        assert "try again" in found[0][1]

    def test_a_volume_that_is_gone_has_no_new_snapshots(self, driver: Driver) -> None:
        _put_away(driver)
        before = driver.world.state()
        request = pb.CreateSnapshotRequest(name="late", source_volume_id=VOLUME)
        assert refused(driver.controller.CreateSnapshot, request)[0] is CODE.NOT_FOUND
        assert driver.world.state() == before
