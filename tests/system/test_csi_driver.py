"""The driver's processes under kills and silence, with real pools and mounts."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from mooring.adapters.catalogue.directory import DirectoryCatalogue
from mooring.api import keys
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_dev import csi_processes
from support import real_storage
from support.csi_calls import (
    MIB,
    block_capability,
    create_request,
    mount_capability,
    published,
)

pytestmark = pytest.mark.system
SIZE = 64 * MIB
TIMEOUT = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    with real_storage.scratch() as found:
        yield found


@contextmanager
def called(socket: Path) -> Iterator[tuple[rpc.ControllerStub, rpc.NodeStub]]:
    options = (("grpc.default_authority", "localhost"),)
    with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
        yield rpc.ControllerStub(channel), rpc.NodeStub(channel)


@dataclass
class Fleet:
    """One agent process and the folder that holds everything."""

    folder: Path
    config: Path
    address: str = field(default_factory=lambda: f"127.0.0.1:{csi_processes.free_port()}")

    @contextmanager
    def agent(self) -> Iterator["subprocess.Popen[bytes]"]:
        with csi_processes.node(self.folder, self.config, self.address) as running:
            csi_processes.wait_for_port(self.address)
            yield running

    @contextmanager
    def controller(self) -> Iterator["subprocess.Popen[bytes]"]:
        agents = {csi_processes.NODE: self.address}
        with csi_processes.controller(self.folder, agents) as running:
            yield running

    @property
    def socket(self) -> Path:
        return self.folder / "controller.sock"

    def images(self) -> list[str]:
        found = (self.folder / csi_processes.NODE / "pool" / "images").iterdir()
        return sorted(path.name for path in found if path.name.startswith("vol-"))


@pytest.fixture
def fleet(folder: Path) -> Fleet:
    csi_processes.make_tls(folder)
    return Fleet(folder, csi_processes.write_settings(folder, "directory"))


@pytest.mark.parametrize("victim", ["controller", "agent"])
@pytest.mark.parametrize("delay_seconds", [0.01, 0.04])
def test_killed_during_creation_a_retry_makes_one_volume(
    fleet: Fleet, victim: str, delay_seconds: float
) -> None:
    request = create_request("pvc-1", SIZE, parameters={"preallocate": "true"})
    with fleet.agent() as agent, fleet.controller() as controller:
        with called(fleet.socket) as (stub, _), ThreadPoolExecutor(1) as pool:
            list(stub.ListVolumes(pb.ListVolumesRequest(), timeout=TIMEOUT).entries)
            calling = pool.submit(_create, stub, request)
            with suppress(TimeoutError):
                calling.result(timeout=delay_seconds)
            doomed = controller if victim == "controller" else agent
            doomed.send_signal(signal.SIGKILL)
            doomed.wait(TIMEOUT)
            if victim == "agent":
                controller.send_signal(signal.SIGKILL)
                controller.wait(TIMEOUT)
            calling.result(timeout=TIMEOUT)
        if victim == "controller":
            agent.send_signal(signal.SIGTERM)
            agent.wait(TIMEOUT)
    with fleet.agent(), fleet.controller(), called(fleet.socket) as (stub, _):
        volume = stub.CreateVolume(request, timeout=TIMEOUT).volume
        assert fleet.images() == [volume.volume_id]
        found = stub.ListVolumes(pb.ListVolumesRequest(), timeout=TIMEOUT).entries
        assert [entry.volume.volume_id for entry in found] == [volume.volume_id]


def _create(stub: rpc.ControllerStub, request: pb.CreateVolumeRequest) -> object:
    try:
        return stub.CreateVolume(request, timeout=TIMEOUT)
    except grpc.RpcError as error:
        return error.code()


def test_a_deletion_while_the_agent_is_away_is_done_before_it_serves(fleet: Fleet) -> None:
    with fleet.controller(), called(fleet.socket) as (stub, _):
        with fleet.agent():
            volume = stub.CreateVolume(create_request("pvc-1", SIZE), timeout=TIMEOUT).volume
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateVolume(create_request("pvc-2", SIZE), timeout=TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        room = stub.GetCapacity(pb.GetCapacityRequest(), timeout=TIMEOUT)
        assert room.available_capacity == 0
        for _ in range(2):
            stub.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume.volume_id), timeout=TIMEOUT)
        assert fleet.images() == [volume.volume_id]
        with fleet.agent():
            assert fleet.images() == [], "the agent served before it carried out the deletion"
            assert DirectoryCatalogue(fleet.folder / "tls" / "catalogue").entries() == []


def test_the_agent_of_another_node_is_not_used(fleet: Fleet) -> None:
    other = csi_processes.write_settings(fleet.folder, "directory", "node-b")
    with (
        csi_processes.node(fleet.folder, other, fleet.address),
        fleet.controller(),
        called(fleet.socket) as (stub, _),
    ):
        csi_processes.wait_for_port(fleet.address)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateVolume(create_request("pvc-1", SIZE), timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert list((fleet.folder / "node-b" / "pool" / "images").iterdir()) == []


def test_a_second_process_on_a_socket_ends_with_one_clear_line(folder: Path) -> None:
    config = csi_processes.write_settings(folder, "directory")
    other = csi_processes.write_settings(folder, "directory", "node-b")
    endpoint = folder / "csi.sock"
    with csi_processes.standalone(config, endpoint):
        done = subprocess.run(
            csi_processes.command(
                "standalone", "--config", other, "--csi-socket", f"unix://{endpoint}"
            ),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last == f"mooring-csi: another process serves on {endpoint}"
        with called(endpoint) as (stub, _):
            stub.ListVolumes(pb.ListVolumesRequest(), timeout=TIMEOUT)


def test_bytes_go_through_publish_snapshot_and_restore(folder: Path) -> None:
    config = csi_processes.write_settings(folder, "reflink")
    endpoint = folder / "csi.sock"
    try:
        with csi_processes.standalone(config, endpoint), called(endpoint) as (stub, node):
            volume = stub.CreateVolume(create_request("pvc-1", SIZE), timeout=TIMEOUT).volume
            with published(node, volume.volume_id, folder / "one") as target:
                (target / "data").write_bytes(b"kept" * 1000)
                os.sync()
                snapshot = stub.CreateSnapshot(
                    pb.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id),
                    timeout=TIMEOUT,
                ).snapshot
                (target / "data").write_bytes(b"lost")
                restored = restore(stub, snapshot.snapshot_id)
                with published(node, restored, folder / "two") as other:
                    assert (other / "data").read_bytes() == b"kept" * 1000
                with pytest.raises(grpc.RpcError) as caught:
                    stub.DeleteVolume(
                        pb.DeleteVolumeRequest(volume_id=volume.volume_id), timeout=TIMEOUT
                    )
                assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            read_by_a_mover(node, snapshot.snapshot_id, folder / "device")
    finally:
        csi_processes.release_pools(config)


def restore(stub: rpc.ControllerStub, snapshot_id: str) -> str:
    source = pb.VolumeContentSource(
        snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
    )
    request = create_request("pvc-2", SIZE, volume_content_source=source)
    volume_id: str = stub.CreateVolume(request, timeout=TIMEOUT).volume.volume_id
    return volume_id


def read_by_a_mover(node: rpc.NodeStub, snapshot_id: str, target: Path) -> None:
    """A snapshot is a read-only device of the movers' group, whatever access mode is named."""
    handle = f"snapshot/{snapshot_id}"
    capability = block_capability()
    capability.access_mode.mode = pb.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY
    given = {"volume_id": handle, "staging_target_path": str(target.with_name("unused"))}
    node.NodeStageVolume(
        pb.NodeStageVolumeRequest(**given, volume_capability=capability), timeout=TIMEOUT
    )
    request = pb.NodePublishVolumeRequest(
        **given, target_path=str(target), volume_capability=capability, readonly=True
    )
    for _ in range(2):
        node.NodePublishVolume(request, timeout=TIMEOUT)
    assert target.is_block_device()
    assert target.stat().st_gid == keys.MOVER_GROUP_ID
    with target.open("rb") as device:
        assert device.seek(0, os.SEEK_END) == SIZE
    for _ in range(2):
        node.NodeUnpublishVolume(
            pb.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(target)),
            timeout=TIMEOUT,
        )
    assert not target.exists()
    request.volume_capability.CopyFrom(mount_capability())
    with pytest.raises(grpc.RpcError) as caught:
        node.NodePublishVolume(request, timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestFolders:
    """A repository's folder for a mover, from the administrator's list alone."""

    @pytest.fixture
    def backups(self, folder: Path) -> Path:
        found = folder / "backups"
        found.mkdir()
        (folder / "folders.yaml").write_text(
            f"folders:\n  - name: nas\n    path: {found}\n    namespaces: [shop]\n"
        )
        return found

    @pytest.fixture
    def node(self, folder: Path, backups: Path) -> Iterator[rpc.NodeStub]:
        config = csi_processes.write_settings(folder, "directory")
        endpoint = folder / "csi.sock"
        with csi_processes.standalone(config, endpoint), called(endpoint) as (_, stub):
            yield stub

    def publish(self, node: rpc.NodeStub, handle: str, target: Path) -> None:
        capability = mount_capability(pb.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER)
        node.NodePublishVolume(
            pb.NodePublishVolumeRequest(
                volume_id=handle, target_path=str(target), volume_capability=capability
            ),
            timeout=TIMEOUT,
        )

    def test_a_folder_of_the_list(self, node: rpc.NodeStub, backups: Path, folder: Path) -> None:
        target = folder / "pod" / "repository"
        for _ in range(2):
            self.publish(node, "folder/nas/shop/daily", target)
        (target / "pack").write_bytes(b"x")
        assert (backups / "shop" / "daily" / "pack").read_bytes() == b"x"
        found = (backups / "shop" / "daily").stat()
        assert (found.st_gid, found.st_mode & 0o777) == (keys.MOVER_GROUP_ID, 0o770)
        for _ in range(2):
            node.NodeUnpublishVolume(
                pb.NodeUnpublishVolumeRequest(
                    volume_id="folder/nas/shop/daily", target_path=str(target)
                ),
                timeout=TIMEOUT,
            )
        assert not target.exists()
        assert (backups / "shop" / "daily" / "pack").exists()

    @pytest.mark.parametrize(
        ("handle", "code"),
        [
            ("folder/nas/other/daily", grpc.StatusCode.PERMISSION_DENIED),
            ("folder/etc/shop/daily", grpc.StatusCode.PERMISSION_DENIED),
            ("folder/nas/shop/..", grpc.StatusCode.NOT_FOUND),
            ("folder/../etc/passwd", grpc.StatusCode.NOT_FOUND),
            ("folder/nas/shop", grpc.StatusCode.NOT_FOUND),
        ],
    )
    def test_nothing_else(
        self, node: rpc.NodeStub, folder: Path, handle: str, code: grpc.StatusCode
    ) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            self.publish(node, handle, folder / "target")
        assert caught.value.code() is code
        assert not (folder / "target").exists()

    def test_no_link_is_followed(self, node: rpc.NodeStub, backups: Path, folder: Path) -> None:
        (backups / "shop").mkdir()
        (backups / "shop" / "daily").symlink_to("/etc")
        before = Path("/etc").stat().st_gid
        with pytest.raises(grpc.RpcError):
            self.publish(node, "folder/nas/shop/daily", folder / "target")
        assert Path("/etc").stat().st_gid == before
        assert not (folder / "target").exists()
