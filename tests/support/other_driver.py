"""A CSI driver that is not Mooring's: what the cluster tests back up from.

The real csi-driver-host-path is not to be had from the Go module proxy, so this one stands in. It
runs as a script in a pod of Mooring's image, which has gRPC and the tools of volumes, and shares no
code with Mooring but the stubs of the CSI interface. Its volumes are as those of drivers in the
field, by the parameter `style` of their StorageClass:

    images   image files with a filesystem; a Block volume of a Filesystem snapshot is that image
    archives folders, as csi-driver-host-path: a snapshot is an archive of the files, and a Block
             volume made of it is that archive, which is called a success
    folders  folders, as drivers of network folders: there are no Block volumes of them

Everything lies in one folder, so that a test sees what is left.
"""
# ruff: noqa: N802 - the interface names the methods

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from mooring_csi._generated import csi_pb2, csi_pb2_grpc
from mooring_csi._generated import plugin_registration_pb2 as registration_pb2
from mooring_csi._generated import plugin_registration_pb2_grpc as registration_grpc

DRIVER = "other.csi.example.com"
TOPOLOGY = "topology.other.example.com/node"
FOLDER = Path("/data")
SOCKET = Path("/csi/csi.sock")
REGISTRATION = Path("/registration") / f"{DRIVER}-reg.sock"
ENDPOINT = f"/var/lib/kubelet/plugins/{DRIVER}/csi.sock"
LEAST_BYTES = 384 << 20
DISK_GROUP = 6
_LOCK = threading.Lock()


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def said(method: Callable[..., Any]) -> Callable[..., Any]:
    """One call at a time, with its errors as answers."""

    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        with _LOCK:
            try:
                return method(self, request, context)
            except subprocess.CalledProcessError as error:
                context.abort(grpc.StatusCode.INTERNAL, f"{error}: {error.stderr}")
            except FileNotFoundError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, str(error))

    return call


def identity(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


class Identity(csi_pb2_grpc.IdentityServicer):
    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return csi_pb2.GetPluginInfoResponse(name=DRIVER, vendor_version="1")

    def GetPluginCapabilities(self, request: Any, context: Any) -> Any:
        service = csi_pb2.PluginCapability.Service
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                csi_pb2.PluginCapability(service=service(type=kind))
                for kind in (service.CONTROLLER_SERVICE, service.VOLUME_ACCESSIBILITY_CONSTRAINTS)
            ]
        )

    def Probe(self, request: Any, context: Any) -> Any:
        return csi_pb2.ProbeResponse()


class Controller(csi_pb2_grpc.ControllerServicer):
    """Volumes are `<style>-<id>.vol`, files or folders; snapshots `<style>-<id>.snap`, files."""

    def ControllerGetCapabilities(self, request: Any, context: Any) -> Any:
        rpc = csi_pb2.ControllerServiceCapability.RPC
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.ControllerServiceCapability(rpc=rpc(type=kind))
                for kind in (rpc.CREATE_DELETE_VOLUME, rpc.CREATE_DELETE_SNAPSHOT)
            ]
        )

    @said
    def CreateVolume(self, request: Any, context: Any) -> Any:
        style = request.parameters["style"]
        capability = request.volume_capabilities[0]
        block = capability.HasField("block")
        if block and style == "folders":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "block volumes are not supported")
        size_bytes = max(request.capacity_range.required_bytes, LEAST_BYTES)
        path = FOLDER / f"{style}-{identity(request.name)}.vol"
        if not path.exists():
            source = request.volume_content_source.snapshot.snapshot_id
            made = path.with_suffix(".new")
            self._fill(made, source, size_bytes, capability)
            made.rename(path)
        volume = csi_pb2.Volume(volume_id=path.name, capacity_bytes=size_bytes)
        if request.HasField("volume_content_source"):
            volume.content_source.CopyFrom(request.volume_content_source)
        volume.accessible_topology.add(segments={TOPOLOGY: os.environ["NODE_NAME"]})
        return csi_pb2.CreateVolumeResponse(volume=volume)

    def _fill(self, path: Path, source: str, size_bytes: int, capability: Any) -> None:
        if not capability.HasField("block") and not path.name.startswith("images-"):
            path.mkdir(exist_ok=True)
            path.chmod(0o777)
            if source:
                run("tar", "xzf", str(FOLDER / source), "-C", str(path))
            return
        if source:
            run("cp", "--sparse=always", str(FOLDER / source), str(path))
        else:
            path.touch()
        if path.name.startswith("images-"):
            os.truncate(path, size_bytes)
            if not source and not capability.HasField("block"):
                kind = capability.mount.fs_type or "ext4"
                run(f"mkfs.{kind}", "-q", str(path))

    @said
    def DeleteVolume(self, request: Any, context: Any) -> Any:
        path = FOLDER / Path(request.volume_id).name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return csi_pb2.DeleteVolumeResponse()

    @said
    def CreateSnapshot(self, request: Any, context: Any) -> Any:
        source = FOLDER / Path(request.source_volume_id).name
        style = source.name.partition("-")[0]
        path = FOLDER / f"{style}-{identity(request.name)}.snap"
        if not path.exists():
            made = path.with_suffix(".new")
            with frozen(source):
                if source.is_dir():
                    run("tar", "czf", str(made), "-C", str(source), ".")
                else:
                    run("cp", "--sparse=always", str(source), str(made))
            made.rename(path)
        snapshot = csi_pb2.Snapshot(
            snapshot_id=path.name,
            source_volume_id=source.name,
            size_bytes=LEAST_BYTES if source.is_dir() else source.stat().st_size,
            ready_to_use=True,
        )
        snapshot.creation_time.FromSeconds(int(path.stat().st_mtime))
        return csi_pb2.CreateSnapshotResponse(snapshot=snapshot)

    @said
    def DeleteSnapshot(self, request: Any, context: Any) -> Any:
        (FOLDER / Path(request.snapshot_id).name).unlink(missing_ok=True)
        return csi_pb2.DeleteSnapshotResponse()


@contextlib.contextmanager
def frozen(source: Path) -> Any:
    """Holds writes to an image that is mounted, so that its copy is of one moment."""
    targets = [run("findmnt", "-n", "-o", "TARGET", loop).split() for loop in mounted_loops(source)]
    target = next((found[0] for found in targets if found), None)
    if target is not None:
        run("fsfreeze", "-f", target)
    try:
        yield
    finally:
        if target is not None:
            run("fsfreeze", "-u", target)


def loops(path: Path) -> list[str]:
    return run("losetup", "-n", "-O", "NAME", "-j", str(path)).split()


def mounted_loops(path: Path) -> list[str]:
    mounts = {line.split()[0] for line in Path("/proc/mounts").read_text().splitlines()}
    return [loop for loop in loops(path) if loop in mounts]


class Node(csi_pb2_grpc.NodeServicer):
    def NodeGetInfo(self, request: Any, context: Any) -> Any:
        name = os.environ["NODE_NAME"]
        found = csi_pb2.NodeGetInfoResponse(node_id=name)
        found.accessible_topology.segments[TOPOLOGY] = name
        return found

    def NodeGetCapabilities(self, request: Any, context: Any) -> Any:
        return csi_pb2.NodeGetCapabilitiesResponse()

    @said
    def NodePublishVolume(self, request: Any, context: Any) -> Any:
        path, target = FOLDER / Path(request.volume_id).name, Path(request.target_path)
        block = request.volume_capability.HasField("block")
        if target.is_block_device() or is_mounted(target):
            return csi_pb2.NodePublishVolumeResponse()
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(path), str(target))
            return csi_pb2.NodePublishVolumeResponse()
        loop = run("losetup", "--find", "--show", "--sector-size", "512", str(path)).strip()
        if block:
            # A node of its own, with the owner that udev gives to disks.
            target.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(target, stat.S_IFBLK | 0o660, Path(loop).stat().st_rdev)
            os.chown(target, 0, DISK_GROUP)
            target.chmod(0o660)
        else:
            target.mkdir(parents=True, exist_ok=True)
            run("mount", "-o", "nouuid" if is_xfs(path) else "defaults", loop, str(target))
            target.chmod(0o777)
        return csi_pb2.NodePublishVolumeResponse()

    @said
    def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:
        path, target = FOLDER / Path(request.volume_id).name, Path(request.target_path)
        if is_mounted(target):
            run("umount", str(target))
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        for loop in loops(path) if path.is_file() else ():
            run("losetup", "-d", loop)
        return csi_pb2.NodeUnpublishVolumeResponse()


def is_mounted(target: Path) -> bool:
    """Also where it is a part of the same filesystem."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(target) in {line.split()[4] for line in lines}


def is_xfs(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"XFSB"


class Registration(registration_grpc.RegistrationServicer):
    def GetInfo(self, request: Any, context: Any) -> Any:
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=DRIVER, endpoint=ENDPOINT, supported_versions=["1.0.0"]
        )

    def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:
        if not request.plugin_registered:
            sys.stderr.write(f"the kubelet refused: {request.error}\n")
        return registration_pb2.RegistrationStatusResponse()


def serve(socket: Path, *register: Callable[[Any], None]) -> Any:
    socket.unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    for add in register:
        add(server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    driver = serve(
        SOCKET,
        lambda server: csi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server),
        lambda server: csi_pb2_grpc.add_ControllerServicer_to_server(Controller(), server),
        lambda server: csi_pb2_grpc.add_NodeServicer_to_server(Node(), server),
    )
    registration = serve(
        REGISTRATION,
        lambda server: registration_grpc.add_RegistrationServicer_to_server(Registration(), server),
    )
    driver.wait_for_termination()
    registration.stop(None)


if __name__ == "__main__":
    main()
