"""Volumes whose source lies on another node, copied between two agents that are killed."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

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
_RETRIED = (grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE)
SOURCE, TARGET = "node-a", "node-b"


@dataclass
class Fleet:
    """A controller and two agents, each of which can be killed and started again."""

    folder: Path
    configs: dict[str, Path]
    addresses: dict[str, str] = field(
        default_factory=lambda: {
            name: f"127.0.0.1:{csi_processes.free_port()}" for name in (SOURCE, TARGET)
        }
    )
    _running: dict[str, "tuple[subprocess.Popen[bytes], ExitStack]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        stack = ExitStack()
        running = stack.enter_context(
            csi_processes.node(
                self.folder,
                self.configs[name],
                self.addresses[name],
                self.folder / f"{name}.sock",
                self.addresses,
            )
        )
        self._running[name] = (running, stack)

    def kill(self, name: str) -> None:
        running, stack = self._running.pop(name)
        running.send_signal(signal.SIGKILL)
        running.wait(TIMEOUT)
        stack.close()

    @contextmanager
    def serving(self) -> Iterator[rpc.ControllerStub]:
        for name in self.addresses:
            self.start(name)
        try:
            for address in self.addresses.values():
                csi_processes.wait_for_port(address)
            with (
                csi_processes.controller(self.folder, self.addresses),
                called(self.folder / "controller.sock") as channel,
            ):
                yield rpc.ControllerStub(channel)
        finally:
            for _, stack in self._running.values():
                stack.close()

    def images(self, name: str) -> list[str]:
        return sorted(path.name for path in (self._pool(name) / "images").iterdir())

    def image(self, name: str, volume_id: str) -> Path:
        return self._pool(name) / "images" / volume_id

    def done_bytes(self, name: str) -> int:
        """How far the one copy on a node is, by its record on the disk."""
        for path in (self._pool(name) / "records" / "volumes").glob("vol-*.json"):
            pull = json.loads(path.read_bytes())["record"]["pull"] or {}
            return int(pull.get("done_bytes", 0))
        return 0

    def _pool(self, name: str) -> Path:
        mounted = self.folder / name / "state" / "pools" / csi_processes.POOL
        return mounted if mounted.is_dir() else self.folder / name / "pool"


@contextmanager
def called(socket: Path) -> Iterator[grpc.Channel]:
    options = (("grpc.default_authority", "localhost"),)
    with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
        yield channel


@contextmanager
def made(backend: str, rate: str) -> Iterator[Fleet]:
    with real_storage.scratch() as folder:
        csi_processes.make_tls(folder)
        configs = {
            name: csi_processes.write_settings(folder, backend, name, transfer_rate=rate)
            for name in (SOURCE, TARGET)
        }
        try:
            yield Fleet(folder, configs)
        finally:
            for config in configs.values():
                csi_processes.release_pools(config)


def on(name: str) -> pb.TopologyRequirement:
    return pb.TopologyRequirement(requisite=[pb.Topology(segments={keys.TOPOLOGY_NODE: name})])


def asked(name: str, node: str, size: int = SIZE, **fields: object) -> pb.CreateVolumeRequest:
    given: dict[str, object] = {"volume_capabilities": [block_capability()], **fields}
    return create_request(name, size, accessibility_requirements=on(node), **given)


def from_snapshot(snapshot_id: str) -> pb.VolumeContentSource:
    return pb.VolumeContentSource(
        snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
    )


def from_volume(volume_id: str) -> pb.VolumeContentSource:
    return pb.VolumeContentSource(volume=pb.VolumeContentSource.VolumeSource(volume_id=volume_id))


def until_made(stub: rpc.ControllerStub, request: pb.CreateVolumeRequest) -> pb.Volume:
    """Asks again as the provisioner does."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return stub.CreateVolume(request, timeout=TIMEOUT).volume
        except grpc.RpcError as error:
            if error.code() not in _RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def fill(image: Path, seed: int) -> bytes:
    """Writes islands of data into a sparse image and returns what it holds then."""
    chance = random.Random(seed)
    with image.open("r+b") as file:
        for _ in range(12):
            file.seek(chance.randrange(SIZE // 4096 - 512) * 4096)
            file.write(chance.randbytes(chance.randrange(1, 512) * 4096))
        file.seek(SIZE - 5)
        file.write(b"last!")
        file.flush()
        os.fsync(file.fileno())
    return image.read_bytes()


def test_killed_at_random_a_copy_goes_on_where_it_was() -> None:
    seed = int(os.environ.get("MOORING_SEED") or random.randrange(1 << 16))
    print(f"MOORING_SEED={seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)
    with made("directory", "3Mi") as fleet, fleet.serving() as stub:
        volume_id = stub.CreateVolume(asked("pvc-1", SOURCE), timeout=TIMEOUT).volume.volume_id
        content = fill(fleet.image(SOURCE, volume_id), seed)
        taking = pb.CreateSnapshotRequest(name="s", source_volume_id=volume_id)
        snapshot_id = stub.CreateSnapshot(taking, timeout=TIMEOUT).snapshot.snapshot_id
        request = asked(
            "pvc-2", TARGET, SIZE + 8 * MIB, volume_content_source=from_snapshot(snapshot_id)
        )
        reached = [0]
        with ThreadPoolExecutor(1) as provisioner:
            asking = provisioner.submit(until_made, stub, request)
            kills = 0
            while kills < 4 and not asking.done():
                time.sleep(chance.uniform(0.2, 1.5))
                kills += 1
                for victim in chance.choice([(SOURCE,), (TARGET,), (SOURCE, TARGET)]):
                    fleet.kill(victim)
                    fleet.start(victim)
                assert len(fleet.images(TARGET)) <= 1
                if not asking.done():
                    reached.append(fleet.done_bytes(TARGET))
            copy = asking.result(TIMEOUT)
        assert reached == sorted(reached), f"it began anew: {reached}"
        assert len(reached) >= 2, "the copy was over before anything happened"
        image = fleet.image(TARGET, copy.volume_id)
        assert image.stat().st_size == SIZE + 8 * MIB
        assert image.read_bytes() == content + bytes(8 * MIB)
        assert image.stat().st_blocks * 512 <= fleet.image(SOURCE, volume_id).stat().st_blocks * 512
        assert copy.accessible_topology[0].segments[keys.TOPOLOGY_NODE] == TARGET
        assert fleet.images(TARGET) == [copy.volume_id]


def test_a_volume_in_use_is_cloned_to_another_node_and_nothing_is_left() -> None:
    with made("reflink", "200Mi") as fleet, fleet.serving() as stub:
        capability = [mount_capability()]
        request = asked("pvc-1", SOURCE, volume_capabilities=capability)
        volume_id = stub.CreateVolume(request, timeout=TIMEOUT).volume.volume_id
        with (
            called(fleet.folder / f"{SOURCE}.sock") as on_source,
            called(fleet.folder / f"{TARGET}.sock") as on_target,
            published(rpc.NodeStub(on_source), volume_id, fleet.folder / "one") as mounted,
        ):
            real_storage.write_synced(mounted / "data", b"kept" * 500_000)
            request = asked(
                "pvc-2",
                TARGET,
                2 * SIZE,
                volume_capabilities=capability,
                volume_content_source=from_volume(volume_id),
                parameters={"preallocate": "true"},
            )
            copy_id = until_made(stub, request).volume_id
            assert fleet.images(SOURCE) == [volume_id], "the snapshot for the copy was left behind"
            assert fleet.image(TARGET, copy_id).stat().st_blocks * 512 >= 2 * SIZE
            with published(rpc.NodeStub(on_target), copy_id, fleet.folder / "two") as copied:
                assert (copied / "data").read_bytes() == b"kept" * 500_000
                usage = os.statvfs(copied)
                assert usage.f_blocks * usage.f_frsize > SIZE, "its filesystem was not grown"
        stub.DeleteVolume(pb.DeleteVolumeRequest(volume_id=copy_id), timeout=TIMEOUT)
        assert copy_id not in fleet.images(TARGET)


def test_a_copy_that_is_not_wanted_any_more_leaves_nothing_on_either_node() -> None:
    with made("directory", "1Mi") as fleet, fleet.serving() as stub:
        volume_id = stub.CreateVolume(asked("pvc-1", SOURCE), timeout=TIMEOUT).volume.volume_id
        fill(fleet.image(SOURCE, volume_id), 1)
        request = asked("pvc-2", TARGET, volume_content_source=from_volume(volume_id))
        with pytest.raises(grpc.RpcError, match="is being copied from node node-a: "):
            stub.CreateVolume(request, timeout=TIMEOUT)
        [copy_id] = fleet.images(TARGET)
        assert len(fleet.images(SOURCE)) == 2
        fleet.kill(TARGET)
        stub.DeleteVolume(pb.DeleteVolumeRequest(volume_id=copy_id), timeout=TIMEOUT)
        assert fleet.images(SOURCE) == [volume_id], "it waits for a node that may never return"
        fleet.start(TARGET)
        csi_processes.wait_for_port(fleet.addresses[TARGET])
        assert fleet.images(TARGET) == []

        fleet.kill(SOURCE)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreateVolume(request, timeout=TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "lies on node node-a, which does not answer" in str(caught.value.details())
        assert fleet.images(TARGET) == []
