"""How CreateVolume's time grows with the number of volumes: 1,000 of them against 10.

Two fleets of one node serve side by side, each a controller and an agent as processes of their
own over mutual TLS, on a reflink pool each. They are called in turn, and what a call made is
deleted after it, so that each fleet keeps its number of volumes.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
from rich.console import Console

from mooring.api import keys
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_dev import csi_processes
from mooring_dev.bench.figures import Ratio, at_most

MANY, FEW = 1000, 10
CALLS = 100
UNMEASURED_CALLS = 5
TARGET = 1.5
_SIZE_BYTES = 64 << 20
_OVERCOMMIT = 0.02  # sparse volumes that nobody writes to: the pool holds the promise of 1,000
_CALL_TIMEOUT_SECONDS = 60.0


class Service:
    """The controller of one fleet, called as a sidecar calls it: gRPC on its unix socket.

    Args:
        channel: To the controller's socket.
        volumes: How many volumes it is filled with.
    """

    def __init__(self, channel: grpc.Channel, volumes: int) -> None:
        self.volumes = volumes
        self._stub = rpc.ControllerStub(channel)  # type: ignore[no-untyped-call]

    def fill(self) -> None:
        """Creates its volumes."""
        for number in range(self.volumes):
            self._create(f"present-{number}")

    def timed_creation(self, name: str, *, is_open: bool) -> float:
        """Creates a volume, deletes it again, and returns the seconds of the creation alone."""
        started = time.perf_counter()
        volume_id = self._create(name, is_open=is_open)
        taken = time.perf_counter() - started
        request = pb.DeleteVolumeRequest(volume_id=volume_id)
        self._stub.DeleteVolume(request, timeout=_CALL_TIMEOUT_SECONDS)
        return taken

    def _create(self, name: str, *, is_open: bool = False) -> str:
        request = pb.CreateVolumeRequest(
            name=name,
            capacity_range=pb.CapacityRange(required_bytes=_SIZE_BYTES),
            volume_capabilities=[_capability()],
        )
        if not is_open:
            # As external-provisioner asks with --strict-topology: the pool is the StorageClass's,
            # the node is the scheduler's choice.
            here = pb.Topology(segments={keys.TOPOLOGY_NODE: csi_processes.NODE})
            request.parameters["pool"] = csi_processes.POOL
            request.accessibility_requirements.requisite.append(here)
            request.accessibility_requirements.preferred.append(here)
        answer = self._stub.CreateVolume(request, timeout=_CALL_TIMEOUT_SECONDS)
        return str(answer.volume.volume_id)


def _capability() -> pb.VolumeCapability:
    mode = pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    return pb.VolumeCapability(
        mount=pb.VolumeCapability.MountVolume(fs_type="ext4"),
        access_mode=pb.VolumeCapability.AccessMode(mode=mode),
    )


def measure(console: Console) -> list[Ratio]:
    """Returns the ratios of CreateVolume's medians, at many volumes and at few."""
    with ExitStack() as stack:
        many, few = (_served(stack, volumes) for volumes in (MANY, FEW))
        for service in (many, few):
            console.print(f"  CreateVolume: making {service.volumes:,} volumes")
            service.fill()
        given, left_open = (_in_turn(many, few, is_open=is_open) for is_open in (False, True))
    name = f"CreateVolume at {MANY:,} volumes / at {FEW}"
    return [
        at_most(Ratio(f"{name}, as Kubernetes asks: node and pool given", *given, "ms"), TARGET),
        Ratio(f"{name}, node and pool left open", *left_open, "ms"),
    ]


def _in_turn(many: Service, few: Service, *, is_open: bool) -> tuple[list[float], list[float]]:
    """Calls both in turn, and returns the milliseconds of each."""
    seen: tuple[list[float], list[float]] = ([], [])
    for number in range(UNMEASURED_CALLS + CALLS):
        for service, figures in zip((many, few), seen, strict=True):
            taken = service.timed_creation(f"measured-{is_open}-{number}", is_open=is_open)
            if number >= UNMEASURED_CALLS:
                figures.append(taken * 1000)
    return seen


def _served(stack: ExitStack, volumes: int) -> Service:
    folder = stack.enter_context(
        tempfile.TemporaryDirectory(prefix=f"mooring-bench-{volumes}-", dir="/var/tmp")
    )
    sockets = stack.enter_context(
        csi_processes.served("agents", "reflink", Path(folder), overcommit=_OVERCOMMIT)
    )
    options = (("grpc.default_authority", "localhost"),)
    channel = grpc.insecure_channel(f"unix:{sockets.controller}", options=options)
    return Service(stack.enter_context(channel), volumes)
